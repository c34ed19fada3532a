"""What the engine and the ingest need of the parts that may be exchanged.

Implementations: stores in `rag/stores`, embedders in `rag/embeddings`, rerankers in `rag/rerank`, answerers in
`rag/generate`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from rag.records import Document
from rag.resilience.deadline import Deadline
from rag.types import CacheHit, Citation, Exchange, Language, Mode, Passage, Timings, Usage

Vectors = NDArray[np.float32]
"""Shape (n, dimensions), rows of unit length."""


class Embedder(Protocol):
    """Texts to unit vectors."""

    @property
    def name(self) -> str:
        """What the store remembers, e.g. `minilm` or `openai:text-embedding-3-small@512`."""
        ...

    @property
    def dimensions(self) -> int: ...

    @property
    def languages(self) -> frozenset[Language] | None:
        """Languages it understands well; None means all."""
        ...

    async def embed(self, texts: Sequence[str], *, urgent: bool = False) -> Vectors:
        """One row per text. `urgent` (a question somebody waits for) goes before bulk work.

        Raises `EmbeddingError`.
        """
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieved:
    """What retrieval hands to generation."""

    passages: tuple[Passage, ...]
    """Best first."""
    is_relevant: bool
    """Whether the best of it lies above the calibrated relevance floor."""
    language: Language
    """The language of the question."""
    timings: Timings
    epoch: int | None = None


class Retriever(Protocol):
    """Question text to ranked passages, within the permitted collections."""

    async def retrieve(
        self,
        text: str,
        *,
        collections: frozenset[str],
        k: int = 8,
        mode: Mode = "hybrid",
        deadline: Deadline | None = None,
    ) -> Retrieved:
        """The `k` best passages (fewer only if there are none).

        Raises `InputError`, `StoreUnavailable`, `EmbeddingError`.
        """
        ...

    async def passage(self, passage_id: str, *, collections: frozenset[str]) -> Passage | None:
        """One passage by id; None when there is none *or it is not permitted* (the two look alike)."""
        ...


class Reranker(Protocol):
    """Reads question and passage together: slower than ranking, and often right where that is undecided."""

    @property
    def name(self) -> str:
        """What messages call it; no key, no login."""
        ...

    async def rerank(self, question: str, texts: Sequence[str]) -> Sequence[float]:
        """A finite score for each text, higher is better; comparable within one call only. Raises `RerankError`."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """What an answerer writes from."""

    question: str
    language: Language
    passages: tuple[Passage, ...]
    """Numbered from 1 in this order; `[n]` in the answer refers to them."""
    deadline: Deadline
    history: tuple[Exchange, ...] = ()
    standalone: str | None = None
    """A follow-up question with what it refers to: what the passages were found by."""


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the answer, as it arrives."""

    text: str


class Answerer(Protocol):
    """Passages to an answer: the extractive one or a language model, behind one port."""

    @property
    def model(self) -> str:
        """What the log line calls it."""
        ...

    def stream(self, request: GenerationRequest) -> AsyncGenerator[Token | Usage, None]:
        """Tokens as they come, then one `Usage`, also before it raises. Closing the iterator stops the model.

        A call that costs something begins with a `Usage` too: whoever closes early would learn nothing else of it.

        Raises a `ModelError`; after the first token only `ModelInterrupted`, `ModelTruncated` or `ModelTimeout`.
        """
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite:
    """A question as it is understood in its conversation."""

    text: str | None
    """None: it stands alone."""
    by: Literal["model", "rule"] = "rule"
    usage: Usage = field(default_factory=Usage)


class Rewriter(Protocol):
    """Makes a question that leans on what was said before one that can be looked up."""

    async def rewrite(
        self, question: str, history: Sequence[Exchange], *, language: Language, deadline: Deadline
    ) -> Rewrite:
        """The question as it is understood after `history` (oldest first). Never raises for what a model does."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class InstantHit:
    """An answer that is ready: curated, or remembered."""

    answer: str
    """Markdown, checked when it was made; `[n]` in it refers to `citations`."""
    citations: tuple[Citation, ...] = ()
    cache: CacheHit = "faq"
    similarity: float | None = None
    """None for an exact match."""
    epoch: int | None = None


class InstantAnswers(Protocol):
    """Answers that need neither retrieval nor a model; asked before anything else."""

    async def lookup(self, text: str, *, collections: frozenset[str], language: Language) -> InstantHit | None:
        """The ready answer to this very question, within the permitted collections; None if there is none.

        Raises `StoreError` if it cannot tell; the question is then answered the long way.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingChunk:
    """A chunk that has no vectors yet."""

    key: int
    """What `attach` wants back. Ascending in order of ingest."""
    texts: tuple[str, ...]
    """What to embed: first the chunk, then each of its sentences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDocument:
    """What an admin sees of a document."""

    collection: str
    source: str
    id: str
    file: str
    title: str
    url: str | None
    language: Language
    valid_from: date | None
    valid_until: date | None
    content_hash: str
    size: int
    """Bytes of the original."""
    chunks: int
    pending: int
    """Chunks that are found by full text already, but wait for their vectors."""
    updated_at: datetime
    extracted: int = 0
    """Chunks that a language model has read for names and relations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentPage:
    """Documents in order of (collection, source, id)."""

    documents: tuple[StoredDocument, ...]
    after: str | None
    """Where the next page begins; None on the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionCounts:
    """How much a collection holds."""

    documents: int
    chunks: int
    pending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """What a source's document was made of: enough to know that it needs no work, or that its file is gone."""

    content_hash: str
    file: str


class KnowledgeStore(Protocol):
    """Where documents are kept: the side that ingest and admins use (ranking uses `rag.retrieval.view.Knowledge`).

    Every method may raise a `StoreError`; one that failed has changed nothing.
    """

    async def open(self) -> None:
        """Connect or open now, rather than at first use. Raises what is wrong."""
        ...

    async def load(self) -> None:
        """Make ready for questions now (indexes in memory or warm), so that the first one does not wait for it."""
        ...

    async def put(self, documents: Sequence[Document]) -> None:
        """Write documents, each in place of the former version with its (collection, source, id); all or none.

        They are found by full text from then on. Chunks whose digest is known keep their vectors.
        """
        ...

    async def pending(self, limit: int, *, after: int = 0) -> tuple[PendingChunk, ...]:
        """Up to `limit` chunks above the key `after` that wait for vectors, equal ones only once; empty: none left."""
        ...

    async def attach(self, embedder: str, dimensions: int, vectors: Sequence[tuple[int, Vectors]]) -> int:
        """Give chunks (by key) their vectors, a row for each of `texts`; returns how many chunks got theirs.

        Chunks that are gone by now are passed over. Raises `EmbeddingMismatch`, `InputError`.
        """
        ...

    async def check_embedding(self, embedder: str, dimensions: int) -> None:
        """Raises `EmbeddingMismatch` if the vectors come from another model."""
        ...

    async def reset_vectors(self, embedder: str, dimensions: int) -> int:
        """Forget all vectors, for another model; returns how many chunks are pending now."""
        ...

    async def remove(self, collection: str, ids: Sequence[str], *, source: str | None = None) -> int:
        """Remove documents with everything they left (None: whatever their source); returns how many there were."""
        ...

    async def ingested(self, collection: str, source: str) -> Mapping[str, Ingested]:
        """By document id, everything that came from this source."""
        ...

    async def documents(
        self,
        collections: frozenset[str],
        *,
        after: str | None = None,
        limit: int = 100,
        source: str | None = None,
    ) -> DocumentPage:
        """A page of documents, expired ones included. Raises `InputError` for an `after` that is none of ours."""
        ...

    async def document(self, collection: str, id: str, *, source: str | None = None) -> StoredDocument | None:  # noqa: A002 - the contract's word
        """One document; None if there is none."""
        ...

    async def counts(self) -> Mapping[str, CollectionCounts]:
        """By collection that holds documents."""
        ...

    async def epoch(self, collections: frozenset[str]) -> int:
        """Grows with every change to one of these collections."""
        ...

    async def refresh(self) -> None:
        """Return once views show everything that was written before this call."""
        ...

    async def close(self) -> None: ...
