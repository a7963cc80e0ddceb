-- Returns part of a listing, the newest written first: after what number it goes on (false: it does not), and places.
-- ARGV: label ('' for any), the number of the last one that was listed ('' to begin), how many at most.
local label, limit = ARGV[1], tonumber(ARGV[3])
local index = label == '' and base .. 'listed' or base .. 'label:' .. label
local first = ARGV[2] == '' and '+inf' or '(' .. ARGV[2]
local rows = redis.call('ZRANGE', index, first, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, limit + 1, 'WITHSCORES')
local now = now_ms()
local page = {#rows > 2 * limit and rows[2 * limit] or false}
for i = 1, math.min(#rows, 2 * limit), 2 do
  local place = standing(rows[i])
  if place and place.version and (place.label == label or (label == '' and place.label ~= '')) then
    page[#page + 1] = seen(place, now)
  end
end
return page
