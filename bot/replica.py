"""This process as one of perhaps several: its owed turns and lanes, over its state file and, where set, Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from adapters.live.budget import Limits, LocalBudget
from adapters.ports import Budget
from bot.allowance import Ledger
from bot.lanes import Lanes
from bot.outbox import LAPSE_S, Outbox
from bot.state.owners import new_owner
from bot.state.ports import Journal, TurnStore
from bot.state.redis_budget import RedisBudget, SharedBudget
from bot.state.redis_link import RedisLink
from bot.state.redis_news import RedisNews
from bot.state.redis_rates import RedisRates
from bot.state.redis_transcripts import RedisTranscripts
from bot.state.redis_turns import RedisTurns
from bot.state.shared import SharedTurns
from bot.state.shared_transcripts import SharedTranscripts
from bot.state.spending import RedisSpending, SharedSpending, SqliteSpending
from bot.state.sqlite import SqliteState
from bot.state.transcript_ports import TranscriptStore
from bot.state.transcripts import SqliteTranscripts
from bot.state.turns import SqliteTurns
from bot.web.rates import SharedRates


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedRedis:
    """Redis as the process uses it."""

    link: RedisLink
    ears: Redis
    """A client of its own for what is waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One set of lanes and what is owed in them."""

    outbox: Outbox
    lanes: Lanes


@dataclass(frozen=True, slots=True)
class _Linked:
    """Rates that are asked within the time that a call to Redis may take."""

    rates: RedisRates
    link: RedisLink

    async def take(self, caller: str) -> float:
        return await self.link.call(self.rates.take(caller))


class Replica:
    """Builds both seats: `chat`, whose answers are owed, and `web`, where somebody waits on a connection.

    What is owed is on the disk. What is waited for ends with the process, so it needs no disk and no write on its way.
    """

    def __init__(self, state: SqliteState, redis: SharedRedis | None, *, retention_days: float) -> None:
        self.owner = new_owner()
        self._memory = SqliteState.in_memory()
        self._redis = redis
        self._keep_s = retention_days * 86_400
        self._watching: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self._tasks: list[asyncio.Task[None]] = []
        if redis is not None:
            self._watching.append(redis.link.run)
        self.chat = self._seat(SqliteTurns(state), "turns", is_alone=False)
        self.web = self._seat(SqliteTurns(self._memory), "web", is_alone=True)
        self._watching.append(self._watch_web)

    async def start(self) -> None:
        """Reach Redis if it can be reached, and watch from now on."""
        if self._redis is not None:
            await self._redis.link.connect()
        self._tasks = [asyncio.create_task(watch(), name="state") for watch in self._watching]

    async def stop(self) -> None:
        """Watch no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._memory.close()

    @property
    def degraded(self) -> tuple[str, ...]:
        """What does not work as configured, one line each."""
        if self._redis is not None and self._redis.link.is_away:
            return ("Redis does not answer: this process goes by its own state, and knows nothing of other replicas",)
        return ()

    def budget(self, bot: str, limits: Limits) -> Budget:
        """What this bot may call, shared with the other replicas where there is Redis."""
        own = LocalBudget(limits)
        if self._redis is None:
            return own
        link = self._redis.link
        return SharedBudget(RedisBudget(link.client, limits, prefix=f"{{{bot}}}:budget"), own, link)

    def rates(self, name: str, per_s: float, burst: int) -> SharedRates | None:
        """A rate limit that counts over all replicas; None where each counts alone."""
        if self._redis is None:
            return None
        link = self._redis.link
        rates = RedisRates(link.client, prefix=f"{link.prefix}:rates:{name}", per_s=per_s, burst=burst)
        return _Linked(rates, link)

    def ledger(self, own: SqliteSpending) -> Ledger:
        """Where tokens are counted, over all replicas where there is Redis."""
        if self._redis is None:
            return own
        link = self._redis.link
        return SharedSpending(RedisSpending(link.client, prefix=f"{link.prefix}:spent"), own, link)

    def transcripts(self, own: SqliteTranscripts) -> TranscriptStore:
        """What was said, shared with the other replicas where there is Redis. Asked for before `start`."""
        if self._redis is None:
            return own
        link = self._redis.link
        redis = RedisTranscripts(link.client, prefix=f"{link.prefix}:said", keep_s=self._keep_s)
        shared = SharedTranscripts(redis, own, link)
        self._watching.append(shared.follow)
        return shared

    def _seat(self, own: Journal, name: str, *, is_alone: bool) -> Seat:
        if self._redis is None:
            return self._seat_over(own, is_told=lambda: is_alone)
        link, prefix = self._redis.link, f"{self._redis.link.prefix}:{name}"
        redis = RedisTurns(link.client, prefix=prefix, keep_s=self._keep_s)
        store = SharedTurns(redis, own, link, owner=self.owner, lapse_s=LAPSE_S)

        def tell(what: str, which: str) -> None:
            if what == "claimed":
                store.note_claimed(which)
            elif what == "loose":
                seat.outbox.hurry()
            else:
                seat.lanes.tell(what, which)

        news = RedisNews(self._redis.ears, tell, prefix=prefix)
        self._watching.append(news.run)
        seat = self._seat_over(store, is_told=lambda: news.is_listening and not link.is_away)
        return seat

    def _seat_over(self, store: TurnStore, *, is_told: Callable[[], bool]) -> Seat:
        lanes = Lanes(store, owner=self.owner, is_told=is_told)
        self._watching.append(lanes.watch)
        return Seat(outbox=Outbox(store, owner=self.owner), lanes=lanes)

    async def _watch_web(self) -> None:
        await self.web.outbox.watch(
            active=lambda: self.web.lanes.known,
            take=lambda _: None,  # nothing is owed there
            lost=lambda _: None,  # whoever waits for it still does
        )
