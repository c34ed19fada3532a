"""What a platform asks of the process besides answering: where to begin, what was said, what a source says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from adapters.past import PastAnswer, RateOutcome, Verdict
from adapters.ports import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Somebody who says or presses something, and where."""

    platform: Platform
    conversation: str
    place: str
    """As in `Inbound`: what says which collections may be read there."""
    person: str
    language: str | None = None
    """The language of their interface, if the platform tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """What somebody who comes for the first time should know."""

    examples: tuple[str, ...]
    """Questions that the documents answer, at most three."""
    retention_days: float
    """How long what they say is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceText:
    """A passage as it stands in its document."""

    title: str
    text: str
    heading: str = ""
    """The path of headings above it, joined with ` > `."""
    page: int | None = None


class Desk(Protocol):
    """What people can ask for by commands and buttons. Every method may raise a `StateError` or a `StoreError`."""

    async def welcome(self, visitor: Visitor) -> Welcome:
        """What to greet them with."""
        ...

    async def last(self, visitor: Visitor) -> PastAnswer | None:
        """Their last question here and its answer."""
        ...

    async def answered_in(self, visitor: Visitor, message_id: str) -> PastAnswer | None:
        """What was answered in this message of ours."""
        ...

    async def passage(self, visitor: Visitor, passage_id: str) -> SourceText | None:
        """A passage, if it may be read in this place now; None for one that may not be, or is not there."""
        ...

    async def begin_anew(self, visitor: Visitor) -> None:
        """Nothing said here before has any influence on what they ask from now on."""
        ...

    async def forget(self, visitor: Visitor) -> int:
        """Erase everything they have asked and been answered; how many questions that were."""
        ...

    async def rate(self, visitor: Visitor, message_id: str, verdict: Verdict, reason: str | None = None) -> RateOutcome:
        """Keep what they think of the answer in this message."""
        ...

    async def moved(self, platform: Platform, old: str, new: str) -> None:
        """The place `old` goes on as `new`, with its history and with what may be read there."""
        ...


class NoDesk:
    """Remembers nothing and knows no documents: for a bot that only shows live messages, and for checks."""

    async def welcome(self, visitor: Visitor) -> Welcome:  # noqa: ARG002 - the protocol's
        """Nothing to offer."""
        return Welcome(examples=(), retention_days=0)

    async def last(self, visitor: Visitor) -> PastAnswer | None:  # noqa: ARG002
        """Nothing was said."""
        return None

    async def answered_in(self, visitor: Visitor, message_id: str) -> PastAnswer | None:  # noqa: ARG002
        """Nothing is known of any message."""
        return None

    async def passage(self, visitor: Visitor, passage_id: str) -> SourceText | None:  # noqa: ARG002
        """There are no documents."""
        return None

    async def begin_anew(self, visitor: Visitor) -> None:
        """Nothing to leave behind."""

    async def forget(self, visitor: Visitor) -> int:  # noqa: ARG002
        """Nothing to erase."""
        return 0

    async def rate(
        self,
        visitor: Visitor,  # noqa: ARG002
        message_id: str,  # noqa: ARG002
        verdict: Verdict,  # noqa: ARG002
        reason: str | None = None,  # noqa: ARG002
    ) -> RateOutcome:
        """Nothing to rate."""
        return "unknown"

    async def moved(self, platform: Platform, old: str, new: str) -> None:
        """Nothing to carry along."""
