-- Returns a place as listings show it: {operation, phase, version, record, 1 if a reply is kept, milliseconds of lease left
-- or false}; false for nothing, and for what is not ours: a listing goes on without it.
-- KEYS: record, reply. ARGV: operation.
local operation = ARGV[1]
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then
  return false
end
local place, foreign = standing(KEYS[1], operation)
if foreign or not place.version then
  return false
end
local record = redis.call('HGET', KEYS[1], 'record')
if not record then
  return false
end
local kept = 0
if place.kept then
  local version = redis.pcall('HGET', KEYS[2], 'version')
  kept = version == place.version and 1 or 0
end
return {operation, place.phase, place.version, record, kept, place.due and whole(place.due - now_ms()) or false}
