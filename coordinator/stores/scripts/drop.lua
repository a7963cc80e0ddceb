-- Deletes a dead letter; returns 1 if there was one. ARGV: token of this call, id.
if remembered(ARGV[1]) then
  return 1
end
if redis.call('ZREM', base .. 'letters', ARGV[2]) == 0 then
  return 0
end
redis.call('UNLINK', base .. 'letter:' .. ARGV[2])
remember(ARGV[1], {ARGV[2]})
return 1
