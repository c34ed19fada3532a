"""How far the screen lags behind the answer: the mean over characters of (shown - arrived)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Batch:
    """Characters that travel to the screen together; kept as two sums, so its size does not depend on the text."""

    chars: int = 0
    arrivals: float = 0.0
    """Sum over the characters of the moment (monotonic seconds) at which each arrived."""

    def plus(self, chars: int, now: float) -> Batch:
        """This batch and `chars` more that arrived `now`."""
        return Batch(self.chars + chars, self.arrivals + chars * now)


@dataclass(slots=True)
class ScreenLag:
    """Sums over what has been shown so far."""

    chars: int = 0
    waited_s: float = 0.0
    first_at: float | None = None
    """When the first characters were shown."""
    shows: int = 0
    """How many times the text on the screen grew."""

    def shown(self, batch: Batch, now: float) -> None:
        """The screen shows `batch` since `now`. An empty batch changes nothing."""
        if not batch.chars:
            return
        self.chars += batch.chars
        self.waited_s += batch.chars * now - batch.arrivals
        self.shows += 1
        if self.first_at is None:
            self.first_at = now

    @property
    def mean_ms(self) -> float | None:
        """Mean lag of a character in milliseconds; None while nothing was shown."""
        return self.waited_s / self.chars * 1000 if self.chars else None
