-- One step of the law that limits/places.py states; limits/backends/place_store.py is the same in Python.
-- KEYS: state, held, lease ends, last seen, weights, shares, hungry: all of one limit, in one slot.
-- ARGV: now (-1: the server's clock), member, total, want, using, held, share, weight, lease_ms, share_ms, leaving,
--       least, most, size, delta, SWEEP_MS, RECOVERY_MS, HUNGRY_MS, KEEP_MS.
local state, held, ends, last, weights, shares, hungry = unpack(KEYS)
local now, me = tonumber(ARGV[1]), ARGV[2]
if now < 0 then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local N = {}
for i = 3, 19 do N[i] = tonumber(ARGV[i]) end
local total, want, using, reported, share, weight = N[3], N[4], N[5], N[6], N[7], N[8]
local lease_ms, share_ms, leaving = N[9], N[10], ARGV[11] == '1'
local least, most, size, delta = N[12], N[13], N[14], N[15]
local SWEEP, RECOVERY, HUNGRY, KEEP = N[16], N[17], N[18], N[19]
local floor, min, max = math.floor, math.min, math.max

local S = { born = now, swept = now, reserved = 0, weight = 0, shares = 0, waiting = 0, size = 0 }
local flat = redis.call('HGETALL', state)
for i = 1, #flat, 2 do S[flat[i]] = tonumber(flat[i + 1]) end
local function of(key, member) return tonumber(redis.call('HGET', key, member)) or 0 end

-- `waiting` is the weight of the hungry ones
local function sated(member)
  if redis.call('ZREM', hungry, member) == 1 then S.waiting = S.waiting - of(weights, member) end
end
local function forget(member)
  sated(member)
  if redis.call('ZREM', ends, member) == 0 then S.reserved = S.reserved - of(shares, member) end
  redis.call('HDEL', held, member)
  S.weight, S.shares = S.weight - of(weights, member), S.shares - of(shares, member)
  redis.call('HDEL', weights, member)
  redis.call('HDEL', shares, member)
  redis.call('ZREM', last, member)
end

for _, member in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', now)) do
  redis.call('HDEL', held, member)
  redis.call('ZREM', ends, member)
  S.reserved = S.reserved + of(shares, member)
end
if redis.call('ZADD', ends, now + lease_ms, me) == 1 then S.reserved = S.reserved - of(shares, me) end
redis.call('HDEL', held, me)
redis.call('ZADD', last, now, me)
if now < S.swept or now - S.swept >= SWEEP then
  S.swept = now
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', last, '-inf', '(' .. now - share_ms)) do forget(member) end
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', hungry, '-inf', '+inf')) do
    if tonumber(redis.call('ZSCORE', last, member)) < now - HUNGRY then sated(member) end
  end
end

if most > 0 then
  if S.size == 0 then S.size = size > 0 and size or total * 1000 end
  S.size = min(max(S.size + delta, least * 1000), most * 1000)
  total = floor(S.size / 1000)
end

local places, part, rivals = 0, 0, 0
if leaving then
  forget(me)
  share = 0
else
  local before = of(weights, me)
  local since = tonumber(redis.call('ZSCORE', hungry, me))
  if since then S.waiting = S.waiting - before end
  S.weight = S.weight + weight - before
  redis.call('HSET', weights, me, weight)
  local recovering = now < S.born + RECOVERY
  local own = of(shares, me)
  share = max(0, min(recovering and share or floor(total * weight / S.weight), total - (S.shares - own)))
  S.shares = S.shares + share - own
  redis.call('HSET', shares, me, share)

  local content, taken = 0, 0
  rivals = redis.call('ZCARD', hungry) - (since and 1 or 0)
  flat = redis.call('HGETALL', held)
  for i = 1, #flat, 2 do
    local units = tonumber(flat[i + 1])
    taken = taken + units
    if rivals > 0 and not redis.call('ZSCORE', hungry, flat[i]) then content = content + units end
  end
  local room = total - taken - S.reserved
  if recovering then
    places = min(reported, want, room)
  elseif rivals == 0 then
    places = min(want, room)
  else
    local pot = max(0, total - S.reserved - content) * weight
    local all = weight + S.waiting
    local older = redis.call('ZCOUNT', hungry, '-inf', '(' .. (since or now))
    part = floor(pot / all)
    places = min(want, room, max(part, min(math.ceil(pot / all), room - older)))
  end
  places = max(0, places)
  local counted = max(places, using)
  if counted > 0 then
    redis.call('HSET', held, me, counted)
  end
  if places >= want then
    redis.call('ZREM', hungry, me)
  else
    if places > part or not since then redis.call('ZADD', hungry, now, me) end
    S.waiting = S.waiting + weight
  end
end

for name, value in pairs(S) do redis.call('HSET', state, name, string.format('%.0f', value)) end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, KEEP) end
return { places, share, redis.call('ZCARD', last), rivals, S.size }
