"""What the engine and the ingest need of the parts that may be exchanged.

Implementations: stores in `rag/stores`, embedders in `rag/embeddings`, answerers in `rag/generate`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rag.resilience.deadline import Deadline
from rag.types import Exchange, Language, Mode, Passage, Timings, Usage

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


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """What an answerer writes from."""

    question: str
    language: Language
    passages: tuple[Passage, ...]
    """Numbered from 1 in this order; `[n]` in the answer refers to them."""
    deadline: Deadline
    history: tuple[Exchange, ...] = ()


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

    def stream(self, request: GenerationRequest) -> AsyncIterator[Token | Usage]:
        """Tokens as they come, then one `Usage`. Closing the iterator stops the model.

        Raises a `ModelError`; after the first token only `ModelInterrupted` or `ModelTimeout`.
        """
        ...

    async def close(self) -> None: ...
