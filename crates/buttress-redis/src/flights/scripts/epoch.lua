-- KEYS: epoch. ARGV: a new epoch, time of an epoch, whether the epoch must change.
local epoch = text(KEYS[1])
if not epoch or #epoch ~= 16 or ARGV[3] == '1' then epoch = ARGV[1] end
redis.call('SET', KEYS[1], epoch, 'PX', ARGV[2])
return epoch
