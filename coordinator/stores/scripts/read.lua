-- Returns what stands at a place: {key, version, record, owner}; false for nothing. ARGV: key.
local place, foreign = standing(ARGV[1])
return foreign or seen(place, now_ms())
