-- Put in front of every script. KEYS[1] is what all keys of all coordinators begin with; its hash tag is theirs, so they
-- share one slot, and a script may compute the others from it.
--   place:KEY      hash: key, version, record, label, owner, nudged; expires when it is to be forgotten
--   due            sorted set: places by the moment at which they fall due; an owned one's visibility is over then
--   number         string: counts writes and dead letters
--   listed         sorted set: places with any label, by the number of their last write
--   labels         set: the labels that have places; for each
--   label:LABEL      sorted set: its places, by the number of their last write
--   forget:LABEL     sorted set: those that are to be forgotten, by the moment
--   webhook:ID     string: a notification that was heard, until it may come again
--   results        stream with the group `coordinators`: id, entry
--   posted         hash: where in the stream a result is, by its id
--   letter:ID      hash: id, entry, reason, detail, since
--   letters        sorted set: dead letters by their number
--   asked:TOKEN    string: what a call brought about that cannot be told by what stands; for as long as it may be repeated
--   schema         string: from 2 on, what a process must know to touch any of this (`ledger.stores.redis_fitness`)
--   wake           channel: owner, NUL, place; both empty: something is due or posted that nobody owns
-- A removal comes before each write to what stands: Redis refuses a script's first write when its memory is full, unless
-- that is a removal, and then lets the rest pass. So what is under way goes on in a full server, and nothing new begins.
local base = KEYS[1]
local due_key, results, group = base .. 'due', base .. 'results', 'coordinators'
local ASKED_MS = 10000 -- longer than any deadline within which a command is sent again

local function foreign_reply()
  return redis.error_reply("FOREIGN something that Holdfast did not write stands in a run's place")
end

-- Milliseconds by the server's clock.
local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- Lua would write large numbers as 1.7e+12.
local function whole(n)
  return string.format('%.0f', n)
end

-- Returns what stands at a place (without a version: nothing), or an error reply beside nil.
local function standing(key)
  local at = base .. 'place:' .. key
  local f = redis.pcall('HMGET', at, 'key', 'version', 'record', 'label', 'owner', 'nudged')
  if f.err then
    return nil, f
  end
  if f[1] == key and f[2] and f[3] and f[4] and f[5] then
    local due = tonumber(redis.call('ZSCORE', due_key, key))
    return {key = key, version = f[2], record = f[3], label = f[4], owner = f[5], nudged = f[6] == '1', due = due}
  end
  if f[1] or redis.call('EXISTS', at) == 1 then
    return nil, foreign_reply()
  end
  return {key = key, label = '', owner = '', nudged = false}
end

-- Returns the owner whose visibility is not over; empty for none.
local function live_owner(place, now)
  return place.due and place.due > now and place.owner or ''
end

-- Returns a place as callers are told of it; false for nothing.
local function seen(place, now)
  return place.version and {place.key, place.version, place.record, live_owner(place, now)} or false
end

-- The three that follow say what `coordinator/stores/holds.py` says to the other stores.
-- Returns what a nudge makes of a place's hold, and whom to tell ('' for everybody).
local function hurried(place, now)
  local live, due = live_owner(place, now), place.due
  if live == '' and not (due and due <= now) then
    due = now
  end
  return {owner = place.owner, due = due, nudged = place.owner ~= '', tell = live}
end

-- Returns what a write makes of it, and whom to tell (nil for nobody).
local function after(place, doing, writer, in_ms, now)
  if doing == 'hurry' then
    return hurried(place, now)
  end
  local live = live_owner(place, now)
  if live ~= '' and live ~= writer then
    return place
  end
  local due = in_ms ~= '' and now + in_ms or nil
  if doing == 'keep' then
    return {owner = writer, due = due, nudged = place.nudged and place.owner == writer}
  end
  if place.nudged then
    due = now
  end
  return {owner = '', due = due, nudged = false, tell = due and due <= now and '' or nil}
end

local function tell(owner, key)
  redis.call('PUBLISH', base .. 'wake', owner == '' and '' or owner .. '\0' .. key)
end

-- Makes what stands at a place due now, or nudges its owner.
local function hurry(place, now)
  local hold = hurried(place, now)
  redis.call('ZREM', due_key, place.key)
  redis.call('ZADD', due_key, whole(hold.due), place.key)
  if hold.nudged then
    redis.call('HSET', base .. 'place:' .. place.key, 'nudged', '1')
  end
  tell(hold.tell, place.key)
end

-- Takes some forgotten places of a label out of the indexes.
local function purge(label, limit, now)
  local forget = base .. 'forget:' .. label
  local gone = redis.call('ZRANGE', forget, '-inf', '(' .. whole(now), 'BYSCORE', 'LIMIT', 0, limit)
  for _, key in ipairs(gone) do
    redis.call('ZREM', forget, key)
    redis.call('ZREM', base .. 'label:' .. label, key)
    if redis.call('EXISTS', base .. 'place:' .. key) == 0 then
      redis.call('ZREM', base .. 'listed', key)
      redis.call('ZREM', due_key, key)
    end
  end
end

-- Returns what the call with this token brought about when it was sent the first time, or nil.
local function remembered(token)
  local packed = redis.call('GET', base .. 'asked:' .. token)
  return packed and cmsgpack.unpack(packed)
end

local function remember(token, names)
  redis.call('SET', base .. 'asked:' .. token, cmsgpack.pack(names), 'PX', ASKED_MS)
end

-- Returns where in the stream the result `id` is, and its entry; nil where it is not.
local function posted(id)
  local at = redis.call('HGET', base .. 'posted', id)
  local found = at and redis.call('XRANGE', results, at, at)
  if found and found[1] then
    return at, found[1][2][4]
  end
end

local function post(id, entry)
  redis.call('HSET', base .. 'posted', id, redis.call('XADD', results, '*', 'id', id, 'entry', entry))
  tell('', '')
end

local function unpost(id, at)
  redis.call('HDEL', base .. 'posted', id)
  redis.call('XACK', results, group, at)
  redis.call('XDEL', results, at)
end
