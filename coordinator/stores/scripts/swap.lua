-- Writes all places, if each has the version that it is expected to have; else none.
-- ARGV, nine for each place: key, expected version ('' for nothing), new version, record, label, writer, `keep`, `release`
--       or `hurry`, in how many milliseconds it falls due ('' for never), and in how many it is forgotten ('' for never).
-- Returns 1 once all have been written, now or before; else {which place is the first that has not, what stands there}.
--
-- An error half-way would leave half a write, so what could fail is tried before the first write.
local now = now_ms()
local places = {}
for i = 1, #ARGV, 9 do
  local place, foreign = standing(ARGV[i])
  if foreign then
    return foreign
  end
  places[i] = place
end
for i = 1, #ARGV, 9 do
  if places[i].version == ARGV[i + 2] then
    return 1 -- sent before: the answer was lost, not the write
  end
end
for i = 1, #ARGV, 9 do
  if (places[i].version or '') ~= ARGV[i + 1] then
    return {ARGV[i], seen(places[i], now)}
  end
end

local listed = base .. 'listed'
redis.call('ZCARD', due_key)
redis.call('ZCARD', listed)
redis.call('SCARD', base .. 'labels')
redis.call('GET', base .. 'number')
for i = 1, #ARGV, 9 do
  for _, label in ipairs({places[i].label, ARGV[i + 4]}) do
    if label ~= '' then
      redis.call('ZCARD', base .. 'label:' .. label)
      redis.call('ZCARD', base .. 'forget:' .. label)
    end
  end
end

local function index(place, label, forget, number)
  local key, old = place.key, place.label
  if old ~= '' and old ~= label then
    redis.call('ZREM', base .. 'label:' .. old, key)
    redis.call('ZREM', base .. 'forget:' .. old, key)
  end
  if label == '' then
    redis.call('ZREM', listed, key)
    return
  end
  redis.call('SADD', base .. 'labels', label)
  redis.call('ZADD', base .. 'label:' .. label, number, key)
  redis.call('ZADD', listed, number, key)
  if forget == '' then
    redis.call('ZREM', base .. 'forget:' .. label, key)
  else
    purge(label, 2, now) -- each that is to be forgotten takes two with it that are: they never pile up
    redis.call('ZADD', base .. 'forget:' .. label, whole(now + forget), key)
  end
end

local function write(place, version, record, label, writer, doing, in_ms, forget)
  local key, at = place.key, base .. 'place:' .. place.key
  if place.version then
    redis.call('ZREM', due_key, key)
  end
  local hold = after(place, doing, writer, in_ms, now)
  index(place, label, forget, redis.call('INCR', base .. 'number'))
  if hold.due then
    redis.call('ZADD', due_key, whole(hold.due), key)
  else
    redis.call('ZREM', due_key, key)
  end
  redis.call('HSET', at, 'key', key, 'version', version, 'record', record, 'label', label, 'owner', hold.owner,
    'nudged', hold.nudged and '1' or '')
  if forget ~= '' then
    redis.call('PEXPIREAT', at, whole(now + forget))
  elseif place.version then
    redis.call('PERSIST', at)
  end
  if hold.tell then
    tell(hold.tell, key)
  end
end

for i = 1, #ARGV, 9 do
  write(places[i], unpack(ARGV, i + 2, i + 8))
end
return 1
