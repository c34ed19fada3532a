"""What one person, and all together, may ask of the bot: questions a minute, model tokens a day.

Decided when a question arrives, before it is queued. Who is over a limit is told so once a window, kindly, and not at
every message: a flood would otherwise be answered by a flood.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import structlog

from adapters.ports import Inbound, Instead
from bot.state.sqlite import StateError
from bot.telemetry.line import conversation_hash
from bot.web.rates import Buckets, Meter, SharedRates

log = structlog.get_logger(__name__)

Rates = Callable[[str, float, int], SharedRates | None]
_DAY_S = 86_400.0


class Ledger(Protocol):
    """Tokens spent a day; `person` is a pseudonym."""

    async def add(self, day: str, person: str, tokens: int) -> None: ...

    async def spent(self, day: str, person: str) -> tuple[int, int]:
        """This person's tokens of the day, and everybody's."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A question that is not answered."""

    why: Instead
    is_news: bool
    """The asker was not told in this window yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """What is allowed; 0: any."""

    asks_per_minute: int = 0
    daily_tokens_per_person: int = 0
    daily_tokens: int = 0

    @property
    def counts_tokens(self) -> bool:
        return self.daily_tokens_per_person > 0 or self.daily_tokens > 0


class Allowance:
    """Counts questions and tokens.

    Args:
        ceilings: What is allowed.
        ledger: Where tokens are counted.
        key: Of the pseudonyms.
        admins: Named `platform:person`; may ask as fast as they like.
        rates: Counts over all replicas; None from it: this process counts alone.
        now: Seconds since the epoch; days are UTC's.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        ceilings: Ceilings,
        ledger: Ledger,
        *,
        key: bytes,
        admins: frozenset[str] = frozenset(),
        rates: Rates = lambda _name, _per_s, _burst: None,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ceilings = ceilings
        self._ledger = ledger
        self._key = key
        self._admins = admins
        self._now = now

        def meter(name: str, per_s: float, burst: int) -> Meter:
            return Meter(Buckets(per_s=per_s, burst=burst, clock=clock), rates(name, per_s, burst))

        a_minute = max(1, ceilings.asks_per_minute)
        self._pace = meter("asks", a_minute / 60, a_minute)
        self._told_lately = meter("told-pace", 1 / 60, 1)
        self._told_today = meter("told-day", 1 / _DAY_S, 1)

    async def verdict(self, inbound: Inbound) -> Verdict | None:
        """Why this question is not answered; None: it is. Counts it."""
        person = self._person(inbound)
        is_paced = self._ceilings.asks_per_minute > 0 and f"{inbound.platform}:{inbound.sender}" not in self._admins
        if is_paced and await self._pace.take(person) > 0:
            return Verdict(why="too_fast", is_news=await self._told_lately.take(person) == 0)
        if why := await self._overspent(person):
            return Verdict(why=why, is_news=await self._told_today.take(f"{person}:{why}:{self._day()}") == 0)
        return None

    async def spend(self, inbound: Inbound, tokens: int) -> None:
        """A turn of this person's has taken so many tokens."""
        if tokens > 0 and self._ceilings.counts_tokens:
            with suppress(StateError):  # the answer is given; the state file's trouble is said where it matters
                await self._ledger.add(self._day(), self._person(inbound), tokens)

    async def _overspent(self, person: str) -> Instead | None:
        ceilings = self._ceilings
        if not ceilings.counts_tokens:
            return None
        try:
            mine, everybodys = await self._ledger.spent(self._day(), person)
        except StateError as error:
            log.warning("spending_unknown", reason=str(error))
            return None
        if ceilings.daily_tokens_per_person and mine >= ceilings.daily_tokens_per_person:
            return "spent"
        return "all_spent" if ceilings.daily_tokens and everybodys >= ceilings.daily_tokens else None

    def _person(self, inbound: Inbound) -> str:
        return conversation_hash(self._key, inbound.platform, inbound.sender)

    def _day(self) -> str:
        return datetime.fromtimestamp(self._now(), UTC).date().isoformat()
