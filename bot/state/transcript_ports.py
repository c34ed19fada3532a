"""What the process needs of the place that keeps transcripts; `tests/state/transcripts_contract.py` holds all to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from adapters.past import PastAnswer, Verdict
from adapters.ports import Platform

MessageKind = Literal["answer", "question"]
"""A message of ours, or of the asker's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One person in one conversation: what is said there is one thread of talk."""

    platform: Platform
    conversation: str
    person: str

    @property
    def key(self) -> str:
        """The same as the key of the lane of its turns."""
        return f"{self.platform}:{self.conversation}:{self.person}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """What somebody thinks of an answer."""

    person: str
    verdict: Verdict
    reason: str | None
    at: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A moment before which nothing counts any more: of a lane (begun anew) or of a person (forgotten)."""

    kind: Literal["new", "forget"]
    key: str
    """A `Lane.key`, or `platform:person`."""
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rated:
    """An answer with what was thought of it."""

    past: PastAnswer
    ratings: tuple[Rating, ...]


class TranscriptStore(Protocol):
    """Questions and answers, by lane and by message, and what people think of them."""

    async def put(self, past: PastAnswer) -> bool:
        """Add it, or replace the one of its id (its ratings stay).

        False, and nothing is kept, if its person was forgotten after the question.
        """
        ...

    async def shown(self, past_id: str, handle: str) -> None:
        """It stands in these messages. Nothing happens where it is not known."""
        ...

    async def drop(self, past_id: str) -> None:
        """Take it out, with its ratings."""
        ...

    async def latest(self, lane: Lane, *, limit: int) -> list[PastAnswer]:
        """The latest of a lane since it was begun anew, newest first."""
        ...

    async def get(self, past_id: str) -> PastAnswer | None:
        """The one of this id."""
        ...

    async def find(
        self, platform: Platform, conversation: str, message_id: str, *, kind: MessageKind
    ) -> PastAnswer | None:
        """The latest one that belongs to this message."""
        ...

    async def mark(self, mark: Mark) -> int:
        """Begin a lane anew, or erase a person: their questions, answers and ratings; how many questions went.

        An earlier moment than the one known changes nothing.
        """
        ...

    async def move(self, platform: Platform, old: str, new: str) -> None:
        """Everything of one conversation goes on in another; the ids of its messages mean nothing there."""
        ...

    async def rate(self, past_id: str, rating: Rating) -> bool:
        """Keep it in place of an earlier one of the same person; False if there is no such answer."""
        ...

    async def rated(self, *, since: float) -> list[Rated]:
        """Answers with ratings given since then (seconds since the epoch), by when they were asked."""
        ...

    async def prune(self, *, before: float) -> int:
        """Forget what was asked before this time; how many questions."""
        ...
