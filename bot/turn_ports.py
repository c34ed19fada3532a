"""What goes into a turn and what comes of it: the parts it needs, and its result."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from adapters.ports import Final
from rag.types import AnswerEvent, CacheHit, Citation, Outcome, Question


class Answers(Protocol):
    """What a turn needs of the engine."""

    def answer(self, question: Question) -> AsyncIterator[AnswerEvent]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnResult:
    """What came of a turn, for callers that answer a request with it."""

    trace_id: str
    outcome: Outcome
    answer: str
    """Markdown, as shown."""
    cache: CacheHit
    citations: tuple[Citation, ...]
    timings: Mapping[str, float | None]
    """The `*_ms` fields of the log line."""
    error: str | None
    """A short code (`model_unavailable`, ...) where something went wrong."""
    language: str
    tokens: int = 0
    """What the model read and wrote for it, in tokens; estimated where the endpoint did not tell (or not yet)."""


BeforeFinal = Callable[[Final, Outcome], Awaitable[None]]
"""Told the final text before its delivery begins; what it raises ends the turn undelivered."""


BeforeKept = Callable[[], Awaitable[None]]
"""Asked before the turn is remembered; raises if it is somebody else's by now, which ends it undelivered."""


Handle = Callable[[], str | None]
"""The messages that the answer grows in, as far as is known; see `PastAnswer.handle`."""


class Suggest(Protocol):
    """Picks questions worth asking next; see `bot/faqs/suggest.py`."""

    def __call__(
        self,
        *,
        asked: Sequence[str],
        answer: str,
        citations: Sequence[Citation],
        collections: frozenset[str],
        language: str,
    ) -> tuple[str, ...]: ...
