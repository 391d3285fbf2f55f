-- GCRA in virtual scheduling form, over the store's clock, in microseconds.
-- KEYS[i]: bucket of rate i. ARGV: want, min, debt, then for each rate: interval, burst, expect.
local t = redis.call('TIME')
local now, want, min, debt = t[1] * 1000000 + t[2], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local n, lost, dirty, T, tau, tat = want, 0, debt > 0, {}, {}, {}
for i, key in ipairs(KEYS) do
  T[i] = tonumber(ARGV[1 + 3 * i])
  tau[i] = T[i] * tonumber(ARGV[2 + 3 * i])
  local raw, at, per = redis.pcall('GET', key), nil, nil
  if type(raw) == 'string' then at, per = string.match(raw, '^(%d+%.%d+) (%d+%.%d+)$') end
  at, per = tonumber(at), tonumber(per)
  if at then
    at = math.max(at, now)
    -- The backlog counts in cells: a bucket of another rate is rescaled.
    if per ~= T[i] and per > 0 then at = now + (at - now) * T[i] / per; dirty = true end
  elseif raw == false and ARGV[3 + 3 * i] ~= '1' then at = now -- new, or full: a full bucket
  else at = now + tau[i]; lost = 1; dirty = true end           -- lost or foreign: an empty one
  at = at + debt * T[i]
  if at > now + tau[i] then at = now + tau[i]; dirty = true end -- clock back, debt: empty at worst
  n = math.min(n, math.floor((now + tau[i] - at) / T[i] + 1e-6))
  tat[i] = at
end
if n < min then n = 0 end
local reply, wait, left = {n, 0, 0, lost}, 0, math.huge
for i, key in ipairs(KEYS) do
  local at = tat[i] + n * T[i]
  if dirty or n > 0 then
    redis.call('SET', key, string.format('%.3f %.6f', at, T[i]), 'PX', math.ceil((at - now) / 1000) + 1)
  end
  wait = math.max(wait, math.ceil(at + min * T[i] - now - tau[i]))
  left = math.min(left, math.max(0, math.floor((now + tau[i] - at) / T[i] + 1e-6)))
  reply[4 + i] = math.max(0, math.ceil(at - now))
end
reply[2], reply[3] = math.min(wait, 1e15), left
return reply -- granted, time until `min` more cells, cells left, lost, then for each rate: time until full
