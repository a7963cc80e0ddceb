-- Returns part of an index: operations, each followed by its moment, the earliest first.
-- KEYS: index. ARGV: the first moment ('(' before it: later ones only), the operation of that moment after which to begin
--       ('' for none), how many at most.
-- Where that operation has left its moment meanwhile, its like come again rather than be missed.
if ARGV[2] ~= '' and redis.call('ZSCORE', KEYS[1], ARGV[2]) == ARGV[1] then
  local rank = redis.call('ZRANK', KEYS[1], ARGV[2])
  return redis.call('ZRANGE', KEYS[1], rank + 1, rank + ARGV[3], 'WITHSCORES')
end
return redis.call('ZRANGE', KEYS[1], ARGV[1], '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[3], 'WITHSCORES')
