"""FAQs: questions whose answers are curated or were made beforehand, served before anything else is tried."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Literal, Protocol

from rag.cache.keys import folded_key, has_marks, question_key
from rag.errors import InputError, StoreError
from rag.language import detect
from rag.ports import InstantHit
from rag.types import Citation, Language

FaqKind = Literal["curated", "warmed"]
MatchKind = Literal["exact", "similar"]
PutOutcome = Literal["stored", "documents_changed", "faq_changed"]

POLL_S = 0.25
"""How often another process's changes are looked for; a change is served within a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faq:
    """One question, the other ways to ask it, and its answer."""

    id: str
    collection: str
    language: Language
    kind: FaqKind
    """`curated`: an admin wrote the answer. `warmed`: it went through the whole pipeline."""
    question: str
    paraphrases: tuple[str, ...] = ()
    answer: str
    """Markdown; `[n]` refers to `citations`."""
    citations: tuple[Citation, ...] = ()
    valid_until: date | None = None
    """The last day on which everything it cites is valid."""
    is_stale: bool = False
    """A document that it cites changed or went: not served until it is warmed again."""
    updated_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def is_servable(self, today: date) -> bool:
        """Whether it may answer anybody today."""
        return not self.is_stale and (self.valid_until is None or today <= self.valid_until)


class FaqStore(Protocol):
    """Where FAQs are kept. Every method may raise a `StoreError`."""

    async def put_faq(self, faq: Faq) -> None:
        """Add it, or replace the one with its id."""
        ...

    async def put_faq_if(self, faq: Faq, *, epoch: int, former: Faq | None) -> PutOutcome:
        """The same for an answer that took time to make, in one transaction with what has to hold still.

        `documents_changed`: the collection's epoch is not `epoch` any more. `faq_changed`: the FAQ of this id is not
        `former` any more (None: there was none), because somebody edited or removed it. Nothing is written then.
        """
        ...

    async def remove_faq(self, faq_id: str) -> Faq | None:
        """Remove and return it; None if there is none."""
        ...

    async def faq(self, faq_id: str) -> Faq | None:
        """The one with this id; None if there is none."""
        ...

    async def faqs(self) -> tuple[Faq, ...]:
        """All of them, in order of (collection, question)."""
        ...

    async def faq_version(self) -> int:
        """Grows with every change to any FAQ, those that a changed document causes included."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FaqMatch:
    """What would be served, and why nothing is."""

    faq: Faq | None = None
    kind: MatchKind = "exact"
    similarity: float | None = None
    """None for an exact match."""
    refused_by: str | None = None
    """The guard that kept a FAQ with this very question back: `stale` or `expired`."""


@dataclass(frozen=True, slots=True)
class _Index:
    """The FAQs by (collection, key). Values are in order of preference."""

    exact: Mapping[tuple[str, str], tuple[Faq, ...]]
    folded: Mapping[tuple[str, str], tuple[Faq, ...]]


class FaqBook:
    """The FAQs in memory, in step with their store. Implements `rag.ports.InstantAnswers`."""

    def __init__(
        self,
        store: FaqStore,
        *,
        today: Callable[[], date] = lambda: datetime.now(UTC).astimezone().date(),
        poll_s: float = POLL_S,
    ) -> None:
        self._store = store
        self.today = today
        self._poll_s = poll_s
        self._version: int | None = None
        self.faqs: tuple[Faq, ...] = ()
        """All of them, as last read, in order of (collection, question)."""
        self._index = _Index({}, {})
        self._refreshing = asyncio.Lock()
        self._poller: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Load the FAQs and follow their store from now on. Raises a `StoreError`."""
        await self.refresh()
        self._poller = asyncio.create_task(self._follow(), name="faqs")

    async def close(self) -> None:
        """Stop following."""
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.gather(self._poller, return_exceptions=True)

    async def refresh(self) -> None:
        """Return once everything that was written before is served (or not served any more)."""
        async with self._refreshing:  # so that an older reading never takes a newer one's place
            version = await self._store.faq_version()
            if version != self._version:
                self.faqs = await self._store.faqs()
                self._index = _index(self.faqs)
                self._version = version

    async def lookup(self, text: str, *, collections: frozenset[str], language: Language) -> InstantHit | None:
        """The ready answer to this very question, within the permitted collections; None if there is none."""
        faq = self.match(text, collections=collections, language=language).faq
        return None if faq is None else InstantHit(answer=faq.answer, citations=faq.citations)

    def match(self, text: str, *, collections: frozenset[str], language: Language | None = None) -> FaqMatch:
        """What would be served to somebody who may read `collections`, and which guard kept something back."""
        key = question_key(text)
        if not key:
            return FaqMatch()
        found = _held(self._index.exact, key, collections)
        if not found and not has_marks(key):
            # Typed without diacritics: unless it could be two different questions, it is the one.
            found = _held(self._index.folded, key, collections)
            if len({faq.answer for faq in found}) > 1:
                found = []
        today = self.today()
        servable = [faq for faq in found if faq.is_servable(today)]
        if not servable:
            guard = "stale" if any(faq.is_stale for faq in found) else "expired"
            return FaqMatch(refused_by=guard if found else None)
        same = [faq for faq in servable if faq.language == language]
        return FaqMatch(faq=(same or servable)[0])

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            with contextlib.suppress(StoreError):  # the store being away for a while takes no ready answer away
                await self.refresh()


def new_faq(
    *,
    collection: str,
    question: str,
    answer: str,
    kind: FaqKind,
    paraphrases: Sequence[str] = (),
    language: Language | None = None,
    citations: tuple[Citation, ...] = (),
    valid_until: date | None = None,
    faq_id: str | None = None,
) -> Faq:
    """A checked FAQ; its language is that of the question unless given.

    Raises:
        InputError: For a question or a paraphrase without words, or an empty answer.
    """
    for text in (question, *paraphrases):
        if not question_key(text):
            raise InputError("a FAQ's question and its paraphrases need words")
    if not answer.strip():
        raise InputError("a FAQ's answer must not be empty; leave it out to have it made from the documents")
    return Faq(
        id=faq_id or secrets.token_urlsafe(9),
        collection=collection,
        language=language or detect(question),
        kind=kind,
        question=question.strip(),
        paraphrases=tuple(dict.fromkeys(text.strip() for text in paraphrases)),
        answer=answer.strip(),
        citations=citations,
        valid_until=valid_until,
    )


def _index(faqs: Iterable[Faq]) -> _Index:
    exact: dict[tuple[str, str], list[Faq]] = {}
    folded: dict[tuple[str, str], list[Faq]] = {}
    for faq in faqs:
        for text in dict.fromkeys(map(question_key, (faq.question, *faq.paraphrases))):
            exact.setdefault((faq.collection, text), []).append(faq)
            if plain := folded_key(text):
                folded.setdefault((faq.collection, plain), []).append(faq)
    return _Index(_ordered(exact), _ordered(folded))


def _ordered(index: Mapping[tuple[str, str], list[Faq]]) -> dict[tuple[str, str], tuple[Faq, ...]]:
    """Curated answers before warmed ones, the newest first."""
    return {
        key: tuple(sorted(faqs, key=lambda faq: (faq.kind != "curated", -faq.updated_at.timestamp())))
        for key, faqs in index.items()
    }


def _held(index: Mapping[tuple[str, str], tuple[Faq, ...]], key: str, collections: frozenset[str]) -> list[Faq]:
    """The FAQs under a key, those of the narrower audience first: whoever reads more than `public` is meant by them."""
    names = sorted(collections, key=lambda name: (name == "public", name))
    return [faq for name in names for faq in index.get((name, key), ())]
