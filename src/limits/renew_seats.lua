-- Renews the leases of seats of a user, those that this server does not know included: it may have lost them.
-- KEYS[1]: as in take_seat.lua. ARGV: the lease in milliseconds, the seats' names. Returns how many.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
for place = 2, #ARGV do
  redis.call('ZADD', KEYS[1], now + tonumber(ARGV[1]), ARGV[place])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return #ARGV - 1
