-- Delivers results: those that have been idle first, then new ones. Returns {id, entry, how often it was delivered} each.
-- ARGV: token of this call, consumer, how many at most, how many milliseconds a delivery is left to its consumer.
local token, consumer, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])
local delivered, places = {}, {}

local function deliver(at, fields)
  local pending = redis.call('XPENDING', results, group, at, at, 1)
  places[#places + 1] = at
  delivered[#delivered + 1] = {fields[2], fields[4], pending[1] and pending[1][4] or 1}
end

-- Makes the group anew where it was lost: all that is in the stream is delivered again.
local function in_group(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err and string.find(reply.err, 'NOGROUP', 1, true) then
    redis.call('XGROUP', 'CREATE', results, group, '0', 'MKSTREAM')
    return redis.call(...)
  elseif type(reply) == 'table' and reply.err then
    return redis.call(...) -- fails again, and the script with it
  end
  return reply
end

local before = remembered(token)
if before then
  for _, at in ipairs(before) do
    local found = redis.call('XRANGE', results, at, at)
    local pending = redis.pcall('XPENDING', results, group, at, at, 1)
    if found[1] and not pending.err and pending[1] and pending[1][2] == consumer then
      deliver(at, found[1][2])
    end
  end
  return delivered
end

local from = '0-0'
repeat
  local left = limit - #delivered
  local claimed = in_group('XAUTOCLAIM', results, group, consumer, ARGV[4], from, 'COUNT', left)
  from = claimed[1]
  for _, entry in ipairs(claimed[2]) do
    if entry and entry[2] then -- else it was deleted by hand
      deliver(entry[1], entry[2])
    end
  end
until from == '0-0' or #delivered >= limit
if #delivered < limit then
  local left = limit - #delivered
  local new = in_group('XREADGROUP', 'GROUP', group, consumer, 'COUNT', left, 'STREAMS', results, '>')
  for _, entry in ipairs(new and new[1][2] or {}) do
    deliver(entry[1], entry[2])
  end
end
if #places > 0 then
  remember(token, places)
end
return delivered
