"""One monotonic deadline per turn."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the monotonic clock (`time.monotonic`, seconds) after which an answer is of no use any more."""

    at: float

    @classmethod
    def after(cls, seconds: float, *, now: float | None = None) -> Deadline:
        """The deadline `seconds` from now."""
        return cls((time.monotonic() if now is None else now) + seconds)

    def remaining_s(self, now: float | None = None) -> float:
        """Seconds left; never negative."""
        return max(0.0, self.at - (time.monotonic() if now is None else now))
