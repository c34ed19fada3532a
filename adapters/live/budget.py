"""Who may call a platform when: token buckets, lines in front of them, and what a refusal teaches. No clock, no I/O.

A call spends one token of every bucket it is charged to, narrowest first (`Charge`): its chat's, then those that many
chats share (the bot's, a method's). The rules, which every implementation of `Budget` follows to the letter:

- A bucket refills by `per_second * factor` up to `burst`. While `at` lies in the future it is closed.
- Who cannot be served stands in the bucket's line, ordered by (priority, standing since, name), and keeps the place
  until `GRACE_S` after the moment it was told to ask again. A place that changes its priority keeps its `since`. Chat
  actions never stand in line.
- A chat's own line is for tickets; only its head goes on to the shared buckets. A shared line is for chats: one place
  each, however many messages grow there, and a chat served goes to the end. That is what makes it fair.
- A call is granted where the level covers itself, everybody ahead in the line, and in shared buckets a reserve that
  previews leave to finals, first texts and replies.
- A wait is the time the missing tokens take. Its part due to those ahead is at most `ASK_AGAIN_S`: they may drop out.
- A 429 closes the narrowest bucket for `retry_after` (or until it would have held one token, if that is later), leaves
  one token for the moment it opens, and halves its `factor` once per closing; every call granted gives `GAIN` of it
  back. `STRIKES` chats refused within `STRIKE_S` mean that a shared bucket is the cause: it is closed too, for at most
  `STRIKE_S`, and halved.
"""

from __future__ import annotations

import time
from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from adapters.ports import Allowance, Call, Priority

GRACE_S = 1.0
ASK_AGAIN_S = 3.0
GAIN = 0.05
LEAST_FACTOR = 1 / 64
STRIKES = 3
STRIKE_S = 5.0
FORGET_S = 600.0
"""A bucket untouched for so long may be forgotten."""
_RESERVE = {Priority.PREVIEW: 1 / 6, Priority.ACTION: 1 / 3}
_EPS = 1e-9


@dataclass(frozen=True, slots=True)
class Limit:
    """A token bucket's size: calls a second in the long run, and at once after a quiet time (at least 1)."""

    per_second: float
    burst: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One bucket that a call spends from."""

    key: str
    limit: Limit
    member: str
    """Under which name the call stands in this bucket's line: its ticket, or, where chats share, its chat."""
    is_shared: bool


Limits = Callable[[Call], tuple[Charge, ...]]
"""A platform's limits: the buckets of a call, narrowest first, those that are shared last."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """What a bucket holds."""

    level: float
    at: float
    """When it held that; in the future: closed until then."""
    factor: float = 1.0
    """How much of the limit's rate is used, as refusals have taught."""

    def refilled(self, limit: Limit, now: float) -> Bucket:
        """The same at `now`."""
        if now <= self.at:
            return self
        level = self.level + (now - self.at) * limit.per_second * self.factor
        return Bucket(min(limit.burst, level), now, self.factor)

    def spent(self) -> Bucket:
        """After a call was granted."""
        return Bucket(self.level - 1, self.at, min(1.0, self.factor + GAIN))

    def punished(self, limit: Limit, retry_after_s: float, now: float) -> Bucket:
        """After a 429. Calls that were under way when it closed say nothing new: it is halved once per closing."""
        factor = self.factor if now < self.at else max(LEAST_FACTOR, self.factor / 2)
        opens_s = max(retry_after_s, self.wait_s(limit, 1.0, now))
        return Bucket(1.0, now + opens_s, factor)

    def wait_s(self, limit: Limit, need: float, now: float) -> float:
        """Seconds until it holds `need`, if nobody takes from it."""
        missing = max(0.0, need - self.level)
        return max(0.0, self.at - now) + (missing / (limit.per_second * self.factor) if missing > _EPS else 0.0)


@dataclass(frozen=True, slots=True)
class _Place:
    order: tuple[int, float, str]
    promised: float
    """When its holder was told to ask again."""


@dataclass(slots=True)
class Line:
    """Who waits for a bucket, in order of service."""

    _order: list[tuple[int, float, str]] = field(default_factory=list)
    _places: dict[str, _Place] = field(default_factory=dict)
    _lapses: list[tuple[float, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, member: object) -> bool:
        return member in self._places

    def lapse(self, now: float) -> None:
        """Forget who has not come back."""
        while self._lapses and self._lapses[0][0] < now:
            _, member = heappop(self._lapses)
            place = self._places.get(member)
            if place is not None and place.promised + GRACE_S < now:
                self.leave(member)

    def ahead(self, member: str, priority: Priority, now: float) -> int:
        """How many are served before this one."""
        own = self._places.get(member)
        before = bisect_left(self._order, self._rank(member, priority, now))
        return before - (1 if own is not None and own.order < self._rank(member, priority, now) else 0)

    def head_promised(self) -> float:
        """When the first in line was told to ask again."""
        return self._places[self._order[0][2]].promised

    def stand(self, member: str, priority: Priority, now: float, until: float) -> None:
        """Take a place or keep it."""
        order = self._rank(member, priority, now)
        self.leave(member)
        insort(self._order, order)
        self._places[member] = _Place(order, until)
        heappush(self._lapses, (until + GRACE_S, member))

    def leave(self, member: str) -> None:
        """Give the place up."""
        place = self._places.pop(member, None)
        if place is not None:
            del self._order[bisect_left(self._order, place.order)]

    def _rank(self, member: str, priority: Priority, now: float) -> tuple[int, float, str]:
        own = self._places.get(member)
        return (int(priority), own.order[1] if own is not None else now, member)


class Ledger:
    """All buckets of one bot. The same calls at the same moments give the same answers, here and elsewhere."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buckets: dict[str, Bucket] = {}
        self._lines: dict[str, Line] = {}
        self._strikes: dict[str, dict[str, float]] = {}

    def take(self, call: Call, now: float) -> Allowance:
        """Spend one call, or say when to ask again. `now` never goes back."""
        charges = self._limits(call)
        for index, charge in enumerate(charges):
            wait_s = self._wait_s(charge, call.priority, now)
            if wait_s > 0:
                if call.priority != Priority.ACTION:
                    for kept in charges[: index + 1]:
                        self._line(kept).stand(kept.member, call.priority, now, now + wait_s)
                return self._allowance(charges, wait_s)
        for charge in charges:
            self._buckets[charge.key] = self._buckets[charge.key].spent()
            self._line(charge).leave(charge.member)
        self._forget(now)
        return self._allowance(charges, 0.0)

    def throttled(self, call: Call, retry_after_s: float, now: float) -> None:
        """Learn from a 429 to a granted call."""
        first, *others = self._limits(call)
        self._punish(first, retry_after_s, now)
        for charge in others:
            if not charge.is_shared:
                continue
            strikes = self._strikes.setdefault(charge.key, {})
            strikes[call.chat] = now
            recent = {chat: at for chat, at in strikes.items() if at >= now - STRIKE_S}
            if len(recent) >= STRIKES:
                self._punish(charge, min(retry_after_s, STRIKE_S), now)
                recent = {}
            self._strikes[charge.key] = recent

    def _punish(self, charge: Charge, retry_after_s: float, now: float) -> None:
        self._buckets[charge.key] = self._bucket(charge, now).punished(charge.limit, retry_after_s, now)

    def _bucket(self, charge: Charge, now: float) -> Bucket:
        bucket = self._buckets.get(charge.key)
        return Bucket(charge.limit.burst, now) if bucket is None else bucket.refilled(charge.limit, now)

    def _line(self, charge: Charge) -> Line:
        return self._lines.setdefault(charge.key, Line())

    def _wait_s(self, charge: Charge, priority: Priority, now: float) -> float:
        """Seconds until this bucket would serve the call; 0.0: now. Refills the bucket."""
        bucket = self._buckets[charge.key] = self._bucket(charge, now)
        line = self._line(charge)
        line.lapse(now)
        ahead = line.ahead(charge.member, priority, now)
        reserve = _RESERVE.get(priority, 0.0) * charge.limit.burst if charge.is_shared else 0.0
        alone = min(1 + reserve, charge.limit.burst)
        wait_s = bucket.wait_s(charge.limit, alone + ahead, now)
        if ahead:
            alone_s = bucket.wait_s(charge.limit, alone, now)
            wait_s = max(alone_s, min(wait_s, alone_s + ASK_AGAIN_S))
            if not charge.is_shared:  # only the head goes on to the shared buckets
                wait_s = max(wait_s, line.head_promised() - now, 0.0) + 0.02
        return max(wait_s, 0.001) if wait_s > _EPS else 0.0

    def _allowance(self, charges: tuple[Charge, ...], wait_s: float) -> Allowance:
        level = rate = float("inf")
        for charge in charges:
            bucket = self._buckets.get(charge.key) or Bucket(charge.limit.burst, 0.0)
            line = self._line(charge)
            others = len(line) - (charge.member in line)
            share = 1 / (others + 1) if charge.is_shared else 1.0
            reserve = _RESERVE[Priority.PREVIEW] * charge.limit.burst if charge.is_shared else float(others)
            level = min(level, (bucket.level - reserve) * share)
            rate = min(rate, charge.limit.per_second * bucket.factor * share)
        return Allowance(wait_s=wait_s, level=max(0.0, level), per_second=rate)

    def _forget(self, now: float) -> None:
        if len(self._buckets) > 10_000:
            self._buckets = {k: bucket for k, bucket in self._buckets.items() if bucket.at > now - FORGET_S}
            self._lines = {key: line for key, line in self._lines.items() if line or key in self._buckets}


class LocalBudget:
    """A `Budget` of this process alone."""

    def __init__(self, limits: Limits, *, now: Callable[[], float] = time.monotonic) -> None:
        self._ledger = Ledger(limits)
        self._now = now

    async def take(self, call: Call) -> Allowance:
        """Spend one call, or say when to ask again."""
        return self._ledger.take(call, self._now())

    async def throttled(self, call: Call, retry_after_s: float) -> None:
        """Close and slow down what was refused."""
        self._ledger.throttled(call, retry_after_s, self._now())


def per_chat(limit: Limit, bot: Limit | None = None) -> Limits:
    """One limit for every chat and perhaps one for the bot: enough for a platform of one's own."""

    def charges(call: Call) -> tuple[Charge, ...]:
        chat = Charge(key=f"chat:{call.chat}", limit=limit, member=call.ticket, is_shared=False)
        if bot is None:
            return (chat,)
        return chat, Charge(key="bot", limit=bot, member=call.chat, is_shared=True)

    return charges
