-- Returns how many operations of a scope are unknown, and for how many milliseconds the oldest has been.
-- KEYS: unknown index. ARGV: what record keys of this scope begin with, how many of the oldest to check.
-- The oldest are checked against their records, so that one that was forgotten does not stay the oldest for ever.
local oldest = redis.call('ZRANGE', KEYS[1], 0, ARGV[2] - 1)
for _, operation in ipairs(oldest) do
  local record = redis.pcall('HMGET', ARGV[1] .. operation, 'operation', 'phase')
  if record.err or record[1] ~= operation or record[2] ~= 'unknown' then
    redis.call('ZREM', KEYS[1], operation)
  end
end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if #first == 0 then
  return {0, 0}
end
return {redis.call('ZCARD', KEYS[1]), math.max(0, now_ms() - first[2])}
