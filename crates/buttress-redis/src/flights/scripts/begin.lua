-- KEYS: generation, value, lock. ARGV: a new generation, owner, lease, stamp to be newer than, time of a generation.
local g = text(KEYS[1])
if not g or #g ~= 16 then
  g = ARGV[1]
  redis.call('SET', KEYS[1], g, 'PX', ARGV[5])
end
local value = text(KEYS[2])
if value and #value >= 32 and string.sub(value, 1, 16) == g and string.sub(value, 17, 32) ~= ARGV[4] then
  local ttl = redis.call('PTTL', KEYS[2])
  if ttl >= 0 then return {'value', ttl, value} end
end
local lock = text(KEYS[3])
if lock and #lock == 33 and string.sub(lock, 1, 16) == g then
  local ttl = redis.call('PTTL', KEYS[3])
  if ttl > 0 then
    redis.call('SETRANGE', KEYS[3], 32, '1') -- awaited: the end of the lock is announced
    return {'busy', ttl}
  end
end
redis.call('SET', KEYS[3], g .. ARGV[2] .. '0', 'PX', ARGV[3])
return {'lead', g}
