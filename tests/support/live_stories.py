"""Answers played on a simulated platform in virtual time: traces of tokens in, what people saw out."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from adapters.live.budget import LocalBudget
from adapters.live.publisher import Publisher
from adapters.ports import Allowance, Budget, Call, Delivery, Final
from adapters.telegram.limits import charges
from tests.support.clock import now, run_virtual
from tests.support.live_platform import Fault, FloodLimits, PlainRenderer, SimulatedPlatform
from tests.support.optimum import World, least_lag_s

Trace = list[tuple[float, str]]
"""(seconds after the piece before, piece)"""
PUBLISHED: dict[str, tuple[float, float]] = {"private": (1.0, 3.0), "group": (20 / 60, 20.0), "bot": (30.0, 30.0)}


def steady(tokens: int, per_second: float, *, seed: int = 1) -> Trace:
    """A model's stream: tokens of about five characters, a little uneven."""
    rng = random.Random(seed)
    return [
        (rng.uniform(0.7, 1.3) / per_second, rng.choice(["claim ", "cover ", "the ", "paid ", "so. "]))
        for _ in range(tokens)
    ]


def with_pause(trace: Trace, at: float, seconds: float) -> Trace:
    """The same with a silence after a share of it."""
    place = int(len(trace) * at)
    pause_s, token = trace[place]
    return [*trace[:place], (pause_s + seconds, token), *trace[place + 1 :]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """One answer to be shown."""

    trace: Trace
    chat: str = "1"
    begins_s: float = 0.0
    faults: tuple[Fault, ...] = ()
    final: Final | None = None
    """How it ends; None: with all its text."""


@dataclass(slots=True, kw_only=True)
class Told:
    """What came of it."""

    telling: Telling
    platform: SimulatedPlatform
    delivery: Delivery
    arrivals: list[tuple[float, int]]
    finished_at: float

    @property
    def text(self) -> str:
        return "".join(token for _, token in self.telling.trace)

    @property
    def lag_s(self) -> float:
        assert self.delivery.lag_ms is not None
        return self.delivery.lag_ms / 1000

    def optimum_s(self, *, step_s: float = 0.025, is_first_fixed: bool = True) -> float:
        """The least lag with as many calls; `is_first_fixed`: the first word is shown at once, as here."""
        first_at = self.arrivals[0][0] if is_first_fixed else None
        calls = len(self.platform.starts)
        return least_lag_s(self.arrivals, calls, first_at=first_at, world=World(step_s=step_s))


@dataclass(slots=True)
class Distant:
    """A budget that replicas share: asking takes a round trip."""

    budget: Budget
    there_and_back: Callable[[], float]

    async def take(self, call: Call) -> Allowance:
        await asyncio.sleep(self.there_and_back() / 2)
        allowance = await self.budget.take(call)
        await asyncio.sleep(self.there_and_back() / 2)
        return allowance

    async def throttled(self, call: Call, retry_after_s: float) -> None:
        await self.budget.throttled(call, retry_after_s)


def play(
    tellings: list[Telling],
    *,
    limits: dict[str, tuple[float, float]] | None = None,
    seed: int = 0,
    jitter_s: float = 0.0,
    distance_s: float = 0.0,
) -> tuple[list[Told], FloodLimits]:
    """All answers side by side, on one server and one budget.

    Args:
        tellings: The answers.
        limits: The server's limits; None: Telegram's published ones.
        seed: Of the latencies.
        jitter_s: A call takes 25 ms and up to so much there, and the same back.
        distance_s: The round trip to the budget is up to so long (replicas that share one).
    """

    async def main() -> tuple[list[Told], FloodLimits]:
        rng = random.Random(seed)
        flood = FloodLimits(PUBLISHED if limits is None else limits)
        budget: Budget = LocalBudget(charges, now=now)
        if distance_s:
            budget = Distant(budget, lambda: rng.uniform(0, distance_s))

        def latency() -> tuple[float, float]:
            return 0.025 + rng.uniform(0, jitter_s), 0.025 + rng.uniform(0, jitter_s)

        async def tell(telling: Telling) -> Told:
            platform = SimulatedPlatform(faults=list(telling.faults), latency=latency, limits=flood, chat=telling.chat)
            live = Publisher(chat=telling.chat, renderer=PlainRenderer(), transport=platform, budget=budget, now=now)
            await asyncio.sleep(telling.begins_s)
            arrivals = []
            for pause_s, token in telling.trace:
                await asyncio.sleep(pause_s)
                arrivals.append((now(), len(token)))
                live.append(token)
            text = "".join(token for _, token in telling.trace)
            delivery = await live.finish(telling.final or Final(text=text))
            return Told(telling=telling, platform=platform, delivery=delivery, arrivals=arrivals, finished_at=now())

        return await asyncio.gather(*(tell(telling) for telling in tellings)), flood

    return run_virtual(main())
