-- Extends a lease, counted from now, if the version still stands; returns 1 if it did.
-- KEYS: record, -, due index. ARGV: operation, version, lease in milliseconds.
local operation = ARGV[1]
local place, foreign = standing(KEYS[1], operation)
if foreign then
  return foreign
end
if place.version ~= ARGV[2] then
  return 0
end
local due = whole(now_ms() + ARGV[3])
-- A removal first, so that a full server does not refuse (see swap.lua): a lease under way must not lapse for that.
redis.call('ZREM', KEYS[3], operation)
redis.call('ZADD', KEYS[3], due, operation)
redis.call('HSET', KEYS[1], 'due', due)
return 1
