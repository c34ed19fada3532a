"""Warm-up: a question through the whole real pipeline beforehand, as somebody who reads its collection alone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from datetime import date
from typing import Literal, Protocol

from bot.faqs.drafts import Draft
from bot.turn_ports import Answers
from rag.cache.faq import Faq, FaqStore
from rag.errors import RagError
from rag.ports import CollectionCounts, StoredDocument
from rag.resilience.deadline import Deadline
from rag.types import Audience, Citation, Done, Failed, Question

CONCURRENCY = 4
"""Warm-ups at once, in the whole process: live questions share the model with them."""
_ATTEMPTS = 5
"""An ingest counts as a change with every batch that it writes."""

Why = Literal["refused", "uncited", "incomplete", "failed", "documents_changing", "faq_changed"]


class NotWarmed(RagError):
    """No answer was stored; the message says why, without the question."""

    def __init__(self, why: Why, message: str, *, code: str | None = None) -> None:
        """`code` is that of a failed turn, e.g. `model_unavailable`."""
        super().__init__(message)
        self.why = why
        self.code = code


class FaqShelf(FaqStore, Protocol):
    """The store of FAQs, and what has to be known about the documents beside them."""

    async def epoch(self, collections: frozenset[str]) -> int: ...

    async def counts(self) -> Mapping[str, CollectionCounts]: ...

    async def document(self, collection: str, id: str) -> StoredDocument | None: ...  # noqa: A002 - the port's word

    async def refresh(self) -> None: ...


class Warmer:
    """Makes answers from the documents and stores them, if nothing moved in between."""

    def __init__(self, store: FaqShelf, engine: Answers, *, deadline_s: float, concurrency: int = CONCURRENCY) -> None:
        """`engine` must not look FAQs up: it would answer with the very answer that is to be made anew."""
        self._store = store
        self._engine = engine
        self._deadline_s = deadline_s
        self._slots = asyncio.Semaphore(concurrency)
        self.concurrency = concurrency

    async def warm(self, draft: Draft, *, former: Faq | None) -> Faq:
        """Ask, check, store; the stored FAQ. `former` is the one it replaces.

        Raises:
            NotWarmed: If there is no answer worth keeping.
            StoreError: If the store is away.
        """
        collections = frozenset({draft.collection})
        if draft.collection not in (existing := await self._store.counts()):
            there = f"there is {', '.join(sorted(existing))}" if existing else "no documents were taken in yet"
            raise NotWarmed("refused", f"the collection `{draft.collection}` has no documents to answer from; {there}")
        async with self._slots:
            deadline = Deadline.after(self._deadline_s)
            for _ in range(_ATTEMPTS):
                # In this order: if the epoch is still the same afterwards, exactly its documents were searched.
                epoch = await self._store.epoch(collections)
                await self._store.refresh()
                end = await self._ask(draft, deadline)
                if await self._store.epoch(collections) != epoch:
                    continue  # whatever came of it, it came of documents that are not the present ones
                done = _worth_keeping(end, draft.collection)
                faq = replace(
                    draft.warmed(done.answer, done.citations), valid_until=await self._valid_until(done.citations)
                )
                stored = await self._store.put_faq_if(faq, epoch=epoch, former=former)
                if stored == "stored":
                    return faq
                if stored == "faq_changed":
                    raise NotWarmed("faq_changed", "it was edited or removed while its answer was being made")
        raise NotWarmed(
            "documents_changing",
            f"the documents of `{draft.collection}` keep changing; warm it again when the ingest is done",
        )

    async def _ask(self, draft: Draft, deadline: Deadline) -> Done | Failed:
        question = Question(
            text=draft.question,
            audience=Audience(collections=frozenset({draft.collection})),
            deadline=deadline,
            language=draft.language,
        )
        async with aclosing(self._engine.answer(question)) as events:  # type: ignore[type-var]  # an async generator by contract
            async for event in events:
                if isinstance(event, Done | Failed):
                    return event
        return Failed(code="internal", cause="the answer had no end")

    async def _valid_until(self, citations: tuple[Citation, ...]) -> date | None:
        """The last day on which everything cited is valid; None: until one of it changes."""
        cited = {(citation.collection, citation.document) for citation in citations}
        documents = [await self._store.document(*identity) for identity in sorted(cited)]
        ends = [document.valid_until for document in documents if document and document.valid_until]
        return min(ends, default=None)


def _worth_keeping(end: Done | Failed, collection: str) -> Done:
    """The answer, if it is whole and grounded. Raises `NotWarmed`."""
    if isinstance(end, Failed):
        raise NotWarmed("failed", f"the answer could not be made ({end.code}): {end.cause}", code=end.code)
    if end.outcome == "refused":
        raise NotWarmed("refused", f"the documents of `{collection}` do not answer it")
    if end.outcome != "answered":
        raise NotWarmed("incomplete", f"the answer broke off ({end.error or end.outcome})", code=end.error)
    if not end.citations:
        raise NotWarmed("uncited", "the answer cites no document")
    return end
