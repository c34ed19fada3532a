"""One lane per conversation: answers come one at a time and in order, and a stop reaches the one that runs.

The order is the store's: with a shared one it holds over all replicas. Whoever waits is woken by what it hears, from
this process or by the store's news, and looks for itself once a second besides.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Literal

import structlog

from adapters.ports import Platform
from bot.outbox import MOST_WAITING
from bot.state.ports import REFUSED, OwedTurn, TurnStore
from bot.state.sqlite import StateError
from bot.turn import new_trace_id

log = structlog.get_logger(__name__)

_LOOK_S = 1.0
_LOOK_FOR_STOPS_S = 0.2
"""Where no news of a stop can be heard, it still takes effect within 300 ms."""

Turn = Literal["now", "gone", "closing"]
"""It may run; there is nothing left to do for it; this process takes up nothing more."""


@dataclass(slots=True, kw_only=True, eq=False)
class Run:
    """One question in a lane of this process, from its acceptance until it is settled."""

    lane: str
    event_id: str
    place: int = 0
    """How many were before it; `REFUSED`: there is no room."""
    is_first: bool = False
    """It is its turn."""
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when something came into the lane or left it."""


class Lanes:
    """The questions of this process in the lanes of all.

    Args:
        store: Where the lanes are.
        owner: Who we are to the store.
        most_running: How many answers may be written at once, over all lanes; the rest waits its turn.
        is_told: Whether news of stops reach `tell`; else they are looked for while something runs.
    """

    def __init__(
        self,
        store: TurnStore,
        *,
        owner: str,
        most_running: int = 600,
        is_told: Callable[[], bool] = lambda: False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._owner = owner
        self._slots = asyncio.Semaphore(most_running)
        self._is_told = is_told
        self._now = now
        self._runs: dict[str, Run] = {}
        self._lanes: defaultdict[str, set[Run]] = defaultdict(set)
        self._is_closing = False

    # One question.

    def enter(self, lane: str, event_id: str) -> Run:
        """Be known here from now on, so that a stop finds it; `leave` in the end."""
        run = Run(lane=lane, event_id=event_id)
        self._runs[event_id] = run
        self._lanes[lane].add(run)
        return run

    def leave(self, run: Run) -> None:
        """It is settled, or somebody else's: the next may begin."""
        del self._runs[run.event_id]
        self._lanes[run.lane].discard(run)
        if self._lanes[run.lane]:
            self.wake(run.lane)
        else:
            del self._lanes[run.lane]

    @contextlib.asynccontextmanager
    async def visit(self, lane: str, platform: Platform) -> AsyncIterator[Run]:
        """Stand in a lane for a question whose asker waits on a connection: nothing is owed once that is gone.

        Gives a run whose `place` is `REFUSED` where there is no room. Raises `StateError`.
        """
        turn = OwedTurn(
            event_id=f"{platform}:{new_trace_id()}",
            trace_id="",
            platform=platform,
            lane=lane,
            payload=b"",
            accepted_at=self._now(),
            owner=self._owner,
        )
        place = await self._store.claim(turn, most_waiting=MOST_WAITING)
        run = self.enter(lane, turn.event_id)
        run.place = REFUSED if place is None else place
        try:
            yield run
        finally:
            try:
                await self._store.settle(run.event_id, self._owner)
            except StateError as error:
                log.error("lane_not_left", reason=str(error))  # noqa: TRY400 - an expected fault
            self.leave(run)

    async def wait_turn(self, run: Run) -> Turn:
        """Return when `run` is the first of its lane, or will never be."""
        while True:
            run.changed.clear()
            if self._is_closing:
                return "closing"
            place = await self._store.position(run.event_id)
            if place is None:
                return "gone"
            if place == 0:
                run.is_first = True
                return "now"
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await run.changed.wait()

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """One of the answers that may be written at once."""
        async with self._slots:
            yield

    # What happens to lanes.

    async def stop(self, lane: str) -> bool:
        """Stop what runs in this lane, here or elsewhere (what waits behind it goes on); False if nothing does."""
        mine = [run for run in self._lanes.get(lane, ()) if run.is_first]
        for run in mine:
            run.stop.set()
        if mine:
            return True
        event_id = await self._store.ask_stop(lane)
        if event_id is not None:
            self.tell("stop", event_id)
        return event_id is not None

    def wake(self, lane: str) -> None:
        """Something came into this lane or left it."""
        for run in self._lanes.get(lane, ()):
            run.changed.set()

    def tell(self, what: str, which: str) -> None:
        """News of other replicas: see `bot/state/redis_news.py`."""
        if what == "lane":
            self.wake(which)
        elif what == "stop" and which in self._runs:
            self._runs[which].stop.set()

    async def watch(self) -> None:
        """Look for stops until cancelled, as long as nobody tells of them."""
        while True:
            await asyncio.sleep(_LOOK_FOR_STOPS_S)
            if not self._runs or self._is_told():
                continue
            try:
                for event_id in await self._store.stopping() & self._runs.keys():
                    self._runs[event_id].stop.set()
            except StateError as error:
                log.error("stops_not_seen", reason=str(error))  # noqa: TRY400 - an expected fault

    @property
    def known(self) -> frozenset[str]:
        """The events that are here, running or waiting."""
        return frozenset(self._runs)

    def close(self) -> None:
        """Let nothing more begin: what waits is told so."""
        self._is_closing = True
        for run in self._runs.values():
            run.changed.set()
