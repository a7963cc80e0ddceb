-- Appends a result to the queue unless it is full; returns 1 if it is there. ARGV: id, entry, how many at most.
if posted(ARGV[1]) then
  return 1
end
if redis.call('XLEN', results) >= tonumber(ARGV[3]) then
  return 0
end
post(ARGV[1], ARGV[2])
return 1
