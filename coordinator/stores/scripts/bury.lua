-- Moves a result from the queue to the dead letters; returns 1 if it was in the queue. ARGV: id, reason, detail.
local id = ARGV[1]
local at, entry = posted(id)
if not at then
  return 0
end
local letter = base .. 'letter:' .. id
redis.call('HGET', letter, 'id')
redis.call('ZCARD', base .. 'letters')
redis.call('GET', base .. 'number')
unpost(id, at)
redis.call('ZADD', base .. 'letters', redis.call('INCR', base .. 'number'), id)
redis.call('HSET', letter, 'id', id, 'entry', entry, 'reason', ARGV[2], 'detail', ARGV[3], 'since', whole(now_ms()))
return 1
