-- One step of the law that limits/lease.py states; limits/backends/store.py is the same in Python.
-- KEYS: state, last seen, shares, weights, entitlements, hungry, pauses: all of one limit, in one slot.
-- ARGV: now (-1: the server's clock), member, weight, step, share, leaving, share_ms, WHOLE, UNSEEN_MS, SWEEP_MS,
--       RECOVERY_MS, HUNGRY_MS, LAG_MS, SAVING_MS, YIELD_MS, AHEAD_TURNS, KEEP_MS, rank, level,
--       light, parts, then for each: amount, period, burst, want, least, back, most (-1: not told); then pauses, then for
--       each: target, ms.
local state, last, shares, weights, entitled_at, hungry, paused = unpack(KEYS)
local now, me = tonumber(ARGV[1]), ARGV[2]
if now < 0 then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local weight, step, reported = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local leaving, share_ms = ARGV[6] == '1', tonumber(ARGV[7])
local WHOLE, UNSEEN, SWEEP, RECOVERY = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local HUNGRY, LAG, SAVING, YIELD = tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14]), tonumber(ARGV[15])
local AHEAD, KEEP, rank, urgency = tonumber(ARGV[16]), tonumber(ARGV[17]), tonumber(ARGV[18]), tonumber(ARGV[19])
local light, HEAD = ARGV[20] == '1', 21
local n = tonumber(ARGV[HEAD])
local floor, min, max = math.floor, math.min, math.max

local S, was = {}, {}
local flat = redis.call('HGETALL', state)
for i = 1, #flat, 2 do
  local value = tonumber(flat[i + 1]) or flat[i + 1]
  S[flat[i]], was[flat[i]] = value, value
end
local zeros = { 'phase', 'step', 'shares', 'reserved', 'weight', 'saver_entitled', 'saver_until', 'rank', 'rank_until', 'light_until' }
if S.parts ~= n then
  for _, key in ipairs({ last, shares, weights, entitled_at, hungry, paused, state }) do redis.call('DEL', key) end
  S, was = { parts = n, born = now, seen = now, swept = now, saver = '' }, {}
  for _, name in ipairs(zeros) do S[name] = 0 end
end

-- what a name is, as text: a member may be called by digits
local saver = S.saver ~= '' and string.sub(tostring(S.saver), 2) or ''

local part = {}
for i = 1, n do
  local at = HEAD + (i - 1) * 7
  local p = {
    amount = tonumber(ARGV[at + 1]), period = tonumber(ARGV[at + 2]), burst = tonumber(ARGV[at + 3]),
    want = tonumber(ARGV[at + 4]), least = tonumber(ARGV[at + 5]), back = tonumber(ARGV[at + 6]),
    most = tonumber(ARGV[at + 7]),
    level = S['level' .. i] or 0, rest = S['rest' .. i] or 0,
  }
  if S['amount' .. i] ~= p.amount or S['period' .. i] ~= p.period or S['burst' .. i] ~= p.burst then
    p.rest = 0
    p.level = min(p.level, p.burst)
  end
  if step > S.step then
    p.level, p.rest = min(p.level, 0), 0
  end
  part[i] = p
end
local function add(p, units)
  p.level = p.level + units
  if p.level >= p.burst then p.level, p.rest = p.burst, 0 end
end
local function cost(p, units)  -- units * period / amount, rounded down, without leaving the exact integers
  local whole = floor(units / p.amount)
  return whole * p.period + floor((units - whole * p.amount) * p.period / p.amount)
end
S.step = max(S.step, step) + 1

-- a key lives on from sweep to sweep; one that there was not may not see any
local function lasting(key, added)
  if added > 0 then redis.call('PEXPIRE', key, KEEP) end
end

local function forget(member)
  redis.call('ZREM', last, member)
  S.shares = S.shares - (tonumber(redis.call('HGET', shares, member)) or 0)
  S.weight = S.weight - (tonumber(redis.call('HGET', weights, member)) or 0)
  redis.call('HDEL', shares, member)
  redis.call('HDEL', weights, member)
  for i = 1, n do redis.call('HDEL', entitled_at, i .. ':' .. member) end
  redis.call('ZREM', hungry, member)
  if saver == member then saver = '' end
end

-- the member is there
local recovering = now < S.born + RECOVERY
lasting(last, redis.call('ZADD', last, now, me))
local weighed = tonumber(redis.call('HGET', weights, me)) or 0
if weighed ~= weight then
  S.weight = S.weight + weight - weighed
  lasting(weights, redis.call('HSET', weights, me, weight))
end
local held = tonumber(redis.call('HGET', shares, me))
local share = min(recovering and reported or floor(WHOLE * weight / S.weight), WHOLE - S.shares + (held or 0))
if share ~= held then
  S.shares = S.shares + share - (held or 0)
  lasting(shares, redis.call('HSET', shares, me, share))
end

-- the silent ones
if now < S.swept or now - S.swept >= SWEEP then
  S.swept = now
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', last, '-inf', '(' .. now - share_ms)) do forget(member) end
  S.reserved = 0
  local silent = redis.call('ZRANGEBYSCORE', last, '-inf', '(' .. now - UNSEEN)
  for i = 1, #silent do
    S.reserved = S.reserved + (tonumber(redis.call('HGET', shares, silent[i])) or 0)
  end
end

-- time that passed
local elapsed = max(0, now - S.seen)
S.seen = now
local ripe = elapsed * (recovering and S.shares or WHOLE - S.reserved) + S.phase
elapsed = floor(ripe / WHOLE)
S.phase = ripe - elapsed * WHOLE
for i = 1, n do
  local p = part[i]
  local span = min(elapsed, p.period)
  local each = floor(p.amount / p.period)
  local grown = (p.amount - each * p.period) * span + p.rest
  local whole = floor(grown / p.period)
  p.rest = grown - whole * p.period
  add(p, each * span + whole)
  if p.back ~= 0 then add(p, p.back) end
  if p.most >= 0 then p.level = min(p.level, p.most) end
end

local granted, crowd, retry = {}, WHOLE, 0
for i = 1, n do granted[i] = 0 end

local function decide()
  local others, hungers = redis.call('ZCARD', hungry), nil
  if others > 0 then
    redis.call('ZREMRANGEBYSCORE', hungry, '-inf', '(' .. now - HUNGRY)
    others = redis.call('ZCARD', hungry)
    hungers = redis.call('ZSCORE', hungry, me)
    if hungers then others = others - 1 end
  end
  local function sated()
    if hungers then redis.call('ZREM', hungry, me) end
  end
  local rivals = max(1, redis.call('ZCARD', last) - 1) * weight
  crowd = WHOLE + floor(others * (S.weight - weight) * WHOLE / rivals)
  -- what came back was of no use to the member: of its rate, and of no other, it does not count as its turn
  local moment, entitled = {}, nil
  for i = 1, n do
    local p, field = part[i], i .. ':' .. me
    moment[i] = tonumber(redis.call('HGET', entitled_at, field))
    if moment[i] and p.back > 0 then
      moment[i] = moment[i] - floor(cost(p, p.back) * crowd / WHOLE)
      redis.call('HSET', entitled_at, field, moment[i])
    end
    moment[i] = moment[i] or now
    entitled = max(entitled or moment[i], moment[i])
  end
  local wants = false
  for i = 1, n do wants = wants or part[i].want > 0 end
  if not wants then
    sated()
    return
  end
  local fits, ample = true, true
  for i = 1, n do
    local p = part[i]
    fits = fits and p.level >= min(p.least, p.burst)
    ample = ample and 4 * (p.level - p.least) >= 3 * p.burst
  end
  local top = now < (S.rank_until or 0) and S.rank or 0
  if urgency > 0 and urgency < top and not ample then
    sated()
    retry = S.rank_until - now
    return
  end
  local function be_short()
    lasting(hungry, redis.call('ZADD', hungry, now, me))
    if rank >= top then S.rank, S.rank_until = rank, now + YIELD end
  end
  local due = entitled
  if light and others > 0 then
    local turn = 0
    for i = 1, n do turn = max(turn, cost(part[i], part[i].least)) end
    due = due - floor(AHEAD * turn * crowd / WHOLE)
    S.light_until = now + YIELD
  end
  if fits and others > 0 then
    fits = due <= now or ample
    if saver ~= '' and saver ~= me and now < S.saver_until and S.saver_entitled < due then
      for i = 1, n do fits = fits and part[i].level - part[i].least >= (S['saved' .. i] or 0) end
    end
    if not light and now < (S.light_until or 0) then
      for i = 1, n do
        local p = part[i]
        fits = fits and p.level - p.least >= min(floor((p.burst + 3) / 4), p.burst - p.least)
      end
    end
  end
  if not fits then
    be_short()
    if saver == '' or saver == me or now >= S.saver_until or due < S.saver_entitled then
      saver, S.saver_entitled, S.saver_until = me, due, now + SAVING
      for i = 1, n do S['saved' .. i] = min(part[i].least, part[i].burst) end
    end
    retry = max(1, due - now)
    for i = 1, n do
      local p = part[i]
      retry = max(retry, cost(p, min(p.least, p.burst) - p.level) + 1)
    end
    return
  end
  local early = due <= now and now < entitled and not ample
  local over, under = early and 0 or 1, 1
  for i = 1, n do
    local p = part[i]
    local more = p.want - p.least
    local room = floor(max(0, p.level - p.least) * WHOLE / crowd)
    if more > 0 and room * under < more * over then over, under = room, more end
  end
  local met, entitlements = true, {}
  for i = 1, n do
    local p = part[i]
    granted[i] = p.least + floor(max(0, p.want - p.least) * over / under)
    p.level = p.level - granted[i]
    met = met and granted[i] >= p.want
    moment[i] = others > 0 and max(moment[i], now - LAG) + floor(cost(p, granted[i]) * crowd / WHOLE) or now
    entitlements[2 * i - 1], entitlements[2 * i] = i .. ':' .. me, moment[i]
    entitled = i > 1 and max(entitled, moment[i]) or moment[i]
  end
  lasting(entitled_at, redis.call('HSET', entitled_at, unpack(entitlements)))
  if saver == me then saver = '' end
  if met then
    sated()
  else
    be_short()
    retry = max(1, entitled - now)
  end
end

if leaving then
  forget(me)
  share = 0
else
  decide()
end

-- targets to be left alone
local at = HEAD + n * 7 + 1
for i = 1, tonumber(ARGV[at]) do
  local target, ms = ARGV[at + 2 * i - 1], tonumber(ARGV[at + 2 * i])
  local til = max(tonumber(redis.call('HGET', paused, target)) or 0, now + ms)
  lasting(paused, redis.call('HSET', paused, target, til))
end
local answer = { S.step, share, redis.call('ZCARD', last), crowd, retry }
for i = 1, n do answer[#answer + 1] = granted[i] end
local all = redis.call('HGETALL', paused)
for i = 1, #all, 2 do
  local left = tonumber(all[i + 1]) - now
  if left > 0 then
    answer[#answer + 1] = all[i]
    answer[#answer + 1] = left
  else
    redis.call('HDEL', paused, all[i])
  end
end

-- what is kept: of that, what is not as it was
local kept = {}
local function keep(name, number)
  if was[name] ~= number then
    kept[#kept + 1] = name
    kept[#kept + 1] = string.format('%.0f', number)
  end
end
for _, name in ipairs(zeros) do keep(name, S[name] or 0) end
for i = 1, n do
  local p = part[i]
  keep('level' .. i, p.level)
  keep('rest' .. i, p.rest)
  keep('amount' .. i, p.amount)
  keep('period' .. i, p.period)
  keep('burst' .. i, p.burst)
  keep('saved' .. i, S['saved' .. i] or 0)
end
keep('parts', n)
keep('born', S.born)
keep('seen', S.seen)
keep('swept', S.swept)
S.saver = saver ~= '' and '=' .. saver or ''
if S.saver ~= was.saver then
  kept[#kept + 1] = 'saver'
  kept[#kept + 1] = S.saver
end
redis.call('HSET', state, unpack(kept))
if S.swept == now then
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, KEEP) end
end
return answer
