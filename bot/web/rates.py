"""Rate limits per client: token buckets in process memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

# More clients than that at once: the one that was quiet for longest is forgotten, which only ever helps it.
_MOST_CLIENTS = 10_000


class Buckets:
    """One bucket per client, `burst` deep, refilled at `per_s`."""

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
