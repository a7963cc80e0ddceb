-- Extends the visibility of those places that somebody still owns, and returns their keys.
-- ARGV: owner, for how many milliseconds, keys.
local till = whole(now_ms() + ARGV[2])
local owned = {}
for i = 3, #ARGV do
  local place = standing(ARGV[i])
  if place and place.version and place.owner == ARGV[1] then
    redis.call('ZREM', due_key, ARGV[i])
    redis.call('ZADD', due_key, till, ARGV[i])
    owned[#owned + 1] = ARGV[i]
  end
end
return owned
