-- Returns operations whose lease has lapsed, the longest lapsed first, each followed by the moment it fell due.
-- KEYS: due index. ARGV: what record keys of this scope begin with, how many at most.
-- What the index has but no record bears out (forgotten since, or foreign) is taken out of the index.
local ripe = redis.call('ZRANGE', KEYS[1], '-inf', whole(now_ms()), 'BYSCORE', 'LIMIT', 0, ARGV[2], 'WITHSCORES')
local lapsed = {}
for i = 1, #ripe, 2 do
  local record = redis.pcall('HMGET', ARGV[1] .. ripe[i], 'operation', 'due')
  if not record.err and record[1] == ripe[i] and tonumber(record[2]) == tonumber(ripe[i + 1]) then
    lapsed[#lapsed + 1] = ripe[i]
    lapsed[#lapsed + 1] = ripe[i + 1]
  else
    redis.call('ZREM', KEYS[1], ripe[i])
  end
end
return lapsed
