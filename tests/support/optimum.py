"""The least screen lag that any schedule of so many calls could reach, knowing every arrival beforehand.

A dynamic programme on a grid of time: the state is the moment of the last call and what it left in the token bucket.
Calls keep the round trip between them (one in flight) and the bucket; the last one comes when all is known. On a grid
the result is an upper bound of the optimum, by less than one step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What the calls have to keep to."""

    round_trip_s: float = 0.05
    per_second: float = 1.0
    burst: float = 3.0
    step_s: float = 0.05


def least_lag_s(
    arrivals: Sequence[tuple[float, int]], calls: int, *, first_at: float | None = None, world: World | None = None
) -> float:
    """Mean seconds that a character waits for the screen.

    Args:
        arrivals: Moments and how many characters came then, in order.
        calls: At most so many.
        first_at: Fixes the first call, e.g. to the moment of the first word.
        world: Round trip, bucket and grid.
    """
    world = world or World()
    step = world.step_s
    begin, end = arrivals[0][0], arrivals[-1][0]
    slots = math.ceil((end - begin) / step - 1e-6) + math.ceil((calls + 1) / world.per_second / step) + 2
    at = np.array([a for a, _ in arrivals]) - begin
    chars = np.array([c for _, c in arrivals], dtype=np.float64)
    grid = np.arange(slots) * step
    upto = np.searchsorted(at, grid + 1e-6, side="right")
    count = np.concatenate([[0.0], np.cumsum(chars)])[upto]
    moment = np.concatenate([[0.0], np.cumsum(chars * at)])[upto]
    shown: Floats = np.asarray(grid + world.round_trip_s, dtype=np.float64)
    least_gap = max(1, math.ceil(world.round_trip_s / step - 1e-6))
    gained = step * world.per_second
    full = round(world.burst / gained)
    one = round(1 / gained)
    table = np.full((slots, full + 1), np.inf)
    first = range(slots) if first_at is None else [math.ceil((first_at - begin) / step - 1e-6)]
    for j in first:
        table[j, full - one] = count[j] * shown[j] - moment[j]
    complete = count >= count[-1] - 1e-9
    best = float(table[complete].min(initial=np.inf))
    for _ in range(calls - 1):
        table = _next(table, count, moment, shown, one=one, least_gap=least_gap)
        best = min(best, float(table[complete].min(initial=np.inf)))
    return best / float(count[-1])


def _next(table: Floats, count: Floats, moment: Floats, shown: Floats, *, one: int, least_gap: int) -> Floats:
    """The table after one more call, with the call before it in `table`."""
    slots, levels = table.shape
    full = levels - 1
    after = np.full_like(table, np.inf)
    for gap in range(least_gap, slots):
        cost = (count[gap:] - count[:-gap]) * shown[gap:] - (moment[gap:] - moment[:-gap])
        before = table[:-gap] + cost[:, None]
        # Level l becomes min(full, l + gap) - one.
        low = max(0, one - gap)
        if low < levels and gap < full:
            top = full - gap
            part = before[:, low:top]
            target = after[gap:, low + gap - one : top + gap - one]
            np.minimum(target, part, out=target)
        overflow = before[:, max(0, full - gap) :].min(axis=1)
        np.minimum(after[gap:, full - one], overflow, out=after[gap:, full - one])
    return after
