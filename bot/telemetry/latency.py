"""Where the time goes: p50, p95 and p99 per stage, from the canonical log lines alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson

from bot.telemetry.line import STAGES


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFigures:
    """One stage over all turns in which it happened; milliseconds."""

    stage: str
    count: int
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyReport:
    """What a log says about time and success."""

    turns: int
    stages: tuple[StageFigures, ...]
    outcomes: dict[str, int]
    platforms: dict[str, int]
    caches: dict[str, int]
    skipped: int
    """Lines that are no JSON object."""

    @property
    def success_share(self) -> float | None:
        """Share of turns that ended as they should (answered, refused honestly, small talk); None without turns."""
        good = sum(self.outcomes.get(name, 0) for name in ("answered", "refused", "smalltalk", "stopped"))
        return good / self.turns if self.turns else None

    @property
    def cache_share(self) -> float | None:
        """Share of turns answered from a cache or an FAQ; None without turns."""
        return 1 - self.caches.get("none", 0) / self.turns if self.turns else None


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of an ascending, non-empty sequence."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def report(lines: Iterable[str | bytes]) -> LatencyReport:
    """Read log lines (other events are passed over, broken lines are counted) into figures per stage."""
    values: dict[str, list[float]] = {stage: [] for stage in STAGES}
    outcomes: Counter[str] = Counter()
    platforms: Counter[str] = Counter()
    caches: Counter[str] = Counter()
    turns = skipped = 0
    for line in lines:
        if not line.strip():
            continue
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError:
            skipped += 1
            continue
        if not isinstance(event, dict):
            skipped += 1
            continue
        if event.get("event") != "turn":
            continue
        turns += 1
        outcomes[str(event.get("outcome"))] += 1
        platforms[str(event.get("platform"))] += 1
        caches[str(event.get("cache", "none"))] += 1
        for stage in STAGES:
            value = event.get(stage)
            if isinstance(value, int | float) and not isinstance(value, bool):
                values[stage].append(float(value))
    stages = tuple(_figures(stage, sorted(values[stage])) for stage in STAGES if values[stage])
    return LatencyReport(
        turns=turns,
        stages=stages,
        outcomes=dict(outcomes),
        platforms=dict(platforms),
        caches=dict(caches),
        skipped=skipped,
    )


def _figures(stage: str, ordered: Sequence[float]) -> StageFigures:
    return StageFigures(
        stage=stage,
        count=len(ordered),
        p50=percentile(ordered, 0.50),
        p95=percentile(ordered, 0.95),
        p99=percentile(ordered, 0.99),
    )
