-- Remembers a notification and hurries its place; returns 1 if it was new.
-- ARGV: token of this call, notification, for how many milliseconds, key.
local heard = base .. 'webhook:' .. ARGV[2]
local before = redis.call('GET', heard)
if before then
  return before == ARGV[1] and 1 or 0
end
local place, foreign = standing(ARGV[4])
if foreign then
  return foreign
end
redis.call('SET', heard, ARGV[1], 'PX', math.max(1, ARGV[3]))
if place.version then
  hurry(place, now_ms())
end
return 1
