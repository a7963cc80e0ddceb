-- Makes somebody the owner of places that are due, the longest due first, and returns them.
-- ARGV: token of this call, owner, how many at most, for how many milliseconds.
-- What the index has but no place bears out (forgotten since, or foreign) is taken out of the index.
local token, owner, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])
local EXAMINED_MAX = 1000 -- a millisecond or two
local now = now_ms()
local taken, keys = {}, remembered(token)
if keys then
  for _, key in ipairs(keys) do
    local place = standing(key)
    if place and place.version and place.owner == owner then
      taken[#taken + 1] = seen(place, now)
    end
  end
  return taken
end

keys = {}
local examined = 0
while #keys < limit and examined < EXAMINED_MAX do
  local due = redis.call('ZRANGE', due_key, '-inf', whole(now), 'BYSCORE', 'LIMIT', 0, limit - #keys)
  if #due == 0 then
    break
  end
  examined = examined + #due
  for _, key in ipairs(due) do
    redis.call('ZREM', due_key, key)
    local place = standing(key)
    if place and place.version then
      keys[#keys + 1] = key
      taken[#taken + 1] = {key, place.version, place.record, owner}
    end
  end
end
for _, key in ipairs(keys) do
  redis.call('ZADD', due_key, whole(now + ARGV[4]), key)
  redis.call('HSET', base .. 'place:' .. key, 'owner', owner, 'nudged', '')
end
if #keys > 0 then
  remember(token, keys)
end
return taken
