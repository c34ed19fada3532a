"""Rate limits of callers in Redis, counted over all replicas: a token bucket for each, one Lua call a request."""

from __future__ import annotations

from bot.state.redis_link import Client
from bot.state.redis_script import Script

_TAKE = Script("""
local key, rate, burst = KEYS[1] .. ':' .. ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local kept = redis.call('HMGET', key, 'level', 'at')
local level = tonumber(kept[1] or burst)
level = math.min(burst, level + math.max(0, now - tonumber(kept[2] or now)) * rate)
local wait = 0
if level >= 1 then level = level - 1 else wait = (1 - level) / rate end
redis.call('HSET', key, 'level', string.format('%.17g', level), 'at', string.format('%.17g', now))
redis.call('EXPIRE', key, math.ceil(burst / rate) + 1)
return string.format('%.17g', wait)
""")


class RedisRates:
    """One kind of limit. A bucket that would be full again is forgotten. Raises what the client raises."""

    def __init__(self, client: Client, *, prefix: str, per_s: float, burst: int) -> None:
        self._client = client
        self._prefix = prefix
        self._rate = (repr(per_s), str(burst))

    async def take(self, caller: str) -> float:
        """Spend one token. 0.0 if there was one, else the seconds until there will be."""
        return float(await _TAKE.run(self._client, self._prefix, caller, *self._rate))
