-- Makes what stands at a place due now, or nudges its owner; returns 1 if anything stands there. ARGV: key.
local place, foreign = standing(ARGV[1])
if foreign then
  return foreign
end
if not place.version then
  return 0
end
hurry(place, now_ms())
return 1
