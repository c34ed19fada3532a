"""Virtual time: an event loop whose clock jumps to the next timer as soon as every task is idle.

Sleeps, timeouts and `loop.time()` all follow it, so an hour of a simulated conversation takes milliseconds and every
run of the same program is the same. Inside, `now` is the clock to inject.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Stuck(RuntimeError):
    """Every task waits for something that will never come."""


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting for a timer, moves the loop's clock there."""

    loop: VirtualTimeLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise Stuck("no timer is set and no task can run")
        self.loop.jump(timeout)
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop that starts at a moment of its own and never waits."""

    def __init__(self, *, start: float = 1000.0) -> None:
        self._virtual_now = start
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self._virtual_now

    def jump(self, seconds: float) -> None:
        """Let so much time pass at once."""
        self._virtual_now += max(seconds, 1e-9)


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


def now() -> float:
    """The running loop's time, in seconds."""
    return asyncio.get_running_loop().time()
