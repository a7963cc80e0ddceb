-- Put in front of every script. A place is a hash (KEYS[1]) and, when a reply is kept, a hash beside it (KEYS[2]).
-- Both carry the operation's id, so that nothing foreign is ever taken for ours, nor for nothing (faults 47 and 50).

local function foreign_reply()
  return redis.error_reply("FOREIGN something that Holdfast did not write stands at this operation's place")
end

-- Milliseconds by the server's clock: leases and ages are nobody else's to measure.
local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- Lua would write large numbers as 1.7e+12.
local function whole(n)
  return string.format('%.0f', n)
end

-- Returns the fields of what stands at a place (without a version: nothing stands there), or an error reply beside nil.
local function standing(key, operation)
  local f = redis.call('HMGET', key, 'operation', 'version', 'phase', 'due', 'kept', 'watched')
  if f[1] == operation and f[2] and f[3] then
    return {version = f[2], phase = f[3], due = tonumber(f[4]), kept = f[5] == '1', watched = f[6] == '1'}
  end
  if f[1] == operation and f[6] and not f[2] and not f[3] then
    return {watched = true}
  end
  if not f[1] and redis.call('EXISTS', key) == 0 then
    return {watched = false}
  end
  return nil, foreign_reply()
end

-- Says whether a kept reply may be written here: false when something foreign stands in its place.
local function ours_to_keep(key, operation)
  local owner = redis.call('HGET', key, 'operation')
  return owner == operation or (not owner and redis.call('EXISTS', key) == 0)
end

-- Returns {operation, version, record, reply or false, milliseconds of lease left or false}, or false for nothing.
local function handed_back(place, operation, record_key, reply_key)
  if not place.version then
    return false
  end
  local record = redis.call('HGET', record_key, 'record')
  if not record then
    return foreign_reply()
  end
  local reply = false
  if place.kept then
    local kept = redis.call('HMGET', reply_key, 'operation', 'version', 'reply')
    if kept[1] == operation and kept[2] == place.version and kept[3] then
      reply = kept[3]
    elseif redis.call('EXISTS', reply_key) == 1 then
      return foreign_reply()
    end
  end
  return {operation, place.version, record, reply, place.due and whole(place.due - now_ms()) or false}
end
