"""FAQs over a real store and a real engine; only retrieval is scripted: it finds the documents it is told to find."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from bot.faqs.desk import FaqOutcome, Faqs
from bot.faqs.warm import Warmer
from rag.cache.faq import FaqBook
from rag.engine import Engine
from rag.generate.extractive import ExtractiveAnswerer
from rag.language import detect
from rag.ports import Retrieved
from rag.resilience.deadline import Deadline
from rag.stores.embedded import EmbeddedStore
from rag.types import Mode, Passage, Timings
from tests.support.knowledge import make_document


@dataclass(kw_only=True)
class FindsPassages:
    """A `Retriever` over whatever the store holds, best first in the order of ingest."""

    store: EmbeddedStore
    unanswerable: set[str] = field(default_factory=set)
    """Questions that nothing is relevant to."""
    meanwhile: Callable[[], Awaitable[object]] | None = None
    """What happens after the documents were searched and before the answer is written."""
    asked: list[tuple[str, frozenset[str]]] = field(default_factory=list)

    async def retrieve(
        self,
        text: str,
        *,
        collections: frozenset[str],
        k: int = 8,
        mode: Mode = "hybrid",
        deadline: Deadline | None = None,
    ) -> Retrieved:
        self.asked.append((text, collections))
        view = self.store.view(collections)
        passages = tuple(
            Passage(
                passage_id=info.passage_id,
                document=info.document,
                title=info.title,
                collection=info.collection,
                text=info.text,
                score=1.0,
            )
            for info in view.infos(list(range(min(k, view.rows))))
        )
        if self.meanwhile is not None:
            await self.meanwhile()
        return Retrieved(
            passages=passages,
            is_relevant=text not in self.unanswerable,
            language=detect(text),
            timings=Timings(),
            epoch=view.epoch,
        )

    async def passage(self, passage_id: str, *, collections: frozenset[str]) -> Passage | None:
        raise NotImplementedError  # nobody opens a passage here


@dataclass(kw_only=True)
class Bench:
    """Everything that a test of FAQs touches."""

    store: EmbeddedStore
    finds: FindsPassages
    faqs: Faqs

    @property
    def book(self) -> FaqBook:
        return self.faqs.book

    async def write(self, document: str, text: str, **fields: object) -> None:
        """Put a document (of one passage) in place of its former version."""
        await self.store.put([make_document(document, text, **fields)])  # type: ignore[arg-type]  # a test names what it needs


def bench_over(store: EmbeddedStore, *, concurrency: int = 4, deadline_s: float = 30) -> Bench:
    """FAQs over this store; nothing is followed yet."""
    finds = FindsPassages(store=store)
    warmer = Warmer(store, Engine(finds, ExtractiveAnswerer()), deadline_s=deadline_s, concurrency=concurrency)
    return Bench(store=store, finds=finds, faqs=Faqs(store, FaqBook(store), warmer))


class Outcomes(list[FaqOutcome]):
    """Collects what is reported."""

    def by_question(self) -> dict[str, str]:
        return {outcome.question: outcome.outcome for outcome in self}
