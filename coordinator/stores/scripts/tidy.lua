-- Has the group forget consumers that are gone and have nothing under way. ARGV: after how many milliseconds.
local consumers = redis.pcall('XINFO', 'CONSUMERS', results, group)
if consumers.err then
  return 0 -- no group yet
end
for _, c in ipairs(consumers) do -- {'name', …, 'pending', …, 'idle', …}
  if c[4] == 0 and c[6] > tonumber(ARGV[1]) then
    redis.call('XGROUP', 'DELCONSUMER', results, group, c[2])
  end
end
return 1
