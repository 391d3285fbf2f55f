-- The string of a name. Another type under the name is deleted and counts as nothing.
local function text(name)
  local raw = redis.pcall('GET', name)
  if type(raw) == 'string' then return raw end
  if type(raw) == 'table' and raw.err then
    if not string.find(raw.err, 'WRONGTYPE', 1, true) then error(raw.err) end
    redis.call('DEL', name)
  end
  return nil
end
