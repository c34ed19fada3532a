"""What was asked and answered before: what a platform may want to know of it, and whom it asks.

`bot/conversations.py` implements `PastAnswers` over the state store, shared by all replicas where there is Redis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from adapters.ports import Platform, SourceLink

Verdict = Literal["up", "down"]
RateOutcome = Literal["kept", "not_yours", "unknown"]
"""Kept (in place of an earlier one of the same person); only who asked may rate; nothing is known of that message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PastAnswer:
    """One question and what came of it. Kept for `GRAPEVINE_RETENTION_DAYS`; small talk is not."""

    id: str
    """The turn's trace id."""
    platform: Platform
    conversation: str
    place: str
    """As in `Inbound`: what says which collections may be read there."""
    person: str
    """Who asked."""
    asked_at: float
    """Seconds since the epoch."""
    question: str
    """As it was asked."""
    standalone: str | None = None
    """A follow-up question as it was understood; None for one that stands alone."""
    answer: str = ""
    """Markdown, as shown; empty while nothing was."""
    outcome: str = "answered"
    """As in the log line: `answered`, `refused`, `incomplete`, `stopped`, `busy`, `limited`, `failed`."""
    language: str = "en"
    collections: frozenset[str] = frozenset()
    """Everything that could be read for it, and so may have had a part in it, earlier exchanges included."""
    sources: tuple[SourceLink, ...] = ()
    """What the answer cites; without excerpts."""
    suggestions: tuple[str, ...] = ()
    """The questions that were offered below it."""
    question_id: str | None = None
    """The platform's id of the asker's message (`Inbound.message_id`)."""
    handle: str | None = None
    """The messages it was shown in, as `on_posted` told: ids joined by commas. What `Inbound.answer_into` takes."""
    is_private: bool = True
    is_readable: bool = True
    """False: something it was made from may not be read there any more. Answer, sources and suggestions are empty
    then; the question is the asker's own and stays."""

    @property
    def message_ids(self) -> tuple[str, ...]:
        """The platform's ids of the messages it was shown in."""
        return tuple(self.handle.split(",")) if self.handle else ()


class PastAnswers(Protocol):
    """Asked for commands, buttons and replies. Every method may raise a `StateError` where nothing can be read."""

    async def last(self, platform: Platform, conversation: str, person: str) -> PastAnswer | None:
        """The last question of this person in this conversation, since it was begun anew."""
        ...

    async def by_message(self, platform: Platform, conversation: str, message_id: str) -> PastAnswer | None:
        """What was answered in this message of ours (any of its parts)."""
        ...

    async def by_question(self, platform: Platform, conversation: str, message_id: str) -> PastAnswer | None:
        """What came of this message of the asker's."""
        ...

    async def begin_anew(self, platform: Platform, conversation: str, person: str) -> None:
        """`/new`: nothing said before has any influence on what this person asks here from now on."""
        ...

    async def forget(self, platform: Platform, person: str) -> int:
        """`/forget`: erase all this person has asked, been answered and rated, on every replica; how many questions."""
        ...

    async def move(self, platform: Platform, old: str, new: str) -> None:
        """The conversation `old` goes on under another id (a group that became a supergroup), with its history."""
        ...

    async def rate(
        self,
        platform: Platform,
        conversation: str,
        message_id: str,
        person: str,
        verdict: Verdict,
        reason: str | None = None,
    ) -> RateOutcome:
        """Keep what this person thinks of the answer in this message; a later verdict replaces an earlier one.

        In a private chat only who asked may; in a group every member, once.
        """
        ...
