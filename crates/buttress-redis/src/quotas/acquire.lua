-- GCRA in virtual scheduling form, over the store's clock, in microseconds.
-- KEYS[i]: bucket of rate i. ARGV: want, min, debt, then for each rate: interval, burst, expect.
-- A bucket is the theoretical arrival time of the next cell, and the interval. Here times count from now.
local call, ceil, floor = redis.call, math.ceil, math.floor
local t = call('TIME')
local now, want, min, debt = t[1] * 1000000 + t[2], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local n, lost, dirty, T, tau, tat, known = want, 0, debt > 0, {}, {}, {}, {}
for i = 1, #KEYS do
  local interval, expect, raw = tonumber(ARGV[1 + 3 * i]), ARGV[3 + 3 * i], redis.pcall('GET', KEYS[i])
  local full, at, per = interval * ARGV[2 + 3 * i], nil, nil
  -- More digits than 64 are not of this script, and might be infinite.
  if type(raw) == 'string' and #raw <= 64 then at, per = string.match(raw, '^(%d+%.%d+) (%d+%.%d+)$') end
  known[i] = at
  if at then
    at, per = at - now, tonumber(per)
    if at < 0 then at = 0 end
    -- The backlog counts in cells: a bucket of another rate is rescaled.
    if per ~= interval and per > 0 then at = at * interval / per; dirty = true end
  elseif raw == false and expect ~= '1' then at = 0            -- new, or full: a full bucket
  elseif type(raw) == 'table' and not string.find(raw.err, 'WRONGTYPE', 1, true) then return raw
  else at = full; lost = 1; dirty = true end                   -- lost or foreign: an empty one
  at = at + debt * interval
  if at > full then at = full; dirty = true end                -- clock back, debt: empty at worst
  local left = floor((full - at) / interval + 1e-6)
  if left < n then n = left end
  T[i], tau[i], tat[i] = interval, full, at
end
if n < min then n = 0 end
local reply, wait, rest = {n, 0, 0, lost}, 0, math.huge
for i = 1, #KEYS do
  local interval, full = T[i], tau[i]
  local at = tat[i] + n * interval
  if dirty or n > 0 then
    local ttl = ceil(at / 1000) + 1
    -- Never sooner than before: if a slower rate asks too, that rate expects the bucket until then.
    if known[i] then ttl = math.max(ttl, call('PTTL', KEYS[i])) end
    call('SET', KEYS[i], string.format('%.3f %.6f', now + at, interval), 'PX', ttl)
  end
  local next, left = ceil(at + min * interval - full), floor((full - at) / interval + 1e-6)
  if next > wait then wait = next end
  if left < rest then rest = left end
  reply[4 + i] = ceil(at)
end
reply[2], reply[3] = math.min(wait, 1e15), math.max(rest, 0)
return reply -- granted, time until `min` more cells, cells left, lost, then for each rate: time until full
