"""A run of a collection's documents in memory, as arrays: loaded from `knowledge.db` once, then never changed.

Texts are held too: a passage that was ranked can then be shown though another process removed it meanwhile, and a
search touches no disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rag.stores.coarse import ZERO, Bytes
from rag.stores.encoding import Hashes
from rag.stores.textindex import Numbers, Postings
from rag.stores.vectors import Floats

MAX_ROWS = 65_536
"""Larger collections are several segments: it bounds what one load or merge holds twice."""


class DocumentLabel(NamedTuple):
    """What is shown of a document, and the keys it answers to."""

    id: str
    source: str
    title: str
    url: str | None
    names: tuple[str, ...]


ChunkLabel = tuple[str, str, int | None]
"""(passage id, heading, page)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorBlock:
    """The vectors of a segment in fixed point. Rows that no snapshot shows yet are filled in later, in place."""

    chunks: Floats
    """Shape (rows, dimensions)."""
    coarse: Bytes
    """The same in one byte a component, and"""
    lost: Floats
    """what that takes away from each row (`rag.stores.coarse`)."""
    sentences: NDArray[np.int8]
    """Shape (sentences, dimensions)."""
    scales: Floats
    """Shape (sentences,)."""

    @classmethod
    def empty(cls, rows: int, sentences: int, dimensions: int) -> VectorBlock:
        return cls(
            chunks=np.zeros((rows, dimensions), dtype=np.float32),
            coarse=np.full((rows, dimensions), ZERO, dtype=np.uint8),
            lost=np.zeros(rows, dtype=np.float32),
            sentences=np.zeros((sentences, dimensions), dtype=np.int8),
            scales=np.ones(sentences, dtype=np.float32),
        )

    @property
    def nbytes(self) -> int:
        arrays = self.chunks, self.coarse, self.lost, self.sentences, self.scales
        return sum(each.nbytes for each in arrays)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Documents and chunks are numbered from 0 within the segment, in order of ingest."""

    collection: str
    document_numbers: NDArray[np.int64]
    """The database's numbers, ascending."""
    document_labels: list[DocumentLabel]
    validity: tuple[Numbers, Numbers] | None
    """First and last day as ordinals, by document; None if none has any."""
    first_row: Numbers
    chunk_numbers: NDArray[np.int64]
    """The database's numbers, ascending."""
    chunk_labels: list[ChunkLabel]
    languages: tuple[str, ...]
    language_of: NDArray[np.int16]
    """By row: index into `languages`."""
    document_of: Numbers
    lengths: NDArray[np.int64]
    texts: bytes
    text_at: NDArray[np.int64]
    plain: Postings
    """Term -> rows, for chunks that hold no diacritics: both columns at once."""
    marked: Postings
    """Term -> rows of the other chunks, diacritics kept."""
    folded: Postings
    """Term -> rows of those same chunks, without diacritics."""
    first_sentence: Numbers
    row_of_sentence: Numbers
    mentions: Postings
    """Name -> sentences."""
    said: Hashes
    """Names in order of sentences, and"""
    said_in: Numbers
    """the sentence each stands in, ascending, and"""
    said_at: Numbers
    """the place of each among the keys of `mentions`: looking a name up costs twenty cache misses."""
    titles: Postings
    """Name -> the documents that answer to it."""
    answers: Hashes
    """Names by document, and"""
    first_answer: NDArray[np.int64]
    """where those of each document begin."""
    is_title: NDArray[np.bool_]
    """By key of `mentions`: whether any document of the segment answers to it."""

    @property
    def rows(self) -> int:
        return len(self.document_of)

    @property
    def documents(self) -> int:
        return len(self.document_numbers)

    def sentences_of(self, rows: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The numbers of all sentences of these chunks one after the other, and how many each chunk has."""
        starts = self.first_sentence[rows].astype(np.int64)
        sizes = self.first_sentence[rows + 1] - starts
        return np.repeat(starts - (np.cumsum(sizes) - sizes), sizes) + np.arange(sizes.sum()), sizes

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays and texts; labels are estimated at 200 a row."""
        arrays = (
            *(self.document_numbers, self.first_row, self.chunk_numbers, self.document_of, self.lengths, self.text_at),
            *(self.plain, self.marked, self.folded, self.first_sentence, self.row_of_sentence, self.mentions),
            *(self.said, self.said_in, self.said_at, self.titles, self.answers, self.first_answer, self.is_title),
        )
        return sum(each.nbytes for each in arrays) + len(self.texts) + 200 * (self.rows + self.documents)
