"""The operations on FAQs, for commands, the API and jobs alike."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, Literal

from bot.faqs.drafts import Draft, draft_again
from bot.faqs.warm import FaqShelf, NotWarmed, Warmer
from rag.asked import cleaned
from rag.cache.faq import Faq, FaqBook, FaqMatch
from rag.errors import StoreError
from rag.language import detect
from rag.types import Language

FaqState = Literal["ready", "stale", "expired"]
EXAMPLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class FaqOutcome:
    """What came of one question."""

    question: str
    collection: str
    outcome: Literal["stored", "warmed", "unchanged", "refused", "failed"]
    id: str | None = None
    reason: str | None = None
    """Why nothing was stored, for the person who wanted it."""

    @property
    def is_fine(self) -> bool:
        """Whether it is answered at once from now on."""
        return self.outcome not in {"refused", "failed"}


Report = Callable[[FaqOutcome], None]


class Faqs:
    """FAQs of one store. Without a warmer (no model, no embedder at hand) it still does all that needs none."""

    def __init__(self, store: FaqShelf, book: FaqBook, warmer: Warmer | None = None) -> None:
        self._store = store
        self._warmer = warmer
        self.book = book

    async def add(self, draft: Draft) -> Faq:
        """Store it, its answer made from the documents unless given; it is served when this returns.

        The same question of the same collection and language is replaced.

        Raises:
            NotWarmed: If the documents give no answer worth keeping; what was there before stays.
            StoreError: If the store is away.
        """
        if draft.answer is None:
            faq = await self._need_warmer().warm(draft, former=await self._store.faq(draft.faq_id))
        else:
            faq = draft.curated()
            await self._store.put_faq(faq)
        await self.book.refresh()
        return faq

    async def remove(self, faq_id: str) -> Faq | None:
        """Remove and return it; None if there is none. It is not served any more when this returns."""
        faq = await self._store.remove_faq(faq_id)
        await self.book.refresh()
        return faq

    async def listing(self, collection: str | None = None) -> tuple[Faq, ...]:
        """All, or those of one collection, in order of (collection, question, id)."""
        faqs = await self._store.faqs()
        return tuple(faq for faq in faqs if collection in {None, faq.collection})

    async def collections(self) -> frozenset[str]:
        """All collections that hold documents."""
        return frozenset(await self._store.counts())

    async def take(self, drafts: Sequence[Draft], report: Report) -> tuple[Draft, ...]:
        """Store what needs no documents; gives back what is still to be warmed. Taking the same again costs nothing."""
        known = {faq.id: faq for faq in await self._store.faqs()}
        rest: list[Draft] = []
        for draft in drafts:
            former = known.get(draft.faq_id)
            step = _needed(draft, former, self.book.today())
            if step == "warm":
                rest.append(draft)
                continue
            if step == "paraphrases":
                assert former is not None
                # Written as a whole, it must not bring back an answer that went stale a moment ago.
                epoch = await self._store.epoch(frozenset({former.collection}))
                changed = replace(former, paraphrases=draft.paraphrases, updated_at=datetime.now(UTC))
                if await self._store.faq(former.id) != former or (
                    await self._store.put_faq_if(changed, epoch=epoch, former=former) != "stored"
                ):
                    rest.append(draft)
                    continue
            elif step == "store":
                await self._store.put_faq(draft.curated())
            report(_outcome(draft, "unchanged" if step == "nothing" else "stored"))
        await self.book.refresh()
        return tuple(rest)

    async def due(self, *, collection: str | None = None, everything: bool = False) -> tuple[Draft, ...]:
        """Warmed FAQs whose answer is not served any more; with `everything` all warmed ones."""
        return tuple(
            draft_again(faq)
            for faq in await self.listing(collection)
            if faq.kind == "warmed" and (everything or not faq.is_servable(self.book.today()))
        )

    async def known(self, drafts: Iterable[Draft]) -> tuple[Draft, ...]:
        """These questions with the paraphrases they have already."""
        paraphrases = {faq.id: faq.paraphrases for faq in await self._store.faqs()}
        return tuple(
            replace(draft, paraphrases=draft.paraphrases or paraphrases.get(draft.faq_id, ())) for draft in drafts
        )

    async def warm(self, drafts: Sequence[Draft], report: Report, *, keep_curated: bool = True) -> None:
        """Make their answers from the documents, a few at a time; each outcome is reported as it comes.

        `keep_curated`: a question that has a curated answer keeps it, and is reported as failed.
        """
        warmer = self._need_warmer()
        waiting = iter(drafts)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(warmer.concurrency, len(drafts))):
                group.create_task(self._warm_next(warmer, waiting, report, keep_curated=keep_curated))
        await self.book.refresh()

    def match(self, text: str, *, collections: frozenset[str]) -> FaqMatch:
        """What would be served to somebody who may read these collections."""
        text = cleaned(text)
        return self.book.match(text, collections=collections, language=detect(text))

    def examples(self, collections: frozenset[str]) -> Mapping[Language, tuple[str, ...]]:
        """By language a few questions of the collection `public`, if it is among these: what to offer to strangers."""
        today = self.book.today()
        found: dict[Language, list[str]] = {}
        public = (faq for faq in self.book.faqs if faq.collection == "public" and faq.is_servable(today))
        if "public" in collections:
            for faq in sorted(public, key=lambda faq: (faq.kind != "curated", faq.updated_at)):
                found.setdefault(faq.language, []).append(faq.question)
        return {language: tuple(questions[:EXAMPLES]) for language, questions in found.items()}

    async def _warm_next(self, warmer: Warmer, waiting: Iterator[Draft], report: Report, *, keep_curated: bool) -> None:
        for draft in waiting:
            former = await self._store.faq(draft.faq_id)
            if former is not None and former.kind == "curated" and keep_curated:
                report(_outcome(draft, "failed", "it has a curated answer; remove that first"))
                continue
            try:
                await warmer.warm(draft, former=former)
            except NotWarmed as error:
                report(_outcome(draft, "refused" if error.why == "refused" else "failed", str(error)))
            except StoreError as error:
                report(_outcome(draft, "failed", str(error)))
            else:
                report(_outcome(draft, "warmed"))

    def _need_warmer(self) -> Warmer:
        assert self._warmer is not None, "built without a warmer"
        return self._warmer


def _needed(draft: Draft, former: Faq | None, today: date) -> Literal["nothing", "store", "paraphrases", "warm"]:
    """What has to be done so that `draft` holds, given what is there."""
    if draft.answer is not None:
        same = former is not None and former.kind == "curated"
        same = same and (former.answer, former.paraphrases) == (draft.answer, draft.paraphrases)  # type: ignore[union-attr]
        return "nothing" if same else "store"
    if former is None or former.kind == "curated" or not former.is_servable(today):
        return "warm"
    return "nothing" if former.paraphrases == draft.paraphrases else "paraphrases"


def _outcome(
    draft: Draft, outcome: Literal["stored", "warmed", "unchanged", "refused", "failed"], reason: str | None = None
) -> FaqOutcome:
    is_stored = outcome not in {"refused", "failed"}
    return FaqOutcome(
        question=draft.question,
        collection=draft.collection,
        outcome=outcome,
        id=draft.faq_id if is_stored else None,
        reason=reason,
    )


def faq_state(faq: Faq, today: date) -> FaqState:
    """Whether it is served, and why not."""
    if faq.is_stale:
        return "stale"
    return "ready" if faq.is_servable(today) else "expired"


def faq_json(faq: Faq, today: date) -> dict[str, Any]:
    """A FAQ as the API and `grapevine faq list --json` show it."""
    return {
        "id": faq.id,
        "question": faq.question,
        "paraphrases": list(faq.paraphrases),
        "answer": faq.answer,
        "collection": faq.collection,
        "language": faq.language,
        "kind": faq.kind,
        "state": faq_state(faq, today),
        "citations": [asdict(citation) for citation in faq.citations],
        "valid_until": faq.valid_until and faq.valid_until.isoformat(),
        "updated": faq.updated_at.isoformat(timespec="milliseconds"),
    }


def match_json(match: FaqMatch) -> dict[str, Any]:
    """What would be served, as the API and `grapevine faq match --json` show it."""
    faq = match.faq
    found = faq and {"id": faq.id, "question": faq.question, "kind": match.kind, "similarity": match.similarity}
    return {"match": found, "refused_by": match.refused_by}
