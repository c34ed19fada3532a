"""Answers played on a simulated platform in virtual time: traces of tokens in, what people saw out."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from adapters.live.budget import LocalBudget
from adapters.live.publisher import Publisher
from adapters.ports import Allowance, Budget, Call, Delivery, Final
from adapters.telegram.limits import charges
from tests.support.clock import now, run_virtual
from tests.support.live_platform import Fault, FloodLimits, PlainRenderer, SimulatedPlatform, Storm
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


def even(tokens: int, per_second: float) -> Trace:
    """Tokens of five characters, a little uneven, without anything that Markdown would change."""
    return [((0.7 + 0.6 * ((n * 7919) % 101) / 100) / per_second, f"w{n:03} ") for n in range(tokens)]


TRACES: dict[str, Trace] = {
    "600 tokens at 90/s": even(600, 90),
    "600 tokens at 50/s": even(600, 50),
    "40 tokens at 50/s": even(40, 50),
    "40 tokens at 20/s": even(40, 20),
    "42 tokens, 6 s pause": with_pause(even(42, 50), 0.5, 6.0),
    "300 tokens, 6 s pause": with_pause(even(300, 50), 0.5, 6.0),
}
"""What `bench/live.py` measures over loopback, too."""


def alike(tokens: int, per_second: float, *, pause_at: float | None = None, count: int = 10) -> list[Trace]:
    """Answers of about this length and pace, perhaps with a silence of 6 s at about this share of it."""
    rng = random.Random(tokens)
    traces = []
    for seed in range(count):
        trace = steady(int(tokens * rng.uniform(0.95, 1.05)), per_second * rng.uniform(0.95, 1.05), seed=seed)
        traces.append(trace if pause_at is None else with_pause(trace, pause_at + rng.uniform(-0.05, 0.05), 6.0))
    return traces


def anyhow(count: int, *, seed: int, longest_s: float = 15.0) -> list[Trace]:
    """Answers of any length, at any pace: even, at random, or several tokens at once; some with a silence."""
    rng = random.Random(seed)
    return [_anyhow(rng, longest_s) for _ in range(count)]


def _anyhow(rng: random.Random, longest_s: float) -> Trace:
    per_second = rng.uniform(15, 120)
    tokens = min(int(10 ** rng.uniform(1.0, 2.75)), int(longest_s * per_second))
    together = rng.choice([0, 1, 3, 5, 8])
    trace: Trace = []
    for n in range(tokens):
        if together == 0:
            pause_s = rng.expovariate(per_second)
        else:
            pause_s = rng.uniform(0.7, 1.3) * together / per_second if n % together == 0 else 0.0
        trace.append((pause_s, rng.choice(["claim ", "cover ", "the ", "paid ", "so. "])))
    return with_pause(trace, rng.uniform(0.1, 0.9), rng.uniform(1, 7)) if rng.random() < 0.3 else trace


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

    def optimum_s(self, *, step_s: float | None = None, is_first_fixed: bool = True) -> float:
        """The least lag with as many calls; `is_first_fixed`: the first word is shown at once, as here."""
        length_s = self.arrivals[-1][0] - self.arrivals[0][0]
        step_s = step_s or (0.05 if length_s > 3 else 0.025 if length_s > 1.2 else 0.01)
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
    storm: Storm | None = None,
) -> tuple[list[Told], FloodLimits]:
    """All answers side by side, on one server and one budget.

    Args:
        tellings: The answers.
        limits: The server's limits; None: Telegram's published ones.
        seed: Of the latencies.
        jitter_s: A call takes 25 ms and up to so much there, and the same back.
        distance_s: The round trip to the budget is up to so long (replicas that share one).
        storm: Hits all of them; it begins so many seconds after the start.
    """

    async def main() -> tuple[list[Told], FloodLimits]:
        rng = random.Random(seed)
        weather = None if storm is None else replace(storm, begins_s=now() + storm.begins_s)
        flood = FloodLimits(PUBLISHED if limits is None else limits)
        budget: Budget = LocalBudget(charges, now=now)
        if distance_s:
            budget = Distant(budget, lambda: rng.uniform(0, distance_s))

        def latency() -> tuple[float, float]:
            return 0.025 + rng.uniform(0, jitter_s), 0.025 + rng.uniform(0, jitter_s)

        async def tell(telling: Telling) -> Told:
            platform = SimulatedPlatform(
                faults=list(telling.faults), latency=latency, limits=flood, chat=telling.chat, weather=weather
            )
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
