"""Where the view of a question comes from: memory, while the question is being embedded, or one query thereafter."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Protocol

from rag.ports import Vectors
from rag.retrieval.gather import Worded, search_words
from rag.retrieval.question import Asked, ask
from rag.retrieval.view import ChunkInfo, Knowledge, QueriedKnowledge, View


class Opened(Protocol):
    """A question that is being looked up."""

    async def view(self, vectors: Vectors | None, *, pool: int, seconds: float | None) -> Viewed:
        """What there is for it, now that its vector is known (or that it has none)."""
        ...


Viewed = tuple[View, Asked, Worded | None]
"""The view, the question with its vector, and what its words find if that is there already."""


class Source(Protocol):
    """A store, as search uses it."""

    async def open(self, text: str, collections: frozenset[str]) -> Opened:
        """Begin to look up a question: everything that needs no vector."""
        ...

    async def passage(self, passage_id: str, collections: frozenset[str]) -> ChunkInfo | None:
        """One chunk by id; None when there is none or it is not permitted."""
        ...


def source_of(knowledge: Knowledge | QueriedKnowledge) -> Source:
    """The way to ask this store."""
    return Queried(knowledge) if isinstance(knowledge, QueriedKnowledge) else InMemory(knowledge)


class InMemory:
    """A store that gives views of everything; CPU work goes to threads."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge

    async def open(self, text: str, collections: frozenset[str]) -> Opened:
        """Take a view and search it for the words."""

        def prepare() -> Viewed:
            view = self._knowledge.view(collections)
            asked = ask(text, languages=view.languages)
            return view, asked, search_words(view, asked)

        return _Prepared(await asyncio.to_thread(prepare))

    async def passage(self, passage_id: str, collections: frozenset[str]) -> ChunkInfo | None:
        """One chunk by id."""
        return await asyncio.to_thread(self._knowledge.find, passage_id, collections)


class _Prepared:
    def __init__(self, viewed: Viewed) -> None:
        self._viewed = viewed

    async def view(self, vectors: Vectors | None, *, pool: int, seconds: float | None) -> Viewed:  # noqa: ARG002 - the view holds everything
        view, asked, words = self._viewed
        return view, _with(asked, vectors), words


class Queried:
    """A store that is asked once, when the vector is there."""

    def __init__(self, knowledge: QueriedKnowledge) -> None:
        self._knowledge = knowledge

    async def open(self, text: str, collections: frozenset[str]) -> Opened:
        """Analyse the question."""
        languages = await self._knowledge.languages(collections)
        return _Waiting(self._knowledge, ask(text, languages=languages), collections)

    async def passage(self, passage_id: str, collections: frozenset[str]) -> ChunkInfo | None:
        """One chunk by id."""
        return await self._knowledge.passage(passage_id, collections)


class _Waiting:
    def __init__(self, knowledge: QueriedKnowledge, asked: Asked, collections: frozenset[str]) -> None:
        self._knowledge, self._asked, self._collections = knowledge, asked, collections

    async def view(self, vectors: Vectors | None, *, pool: int, seconds: float | None) -> Viewed:
        asked = _with(self._asked, vectors)
        return await self._knowledge.view_for(asked, self._collections, pool=pool, seconds=seconds), asked, None


def _with(asked: Asked, vectors: Vectors | None) -> Asked:
    return asked if vectors is None else replace(asked, vector=vectors[0])
