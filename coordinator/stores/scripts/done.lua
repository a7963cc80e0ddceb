-- Takes results out of the queue. ARGV: ids.
for _, id in ipairs(ARGV) do
  local at = redis.call('HGET', base .. 'posted', id)
  if at then
    unpost(id, at)
  end
end
return 1
