"""Which characters of an answer arrived when, and how long each waited for the screen."""

from __future__ import annotations

from collections import deque

from adapters.lag import Batch, ScreenLag


class Arrivals:
    """Characters in order of arrival; those at the front leave when the platform has acknowledged them."""

    def __init__(self) -> None:
        self.lag = ScreenLag()
        self.length = 0
        self._waiting: deque[tuple[int, float]] = deque()
        self._shown = 0

    def arrive(self, chars: int, now: float) -> None:
        """So many more characters are known."""
        if chars > 0:
            self.length += chars
            self._waiting.append((self.length, now))

    def acknowledge(self, upto: int, now: float) -> None:
        """The screen shows the first `upto` characters."""
        batch = Batch()
        while self._waiting and self._shown < upto:
            end, arrived = self._waiting[0]
            batch = batch.plus(min(end, upto) - self._shown, arrived)
            self._shown = min(end, upto)
            if self._shown == end:
                self._waiting.popleft()
        self.lag.shown(batch, now)
