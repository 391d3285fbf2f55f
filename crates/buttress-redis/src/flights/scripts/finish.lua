-- KEYS: generation, value, lock. ARGV: generation, owner, what (value, unshared, abandon), time of the value,
-- bytes, channel, subject, time of a generation.
local lock = text(KEYS[3])
local mine = lock and #lock == 33 and string.sub(lock, 17, 32) == ARGV[2]
local awaited = lock and string.sub(lock, 33, 33) == '1'
local result = 'stored'
if ARGV[3] ~= 'abandon' then
  local g = text(KEYS[1])
  local there = text(KEYS[2])
  local taken = there and #there >= 32 and string.sub(there, 1, 16) == g
  if g ~= ARGV[1] or (not mine and (taken or ARGV[3] == 'unshared')) then
    result = 'superseded'
  else
    -- A value that ends after the stamp says that nothing was shared. The mark tells it from an empty value.
    local content = ARGV[3] == 'value' and 'v' .. ARGV[5] or ''
    redis.call('SET', KEYS[2], g .. ARGV[2] .. content, 'PX', ARGV[4])
    redis.call('SET', KEYS[1], g, 'PX', ARGV[8]) -- outlives the value
    if not mine then result = 'late' end
  end
end
if mine then redis.call('DEL', KEYS[3]) end
if awaited and (mine or result == 'late') then redis.call('PUBLISH', ARGV[6], ARGV[7]) end
return result
