-- The generic cell rate algorithm over one key: the time at which its budget will be whole again, in microseconds by
-- this server's clock. KEYS[1]; ARGV: microseconds in which one unit comes back, the quota, the amount.
-- Returns: whether it fits, what is left, microseconds until the budget is whole, microseconds to wait.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local unit, quota, amount = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local whole = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
local after = whole + unit * amount
local wait = after - unit * quota - now
if wait > 0 then
  return {0, math.max(0, math.floor(quota - (whole - now) / unit)), math.ceil(whole - now), math.ceil(wait)}
end
redis.call('SET', KEYS[1], string.format('%.3f', after), 'PX', math.ceil((after - now) / 1000) + 1)
return {1, math.max(0, math.floor(quota - (after - now) / unit)), math.ceil(after - now), 0}
