-- Returns dead letters, the oldest first: after what number the listing goes on (false: it does not), and
-- {id, entry, reason, detail, since} each. ARGV: the number of the last one that was listed, how many at most.
local limit = tonumber(ARGV[2])
local rows = redis.call('ZRANGE', base .. 'letters', '(' .. ARGV[1], '+inf', 'BYSCORE', 'LIMIT', 0, limit + 1, 'WITHSCORES')
local page = {#rows > 2 * limit and rows[2 * limit] or false}
for i = 1, math.min(#rows, 2 * limit), 2 do
  local letter = redis.call('HMGET', base .. 'letter:' .. rows[i], 'id', 'entry', 'reason', 'detail', 'since')
  if letter[1] == rows[i] then
    page[#page + 1] = letter
  end
end
return page
