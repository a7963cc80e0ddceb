-- Puts a dead letter back into the queue; returns 1 if there was one. ARGV: token of this call, id.
local token, id = ARGV[1], ARGV[2]
if remembered(token) then
  return 1
end
local entry = redis.call('HGET', base .. 'letter:' .. id, 'entry')
if not entry then
  return 0
end
redis.call('ZCARD', base .. 'letters')
if not posted(id) then
  post(id, entry)
end
redis.call('UNLINK', base .. 'letter:' .. id)
redis.call('ZREM', base .. 'letters', id)
remember(token, {id})
return 1
