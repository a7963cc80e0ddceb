-- Returns each label that has places, followed by how many. ARGV: how many forgotten ones of each to tidy away.
local now = now_ms()
local counts = {}
for _, label in ipairs(redis.call('SMEMBERS', base .. 'labels')) do
  purge(label, ARGV[1], now)
  local all = redis.call('ZCARD', base .. 'label:' .. label)
  local gone = redis.call('ZCOUNT', base .. 'forget:' .. label, '-inf', '(' .. whole(now))
  if all == 0 then
    redis.call('SREM', base .. 'labels', label)
  elseif all > gone then
    counts[#counts + 1] = label
    counts[#counts + 1] = all - gone
  end
end
return counts
