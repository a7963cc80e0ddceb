-- Compares a place's version with the expected one and, when they are equal, writes the place anew: all or nothing.
-- KEYS: record, reply, due index, unknown index.
-- ARGV: operation, expected version ('' for nothing), new version, phase, lease, forget, reply's retention (each in
--       milliseconds, or ''), channel, record, and the reply where there is one.
-- Returns the new version once it stands, written now or before; else what stands instead.
--
-- An error half-way would leave half a write, so what could fail is tried first: foreign values are looked for before the
-- first write, and the record, by which a repetition is recognized, comes last.
-- Redis refuses a script's first write when its memory is full, unless that is a removal, and then lets the rest pass. A
-- claim begins with ZADD and is refused; what is already claimed begins with ZREM, and can still be written down.
local operation, expected, version, phase = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local lease, forget, retention, record, reply = ARGV[5], ARGV[6], ARGV[7], ARGV[9], ARGV[10]

local place, foreign = standing(KEYS[1], operation)
if foreign then
  return foreign
end
if place.version == version then
  return version
end
if (place.version or '') ~= expected then
  return handed_back(place, operation)
end

local was_unknown, is_unknown = place.phase == 'unknown', phase == 'unknown'
if was_unknown ~= is_unknown then
  redis.call('ZSCORE', KEYS[4], operation)
end
if (reply or place.kept) and not ours_to_keep(KEYS[2], operation) then
  return foreign_reply()
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
