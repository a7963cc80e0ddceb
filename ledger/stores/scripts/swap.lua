-- Compares a place's version with the expected one and, when they are equal, writes the place anew: all or nothing.
-- KEYS: record, reply, due index, unknown index, and the effect key's place where there is one.
-- ARGV: operation, expected version ('' for nothing), new version, phase, lease, forget, reply's retention (each in
--       milliseconds, or ''), channel, record; with an effect key how it is held, its window (milliseconds) and whose
--       hold may be taken over; and the reply where there is one.
-- Returns the new version once it stands, written now or before; else what stands instead; or, where a claim meets an
-- effect key that another operation holds, {'held', that operation, what stands at its place}.
--
-- An error half-way would leave half a write, so what could fail is tried first: foreign values are looked for before the
-- first write, and the record, by which a repetition is recognized, comes last.
-- Redis refuses a script's first write when its memory is full, unless that is a removal, and then lets the rest pass. A
-- claim begins with ZADD or SET and is refused; what is already claimed begins with a removal, and can still be written
-- down.
local operation, expected, version, phase = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local effect = KEYS[5]
local lease, forget, retention, record, reply = ARGV[5], ARGV[6], ARGV[7], ARGV[9], ARGV[effect and 13 or 10]

local place, foreign = standing(KEYS[1], operation)
if foreign then
  return foreign
end
if place.version == version then
  -- Changes nothing, but puts something into the stream to the replicas: whoever WAITs for this write, on whatever
  -- connection it is repeated, waits until they have got at least as far. (Not every server moves what WAIT waits for
  -- at a command that wrote nothing.)
  redis.call('HDEL', KEYS[1], 'phase')
  redis.call('HSET', KEYS[1], 'phase', place.phase)
  return version
end
if (place.version or '') ~= expected then
  return handed_back(place, operation, KEYS[1], KEYS[2])
end

local was_unknown, is_unknown = place.phase == 'unknown', phase == 'unknown'
if was_unknown ~= is_unknown then
  redis.call('ZSCORE', KEYS[4], operation)
end
if (reply or place.kept) and not ours_to_keep(KEYS[2], operation) then
  return foreign_reply()
end

if effect then
  local hold, window, over = ARGV[10], ARGV[11], ARGV[12]
  local ours = 'holdfast ' .. operation
  local stands = redis.pcall('GET', effect)
  if type(stands) == 'table' or (stands and string.sub(stands, 1, 9) ~= 'holdfast ') then
    return foreign_reply()
  end
  redis.call('ZSCORE', KEYS[3], operation)
  if hold == 'claim' then
    if stands and stands ~= ours and stands ~= 'holdfast ' .. over then
      -- Who holds it is only known here. Its keys are in the same slot, so a cluster lets us read them undeclared, or
      -- fails the script before its first write where a slot is on the move; it never answers for another node.
      local holder = string.sub(stands, 10)
      local record_key = string.sub(KEYS[1], 1, -#operation - 1) .. holder
      local reply_key = string.sub(KEYS[2], 1, -#operation - 1) .. holder
      local its_place, its_foreign = standing(record_key, holder)
      local present = its_foreign or handed_back(its_place, holder, record_key, reply_key)
      if present and present.err then
        return present
      end
      return {'held', holder, present}
    end
    redis.call('SET', effect, ours)
  elseif not stands or stands == ours then
    redis.call('UNLINK', effect)
    if hold == 'keep' then
      redis.call('SET', effect, ours)
    elseif hold == 'window' and tonumber(window) > 0 then
      redis.call('SET', effect, ours, 'PX', window)
    end
  end
end

local due = ''
if lease ~= '' then
  due = whole(now_ms() + lease)
  redis.call('ZADD', KEYS[3], due, operation)
elseif place.version then
  redis.call('ZREM', KEYS[3], operation)
end
if is_unknown and not was_unknown then
  redis.call('ZADD', KEYS[4], whole(now_ms()), operation)
elseif was_unknown and not is_unknown then
  redis.call('ZREM', KEYS[4], operation)
end

if place.kept then
  redis.call('UNLINK', KEYS[2])
end
if reply then
  redis.call('HSET', KEYS[2], 'operation', operation, 'version', version, 'reply', reply)
  -- A reply without its record is nobody's: it never outlasts the place.
  if forget ~= '' and (retention == '' or tonumber(forget) < tonumber(retention)) then
    retention = forget
  end
  if retention ~= '' then
    redis.call('PEXPIRE', KEYS[2], retention)
  else
    redis.call('PERSIST', KEYS[2])
  end
end

redis.call('HSET', KEYS[1], 'operation', operation, 'version', version, 'phase', phase, 'record', record,
  'due', due, 'kept', reply and '1' or '', 'watched', '')
if forget ~= '' then
  redis.call('PEXPIRE', KEYS[1], forget)
elseif place.version or place.watched then
  redis.call('PERSIST', KEYS[1])
end
if place.watched then
  redis.call('PUBLISH', ARGV[8], operation)
end
return version
