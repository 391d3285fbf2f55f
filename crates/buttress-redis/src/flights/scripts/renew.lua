-- KEYS: lock. ARGV: owner, lease.
local lock = text(KEYS[1])
if not lock or #lock ~= 33 or string.sub(lock, 17, 32) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], lock, 'PX', ARGV[2])
return 1
