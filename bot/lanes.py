"""One lane per conversation: answers come one at a time and in order, and a stop reaches the one that runs."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

Work = Callable[[asyncio.Event], Awaitable[None]]
"""Answers one question; gets the event that says stop. Must not raise: the lane would drop what waits behind it."""

Admission = Literal["running", "queued", "full"]


@dataclass(slots=True)
class _Lane:
    waiting: deque[Work] = field(default_factory=deque)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    runner: asyncio.Task[None] | None = None


class Lanes:
    """The lanes of this process.

    Args:
        most_waiting: How many questions may wait behind the one that runs, per lane.
        most_running: How many answers may be written at once, over all lanes; the rest waits its turn.
    """

    def __init__(self, *, most_waiting: int = 5, most_running: int = 600) -> None:
        self._most_waiting = most_waiting
        self._slots = asyncio.Semaphore(most_running)
        self._lanes: dict[str, _Lane] = {}
        self._is_closing = False

    def submit(self, lane_id: str, work: Work) -> Admission:
        """Run the work now, or after what runs; `full` if too much waits already (then it was not taken)."""
        lane = self._lanes.setdefault(lane_id, _Lane())
        if len(lane.waiting) >= self._most_waiting:
            return "full"
        lane.waiting.append(work)
        if lane.runner is None:
            lane.runner = asyncio.create_task(self._run(lane_id, lane), name=f"lane-{len(self._lanes)}")
            return "running"
        return "queued"

    def stop(self, lane_id: str) -> bool:
        """Stop what runs in this lane (what waits behind it goes on); False if nothing does."""
        lane = self._lanes.get(lane_id)
        if lane is None:
            return False
        lane.stop.set()
        return True

    @property
    def running(self) -> int:
        """Lanes at work."""
        return len(self._lanes)

    async def drain(self, *, timeout_s: float) -> bool:
        """Take nothing more from the queues and let what runs come to its end; False if some had to be cut off."""
        self._is_closing = True
        runners = [lane.runner for lane in self._lanes.values() if lane.runner]
        if not runners:
            return True
        _, late = await asyncio.wait(runners, timeout=timeout_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*runners, return_exceptions=True)
        return not late

    async def _run(self, lane_id: str, lane: _Lane) -> None:
        try:
            while lane.waiting and not self._is_closing:
                work = lane.waiting.popleft()
                lane.stop.clear()
                async with self._slots:
                    await work(lane.stop)
        finally:
            # Nothing awaits between the last look at the queue and here: no question can slip in between.
            self._lanes.pop(lane_id, None)
