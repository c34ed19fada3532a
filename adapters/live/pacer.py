"""When to send the next edit: pure functions of what is known about one message and of now.

The mean wait of a character for the screen is least when the calls that the platform allows are spread evenly over the
answer, the last one falling on its end. Neither the end nor the pauses are known, so the calls of the burst are spent
at a falling rate, half a call is kept back for the end, and a silence of the model is taken as the moment to show
everything. docs/decisions/0110 has the figures behind the constants.
"""

from __future__ import annotations

from dataclasses import dataclass

from adapters.ports import Allowance

_HORIZON_CALLS = 1.6
_HORIZON_MOST_S = 10.0
"""Spare calls are spent as if the answer went on for so many calls' worth of time, but at most so long."""
_EAGER = 1.25
_EAGERNESS = 0.75
"""Below so many spare calls the pace slows down faster than in proportion: what is left has to last, most answers being
short, but not all."""
_KEPT = 0.52
"""Spare calls kept back for the end of the answer."""
_AFTER_SILENCE = 1.3
"""Share of the usual interval that text waits for company when it comes after a silence."""
_QUIET = (0.2, 10.0)
_QUIET_WHERE_RICH = (0.04, 4.0)
"""The model is silent when nothing came for so many seconds, and for its usual gap between two tokens and so many times
by how much that gap usually varies: an even stream's silence is noticed at once, an uneven one's gaps are none."""
_RICH = 1.5
"""With so many calls left, a call too early is cheap."""
_CLOSEST_S = 0.1
"""A silence this soon after a call has little to show yet."""
_TOGETHER_S = 0.002
"""What comes so soon after another piece came with it: it says nothing about the model's pace."""


@dataclass(slots=True)
class Rhythm:
    """How the text of one message comes in and goes out. Moments are monotonic seconds."""

    gap_s: float = 0.05
    """Usual time between two tokens."""
    deviation_s: float = 0.025
    """By how much it usually varies."""
    arrived_at: float = 0.0
    """When the latest text came."""
    waiting_since: float | None = None
    """When the first text came that no call has carried yet."""
    sent_at: float | None = None
    """When the last call was granted; None: none yet."""
    level: float = 0.0
    per_second: float = 1.0
    """What the budget had left then, and how fast it refills."""
    most: float = 0.0
    """The most it can hold, as far as was seen."""

    def arrived(self, now: float) -> None:
        """More text."""
        if self.arrived_at and now - self.arrived_at > _TOGETHER_S:
            # As TCP estimates its time-outs (RFC 6298).
            error_s = min(1.0, now - self.arrived_at) - self.gap_s
            self.deviation_s += (abs(error_s) - self.deviation_s) / 4
            self.gap_s += error_s / 8
        self.arrived_at = now
        if self.waiting_since is None:
            self.waiting_since = now

    def sent(self, allowance: Allowance, now: float) -> None:
        """A call with all text so far was granted."""
        self.waiting_since = None
        self.most = max(self.most, allowance.level + 1)
        self.sent_at, self.level, self.per_second = now, allowance.level, allowance.per_second

    def preview_at(self) -> float:
        """When the text that waits is worth a call."""
        if self.sent_at is None or self.waiting_since is None:
            return 0.0
        return min(self._due_at(self.sent_at, self.waiting_since), self._quiet_at(self.sent_at))

    def _due_at(self, sent_at: float, waiting_since: float) -> float:
        # What came back while the model was silent can be spent as well.
        level = min(self.most, self.level + (waiting_since - sent_at) * self.per_second)
        spare = level - _KEPT
        if spare < 0:
            return sent_at + (1 - spare) / self.per_second
        horizon_s = min(_HORIZON_CALLS / self.per_second, _HORIZON_MOST_S)
        spent: float = spare * min(spare, _EAGER) ** _EAGERNESS
        interval_s = 1 / (self.per_second + spent / horizon_s)
        due_at = waiting_since + _AFTER_SILENCE * interval_s
        return due_at if waiting_since > sent_at + interval_s / 2 else sent_at + interval_s

    def _quiet_at(self, sent_at: float) -> float:
        affordable_at = sent_at + max(0.0, 1 - self.level) / self.per_second
        least_s, deviations = _QUIET_WHERE_RICH if self.level >= _RICH else _QUIET
        quiet_s = max(least_s, self.gap_s + deviations * self.deviation_s)
        return max(self.arrived_at + quiet_s, sent_at + _CLOSEST_S, affordable_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the decision depends on. Moments are monotonic seconds."""

    has_news: bool
    """Text has arrived that was not yet considered for the screen."""
    is_ended: bool
    """The final text is known."""
    may_preview: bool
    """Unfinished text may be shown."""
    preview_at: float
    """No unfinished text before: the pace (`Rhythm.preview_at`)."""
    blocked_until: float
    """No call before: a flood penalty or the backoff after a failure. Binds the final text too."""
    asked_until: float
    """No call before: what the budget answered to the last question of the present priority."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Bring the newest unfinished text on the screen now."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Bring the final text on the screen now."""


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Do nothing before `at`; None: until something happens."""

    at: float | None


Decision = Edit | WaitUntil | Finish


def decide(state: State, now: float) -> Decision:
    """The next thing to do for a message that has no call in flight."""
    if not state.is_ended and not (state.has_news and state.may_preview):
        return WaitUntil(None)
    earliest = max(state.blocked_until, state.asked_until)
    if not state.is_ended:
        earliest = max(earliest, state.preview_at)
    if now < earliest:
        return WaitUntil(earliest)
    return Finish() if state.is_ended else Edit()


def backoff_s(failures: int) -> float:
    """Seconds to wait after so many failures in a row: 0.5, 1, 2, ... at most 30.

    The clock advances on failure as well: not doing so turned 3 edits into 64 attempts within 3.2 s of 500s elsewhere.
    """
    return float(min(30.0, 0.5 * 2 ** min(failures - 1, 10)))
