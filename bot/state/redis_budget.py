"""The platforms' budgets in Redis, shared by all replicas: `adapters/live/budget.py`'s rules, one Lua call each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adapters.live.budget import (
    _EPS,
    _RESERVE,
    ASK_AGAIN_S,
    FORGET_S,
    GAIN,
    GRACE_S,
    LEAST_FACTOR,
    STRIKE_S,
    STRIKES,
    Charge,
    Limits,
)
from adapters.ports import Allowance, Budget, Call, Priority
from bot.state.redis_link import Client, RedisAway, RedisLink
from bot.state.redis_script import Script

_RANK = 1e10
"""A place's score is its priority times this, plus since when it stands there (seconds since the epoch: 1.8e9)."""

_KEPT, _KEPT_FROM_ACTIONS = repr(_RESERVE[Priority.PREVIEW]), repr(_RESERVE[Priority.ACTION])

# Lua prints numbers with 14 digits unless told otherwise: too few for a moment in time.
_COMMON = f"""
local p, forget = KEYS[1], {FORGET_S:.0f}
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1000000
end
local function exact(number) return string.format('%.17g', number) end
local function charges(first)
  local all = {{}}
  for at = first, #ARGV, 5 do
    all[#all + 1] = {{
      bucket = p .. ':bucket:' .. ARGV[at], line = p .. ':line:' .. ARGV[at], promised = p .. ':until:' .. ARGV[at],
      strikes = p .. ':strikes:' .. ARGV[at], member = ARGV[at + 1], rate = tonumber(ARGV[at + 2]),
      burst = tonumber(ARGV[at + 3]), is_shared = ARGV[at + 4] == '1'
    }}
  end
  return all
end
local function read(c)
  local kept = redis.call('HMGET', c.bucket, 'level', 'at', 'factor')
  if not kept[1] then return nil end
  return {{level = tonumber(kept[1]), at = tonumber(kept[2]), factor = tonumber(kept[3])}}
end
local function refilled(c)
  local b = read(c) or {{level = c.burst, at = now, factor = 1}}
  if now > b.at then
    b.level = math.min(c.burst, b.level + (now - b.at) * c.rate * b.factor)
    b.at = now
  end
  return b
end
local function write(c, b)
  redis.call('HSET', c.bucket, 'level', exact(b.level), 'at', exact(b.at), 'factor', exact(b.factor))
  redis.call('EXPIRE', c.bucket, forget)
end
local function wait(c, b, need)
  local missing, closed = math.max(0, need - b.level), math.max(0, b.at - now)
  if missing > {_EPS!r} then return closed + missing / (c.rate * b.factor) end
  return closed
end
local function punish(c, retry)
  local b = refilled(c)
  local opens = math.max(retry, wait(c, b, 1))
  if now >= b.at then b.factor = math.max({LEAST_FACTOR!r}, b.factor / 2) end
  write(c, {{level = 1, at = now + opens, factor = b.factor}})
end
"""
_TAKE = Script(
    _COMMON
    + f"""
local priority = tonumber(ARGV[2])
local all = charges(3)
local reserves = {{[{int(Priority.PREVIEW)}] = {_KEPT}, [{int(Priority.ACTION)}] = {_KEPT_FROM_ACTIONS}}}
local function rank(c)
  local own = tonumber(redis.call('ZSCORE', c.line, c.member) or '')
  local since = now
  if own then since = own - math.floor(own / {_RANK:.0f}) * {_RANK:.0f} end
  return priority * {_RANK:.0f} + since, own
end
local function ahead(c)
  local mine, own = rank(c)
  local before = redis.call('ZCOUNT', c.line, '-inf', '(' .. exact(mine))
  for _, other in ipairs(redis.call('ZRANGE', c.line, exact(mine), exact(mine), 'BYSCORE')) do
    if other < c.member then before = before + 1 end
  end
  if own and own < mine then before = before - 1 end
  return before
end
local function leave(c)
  redis.call('ZREM', c.line, c.member)
  redis.call('ZREM', c.promised, c.member)
end
local function stand(c, promised)
  redis.call('ZADD', c.line, exact((rank(c))), c.member)
  redis.call('ZADD', c.promised, exact(promised), c.member)
  redis.call('EXPIRE', c.line, forget)
  redis.call('EXPIRE', c.promised, forget)
end
local function look(c)
  local b = refilled(c)
  write(c, b)
  for _, gone in ipairs(redis.call('ZRANGE', c.promised, '-inf', '(' .. exact(now - {GRACE_S!r}), 'BYSCORE')) do
    redis.call('ZREM', c.line, gone)
    redis.call('ZREM', c.promised, gone)
  end
  local before, alone = ahead(c), 1
  if c.is_shared then alone = 1 + (reserves[priority] or 0) * c.burst end
  alone = math.min(alone, c.burst)
  local later = wait(c, b, alone + before)
  if before > 0 then
    local first = wait(c, b, alone)
    later = math.max(first, math.min(later, first + {ASK_AGAIN_S!r}))
    if not c.is_shared then
      local head = redis.call('ZRANGE', c.line, 0, 0)[1]
      later = math.max(later, tonumber(redis.call('ZSCORE', c.promised, head)) - now, 0) + 0.02
    end
  end
  if later > {_EPS!r} then return math.max(later, 0.001) end
  return 0
end
local function allowance(later)
  local level, rate = 1e300, 1e300
  for _, c in ipairs(all) do
    local b = read(c) or {{level = c.burst, factor = 1}}
    local others = redis.call('ZCARD', c.line)
    if redis.call('ZSCORE', c.line, c.member) then others = others - 1 end
    local share, reserve = 1, others
    if c.is_shared then share, reserve = 1 / (others + 1), {_KEPT} * c.burst end
    level = math.min(level, (b.level - reserve) * share)
    rate = math.min(rate, c.rate * b.factor * share)
  end
  return {{exact(later), exact(math.max(0, level)), exact(rate)}}
end
for at, c in ipairs(all) do
  local later = look(c)
  if later > 0 then
    if priority ~= {int(Priority.ACTION)} then
      for kept = 1, at do stand(all[kept], now + later) end
    end
    return allowance(later)
  end
end
for _, c in ipairs(all) do
  local b = read(c)
  write(c, {{level = b.level - 1, at = b.at, factor = math.min(1, b.factor + {GAIN!r})}})
  leave(c)
end
return allowance(0)
"""
)
_THROTTLED = Script(
    _COMMON
    + f"""
local retry, chat, all = tonumber(ARGV[2]), ARGV[3], charges(4)
punish(all[1], retry)
for at = 2, #all do
  local c = all[at]
  if c.is_shared then
    redis.call('ZADD', c.strikes, exact(now), chat)
    redis.call('ZREMRANGEBYSCORE', c.strikes, '-inf', '(' .. exact(now - {STRIKE_S!r}))
    redis.call('EXPIRE', c.strikes, forget)
    if redis.call('ZCARD', c.strikes) >= {STRIKES} then
      punish(c, math.min(retry, {STRIKE_S!r}))
      redis.call('DEL', c.strikes)
    end
  end
end
"""
)


class RedisBudget:
    """A `Budget` that all replicas share. Raises what the client raises.

    Args:
        client: The client.
        limits: The platform's.
        prefix: With a hash tag; one for each bot.
        now: For tests; None: Redis's own time, so that replicas need not agree on theirs.
    """

    def __init__(self, client: Client, limits: Limits, *, prefix: str, now: Callable[[], float] | None = None) -> None:
        self._client = client
        self._limits = limits
        self._prefix = prefix
        self._now = now

    async def take(self, call: Call) -> Allowance:
        """See `Budget.take`."""
        answer = await self._run(_TAKE, str(int(call.priority)), charges=self._limits(call))
        wait_s, level, per_second = (float(number) for number in answer)
        return Allowance(wait_s=wait_s, level=level, per_second=per_second)

    async def throttled(self, call: Call, retry_after_s: float) -> None:
        """See `Budget.throttled`."""
        await self._run(_THROTTLED, repr(retry_after_s), call.chat, charges=self._limits(call))

    async def _run(self, script: Script, *arguments: str, charges: tuple[Charge, ...]) -> Any:
        now = "" if self._now is None else repr(self._now())
        flat = [
            text
            for charge in charges
            for text in (
                charge.key,
                charge.member,
                repr(charge.limit.per_second),
                repr(charge.limit.burst),
                str(int(charge.is_shared)),
            )
        ]
        return await script.run(self._client, self._prefix, now, *arguments, *flat)


class SharedBudget:
    """A `Budget` in Redis; this process's own while Redis is away."""

    def __init__(self, redis: RedisBudget, own: Budget, link: RedisLink) -> None:
        self._redis = redis
        self._own = own
        self._link = link

    async def take(self, call: Call) -> Allowance:
        """See `Budget.take`."""
        try:
            return await self._link.call(self._redis.take(call))
        except RedisAway:
            return await self._own.take(call)

    async def throttled(self, call: Call, retry_after_s: float) -> None:
        """See `Budget.throttled`. Learned here, too: the penalty holds whether or not Redis does."""
        await self._own.throttled(call, retry_after_s)
        try:
            await self._link.call(self._redis.throttled(call, retry_after_s))
        except RedisAway:
            return
