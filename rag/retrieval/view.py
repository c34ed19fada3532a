"""What ranking asks of a store: one consistent snapshot over the collections that the asker may read.

A view answers as if only the permitted collections existed: document frequencies, averages and degrees are taken
over them alone. Chunks are numbered 0..n-1 (*rows*) and documents 0..m-1 within one view; the numbers mean nothing
outside it. A document's rows are contiguous and in order. Everything is synchronous and safe to call from a thread;
nothing here waits for a network: a store behind one brings the rows that can matter to one question in a single query
(`QueriedKnowledge`), and its view counts over all that is permitted all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rag.types import Language

if TYPE_CHECKING:  # it is made of what is defined here
    from rag.retrieval.question import Asked

Column = Literal["marked", "folded"]
Rows = NDArray[np.int32]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextScores:
    """BM25 of one bag of query terms against every chunk."""

    scores: Floats
    """Shape (rows,); 0 where no term is held or the document is not valid today."""
    idf: Floats
    """Shape (terms,): ln(1 + (N - df + .5) / (df + .5)), N and df over all permitted chunks; df 0 included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A sentence that names another document, or two sentences that share a rare name."""

    source: int
    """The document whose sentence it is."""
    row: int
    sentence: int
    """Index of the sentence within the chunk `row`."""
    target: int
    """The document that is named, or the one that shares the name."""
    target_row: int | None = None
    """The chunk of `target` that shares the name; None for a document named by its title or by a link."""
    target_sentence: int | None = None
    degree: int = 1
    """How many documents answer to the key (titles), or hold it (shared names)."""
    explicit: bool = False
    """Whether it is a written link (`@`), not a name in running text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkInfo:
    """What is shown of a chunk."""

    passage_id: str
    """Stable while the chunk's text is; carries no hint of other collections."""
    document: str
    source: str
    title: str
    collection: str
    text: str
    heading: str
    page: int | None
    url: str | None
    language: Language


class Near(Protocol):
    """How near every chunk is to a question, worked out where it is asked for."""

    def best(self, count: int) -> Rows:
        """The `count` chunks of the greatest cosines above -1, ties by row; ascending."""
        ...

    def __getitem__(self, rows: Rows) -> Floats:
        """Exact cosines; -1 where a chunk has no vector yet or is not valid."""
        ...


class View(Protocol):
    """One snapshot; later writes do not change it."""

    @property
    def epoch(self) -> int | None:
        """Changes with every write that the view could show."""
        ...

    @property
    def rows(self) -> int:
        """How many chunks."""
        ...

    @property
    def documents(self) -> int: ...

    @property
    def document_of(self) -> NDArray[np.int32]:
        """Shape (rows,): the document of each chunk, ascending."""
        ...

    @property
    def first_row(self) -> NDArray[np.int32]:
        """Shape (documents + 1,): document d has the rows first_row[d] .. first_row[d + 1] - 1."""
        ...

    @property
    def languages(self) -> Mapping[Language, int]:
        """How many chunks in which language, over all that is permitted."""
        ...

    def cosines(self, vector: Floats) -> Floats | None:
        """Shape (rows,): exact cosine of every chunk; NaN-free: -1 where a chunk has no vector yet or is not valid.

        None if no chunk has a vector.
        """
        ...

    def near(self, vector: Floats) -> Near | None:
        """The same without working out all of them."""
        ...

    def text_scores(self, terms: Sequence[str], column: Column, *, k1: float, b: float) -> TextScores:
        """BM25 (tf * (k1 + 1) / (tf + k1 * (1 - b + b * length / mean length)), times idf, summed over terms)."""
        ...

    def holds(self, terms: Sequence[str], column: Column, rows: Rows) -> NDArray[np.bool_]:
        """Shape (terms, rows): which of these chunks hold which term."""
        ...

    def sentence_cosines(self, vector: Floats, rows: Rows) -> list[Floats]:
        """For each of these chunks the cosine of every one of its sentences; empty where it has no vectors yet."""
        ...

    def best_sentences(self, vector: Floats, rows: Rows) -> Floats:
        """For each of these chunks the greatest of those; -1 where it has none."""
        ...

    def titled(self, keys: Sequence[str]) -> list[tuple[str, Rows]]:
        """Which of these keys documents answer to, and which documents do (numbers, ascending)."""
        ...

    def links_from(self, rows: Sequence[int], *, limit: int) -> list[Link]:
        """Sentences of these chunks that name other documents, one link per sentence and target.

        At most `limit` per source document; explicit links first, then keys of the lowest degree.
        """
        ...

    def links_to(self, documents: Sequence[int], *, limit: int) -> list[Link]:
        """Sentences of other documents that name these ones (`target`), at most `limit` per target."""
        ...

    def shared_names(self, rows: Sequence[int], *, degree: tuple[int, int], limit: int) -> list[Link]:
        """Names (not `@`) in sentences of these chunks, joined with the sentences of other documents that hold them.

        Only names held by degree[0] to degree[1] documents; rarest first, at most `limit` per source document.
        """
        ...

    def infos(self, rows: Sequence[int]) -> list[ChunkInfo]:
        """What is shown of these chunks."""
        ...


class Knowledge(Protocol):
    """A store that can give views."""

    def view(self, collections: frozenset[str]) -> View:
        """The present state of these collections (unknown ones are empty), documents valid today.

        Cheap; does not block on writers. Raises `StoreUnavailable`.
        """
        ...

    def find(self, passage_id: str, collections: frozenset[str]) -> ChunkInfo | None:
        """One chunk by id; None when there is none or it is not permitted."""
        ...


@runtime_checkable
class QueriedKnowledge(Protocol):
    """A store that is asked question by question, over a network. Every method may raise a `StoreError`."""

    async def languages(self, collections: frozenset[str]) -> Mapping[Language, int]:
        """How many chunks in which language; may be a little old."""
        ...

    async def view_for(
        self, asked: Asked, collections: frozenset[str], *, pool: int, seconds: float | None = None
    ) -> View:
        """What can matter to this question: the `pool` best rows of each search, titles, links of the best documents.

        `seconds`: how long it may take; None: as long as the store finds right.
        """
        ...

    async def passage(self, passage_id: str, collections: frozenset[str]) -> ChunkInfo | None:
        """One chunk by id; None when there is none or it is not permitted."""
        ...
