-- Counts one heartbeat of a process; has everybody refuse writes if fewer are remembered than were acknowledged to it.
-- KEYS: the process's count, the refusal. ARGV: process, acknowledged, how long to refuse, how long to remember the count
--       (milliseconds).
-- Returns the count, and for how many milliseconds more writes are to be refused.
local remembered = tonumber(redis.call('GET', KEYS[1]) or 0)
if not remembered then
  return foreign_reply()
end
local process, acknowledged, refuse = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local left = redis.call('PTTL', KEYS[2])
-- A removal first, so that a full server does not refuse (see swap.lua): hearts beat on in it.
redis.call('UNLINK', KEYS[1])
redis.call('SET', KEYS[1], whole(remembered + 1), 'PX', ARGV[4])
if left == -1 then
  return {remembered + 1, refuse} -- without an end, so by somebody's hand: until `accept`
end
if remembered < acknowledged and left < refuse then
  redis.call('SET', KEYS[2], process, 'PX', refuse)
  left = refuse
end
return {remembered + 1, math.max(left, 0)}
