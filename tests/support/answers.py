"""A scripted engine and a live message that remembers: the two ends of a turn, for tests of what lies between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from adapters.ports import Delivery, Final, Inbound, SourceLink
from rag.types import AnswerEvent, Delta, Passage, Question


class ScriptedEngine:
    """Yields the given events; an `asyncio.Event` among them is waited for, an exception is raised."""

    def __init__(self, *script: AnswerEvent | asyncio.Event | Exception) -> None:
        self.script = script
        self.questions: list[Question] = []
        self.closed = asyncio.Event()
        """Set when the consumer has closed the stream, which is what stops a model call."""

    async def answer(self, question: Question) -> AsyncIterator[AnswerEvent]:
        self.questions.append(question)
        try:
            for step in self.script:
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, Exception):
                    raise step
                else:
                    yield step
        finally:
            self.closed.set()


class RememberingMessage:
    """A `LiveMessage` that shows everything at once and remembers it."""

    def __init__(self) -> None:
        self.appended: list[str] = []
        self.statuses: list[str] = []
        self.offered: tuple[SourceLink, ...] = ()
        self.finals: list[Final] = []
        self.gone = asyncio.Event()
        self.has_text = asyncio.Event()

    def status(self, text: str) -> None:
        self.statuses.append(text)

    def offer_sources(self, sources: tuple[SourceLink, ...]) -> None:
        self.offered = sources

    def append(self, text: str) -> None:
        self.appended.append(text)
        self.has_text.set()

    async def finish(self, final: Final) -> Delivery:
        self.finals.append(final)
        first = 100.5 if self.appended or not self.gone.is_set() else None
        return Delivery(first_visible_at=first, lag_ms=2.0, edits=len(self.appended), is_gone=self.gone.is_set())

    async def wait_gone(self) -> None:
        await self.gone.wait()


def inbound(text: str = "What does theft cover cost?", **fields: object) -> Inbound:
    """A question from a private Telegram chat, received at 100 s on the monotonic clock."""
    values: dict[str, object] = {
        "platform": "telegram",
        "conversation": "1001",
        "sender": "1001",
        "text": text,
        "event_id": "telegram:1:1",
        "received_at": 100.0,
    }
    return Inbound(**(values | fields))  # type: ignore[arg-type]  # a test names the fields it cares about


def passage(n: int = 1, **fields: object) -> Passage:
    """A passage with a number."""
    values: dict[str, object] = {
        "passage_id": f"p{n}",
        "document": f"doc{n}.md",
        "title": f"Title {n}",
        "collection": "public",
        "text": f"Text {n}.",
        "score": 1.0 / n,
    }
    return Passage(**(values | fields))  # type: ignore[arg-type]  # likewise


def deltas(*texts: str) -> tuple[Delta, ...]:
    """One `Delta` a text."""
    return tuple(Delta(text=text) for text in texts)
