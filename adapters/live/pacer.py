"""When to send the next edit: a pure function of what is known about one message and of now."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the decision depends on. Moments are monotonic seconds."""

    has_news: bool
    """Text has arrived that was not yet considered for the screen."""
    is_ended: bool
    """The final text is known."""
    may_preview: bool
    """Unfinished text may be shown."""
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
    """The next thing to do for a message that has no call in flight.

    The pace is fixed by the budget, so there is nothing to weigh yet: as soon as a call is allowed and there is
    something new, the newest text goes out.
    """
    if not state.is_ended and not (state.has_news and state.may_preview):
        return WaitUntil(None)
    earliest = max(state.blocked_until, state.asked_until)
    if now < earliest:
        return WaitUntil(earliest)
    return Finish() if state.is_ended else Edit()


def backoff_s(failures: int) -> float:
    """Seconds to wait after so many failures in a row: 0.5, 1, 2, ... at most 30.

    The clock advances on failure as well: not doing so turned 3 edits into 64 attempts within 3.2 s of 500s elsewhere.
    """
    return float(min(30.0, 0.5 * 2 ** min(failures - 1, 10)))
