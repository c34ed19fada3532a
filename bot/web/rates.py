"""Rate limits per client: token buckets, counted over all replicas where there is Redis, else in this process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from bot.state.redis_link import RedisAway


class SharedRates(Protocol):
    """Buckets that all replicas share."""

    async def take(self, caller: str) -> float:
        """As `Buckets.take`; raises `RedisAway` when this process has to count by itself."""
        ...


# More clients than that at once: the one that was quiet for longest is forgotten, which only ever helps it.
_MOST_CLIENTS = 10_000


class Meter:
    """One bucket per client: the shared ones, and this process's own while those cannot be asked."""

    def __init__(self, own: Buckets, shared: SharedRates | None = None) -> None:
        """Without `shared`, this process counts alone."""
        self._own = own
        self._shared = shared

    async def take(self, client: str) -> float:
        """As `Buckets.take`."""
        if self._shared is not None:
            with suppress(RedisAway):
                return await self._shared.take(client)
        return self._own.take(client)


class Buckets:
    """One bucket per client in process memory, `burst` deep, refilled at `per_s`."""

    def __init__(self, *, per_s: float, burst: int, clock: Callable[[], float]) -> None:
        """Start with every bucket full."""
        self._per_s = per_s
        self._burst = float(burst)
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> float:
        """Spend one token. 0.0 if there was one, else the seconds until there will be."""
        now = self._clock()
        level, at = self._levels.pop(client, (self._burst, now))
        level = min(self._burst, level + (now - at) * self._per_s)
        is_granted = level >= 1
        level -= 1 if is_granted else 0
        self._levels[client] = (level, now)
        if len(self._levels) > _MOST_CLIENTS:
            self._levels.popitem(last=False)
        return 0.0 if is_granted else (1 - level) / self._per_s
