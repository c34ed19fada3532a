"""What may go wrong on purpose: flood limits as token buckets, and faults scheduled for the next calls."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.emulators.telegram.errors import ApiError, too_many


@dataclass(slots=True)
class Limits:
    """Calls allowed, as (per second, burst); None switches a limit off.

    Telegram publishes only orders of magnitude (https://core.telegram.org/bots/faq, "My bot is hitting limits"):
    about 1/s in one chat, 20 a minute in a group, 30/s for the bot. Edits count like messages.
    """

    private: tuple[float, float] | None = (1.0, 3.0)
    group: tuple[float, float] | None = (20 / 60, 20.0)
    bot: tuple[float, float] | None = (30.0, 30.0)


@dataclass(slots=True)
class Bucket:
    """Tokens that come back with time."""

    rate: float
    burst: float
    level: float
    at: float

    def wait_s(self, now: float) -> float:
        """Seconds until one token is there; 0.0 when it is."""
        self.level = min(self.burst, self.level + (now - self.at) * self.rate)
        self.at = now
        return 0.0 if self.level >= 1 - 1e-9 else (1 - self.level) / self.rate


class FloodControl:
    """Answers 429 with the whole seconds to wait, like the real server, and spends nothing then."""

    def __init__(self, limits: Limits, now: Callable[[], float]) -> None:
        self.limits = limits
        self._now = now
        self._buckets: dict[str, Bucket] = {}

    def spend(self, chat_id: int) -> None:
        """One message or edit in a chat; raises the 429."""
        now = self._now()
        wanted = [("bot", self.limits.bot)]
        wanted.append((f"chat:{chat_id}", self.limits.private if chat_id > 0 else self.limits.group))
        buckets = [self._bucket(name, limit, now) for name, limit in wanted if limit is not None]
        wait_s = max((bucket.wait_s(now) for bucket in buckets), default=0.0)
        if wait_s > 0:
            raise too_many(math.ceil(wait_s))
        for bucket in buckets:
            bucket.level -= 1

    def _bucket(self, name: str, limit: tuple[float, float], now: float) -> Bucket:
        rate, burst = limit
        if name not in self._buckets:
            self._buckets[name] = Bucket(rate=rate, burst=burst, level=burst, at=now)
        return self._buckets[name]


@dataclass(slots=True, kw_only=True)
class Fault:
    """What happens to some calls instead of an ordinary answer.

    `code` and `description`: refused with that. `is_lost`: done, but the connection closes before the answer.
    `is_dropped`: not done, and the connection closes. `delay_s`: answered so much later. `html`: the body of a proxy
    in front of the server, with status `code`.
    """

    method: str = "*"
    times: int = 1
    skip: int = 0
    code: int | None = None
    description: str = ""
    retry_after: int | None = None
    is_lost: bool = False
    is_dropped: bool = False
    delay_s: float = 0.0
    html: str | None = None

    def refusal(self) -> ApiError | None:
        """The error to answer with, if this fault is one."""
        if self.code is None:
            return None
        description = self.description or {
            429: f"Too Many Requests: retry after {self.retry_after}",
            500: "Internal Server Error",
            502: "Bad Gateway",
        }.get(self.code, "Bad Request")
        return ApiError(self.code, description, retry_after=self.retry_after)


@dataclass(slots=True)
class FaultPlan:
    """Faults in the order they were scheduled; each is used up by the calls it meets."""

    waiting: list[Fault] = field(default_factory=list)

    def take(self, method: str) -> Fault | None:
        """The fault that meets this call, if any."""
        for fault in self.waiting:
            if fault.method not in {"*", method}:
                continue
            if fault.skip > 0:
                fault.skip -= 1
                return None
            fault.times -= 1
            if fault.times <= 0:
                self.waiting.remove(fault)
            return fault
        return None
