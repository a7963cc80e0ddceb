-- Returns what stands at a place; first has the next swap there tell the channel, if asked to.
-- KEYS: record, reply. ARGV: operation, and how long to watch a place where nothing stands (milliseconds; '' not to watch).
local operation, watch = ARGV[1], ARGV[2]
local place, foreign = standing(KEYS[1], operation)
if foreign then
  return foreign
end
if watch ~= '' and not (place.watched and place.version) then
  if place.version then
    -- A removal first, so that a full server does not refuse (see swap.lua).
    redis.call('HDEL', KEYS[1], 'watched')
    redis.call('HSET', KEYS[1], 'watched', '1')
  else
    redis.call('HSET', KEYS[1], 'operation', operation, 'watched', '1')
    redis.call('PEXPIRE', KEYS[1], watch)
  end
end
return handed_back(place, operation, KEYS[1], KEYS[2])
