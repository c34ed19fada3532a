"""A run of a collection's documents in memory, as arrays: loaded from `knowledge.db` in one go, then never changed.

Texts are held too: a passage that was ranked can then be shown though another process removed it meanwhile, and a
search touches no disk.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from rag.stores.encoding import Hashes
from rag.stores.textindex import Numbers, Postings, build
from rag.stores.vectors import Floats

MAX_ROWS = 65_536
"""Larger collections are several segments: it bounds what one load or merge holds twice."""

_DOCUMENTS = """
SELECT doc, id, source, title, url, valid_from, valid_until, names, name_hashes
FROM documents WHERE collection = ? AND doc BETWEEN ? AND ? ORDER BY doc
"""
_CHUNKS = """
SELECT c.doc, chunk, passage_id, heading, page, c.language, CAST(text AS BLOB), length,
       terms, counts, folded_terms, folded_counts, length(spans) / 8, name_hashes, name_sentences,
       vector, sentences, scales
FROM chunks c LEFT JOIN vectors USING (chunk)
WHERE c.doc IN (SELECT doc FROM documents WHERE collection = ? AND doc BETWEEN ? AND ?) ORDER BY c.doc, ordinal
"""


class DocumentLabel(NamedTuple):
    """What is shown of a document, and the keys it answers to."""

    id: str
    source: str
    title: str
    url: str | None
    names: tuple[str, ...]


ChunkLabel = tuple[str, str, int | None, str]
"""(passage id, heading, page, language)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorBlock:
    """The vectors of a segment in fixed point. Rows that no snapshot shows yet are filled in later, in place."""

    chunks: Floats
    """Shape (rows, dimensions)."""
    sentences: NDArray[np.int8]
    """Shape (sentences, dimensions)."""
    scales: Floats
    """Shape (sentences,)."""

    @classmethod
    def empty(cls, rows: int, sentences: int, dimensions: int) -> VectorBlock:
        return cls(
            chunks=np.zeros((rows, dimensions), dtype=np.float32),
            sentences=np.zeros((sentences, dimensions), dtype=np.int8),
            scales=np.ones(sentences, dtype=np.float32),
        )

    @property
    def nbytes(self) -> int:
        return self.chunks.nbytes + self.sentences.nbytes + self.scales.nbytes


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
    """the sentence each stands in, ascending."""
    titles: Postings
    """Name -> the documents that answer to it."""
    answers: Hashes
    """Names by document, and"""
    first_answer: NDArray[np.int64]
    """where those of each document begin."""

    @property
    def rows(self) -> int:
        return len(self.document_of)

    @property
    def documents(self) -> int:
        return len(self.document_numbers)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays and texts; labels are estimated at 200 a row."""
        arrays = (
            *(self.document_numbers, self.first_row, self.chunk_numbers, self.document_of, self.lengths, self.text_at),
            *(self.plain, self.marked, self.folded, self.first_sentence, self.row_of_sentence, self.mentions),
            *(self.said, self.said_in, self.titles, self.answers, self.first_answer),
        )
        return sum(each.nbytes for each in arrays) + len(self.texts) + 200 * (self.rows + self.documents)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A segment with the vectors that were there when it was loaded."""

    segment: Segment
    vectors: VectorBlock | None
    embedded: NDArray[np.bool_]


def ranges(connection: sqlite3.Connection, collection: str, above: int) -> list[tuple[int, int]]:
    """Runs of this collection's documents with a number `above`, each of about `MAX_ROWS` chunks at most."""
    found: list[tuple[int, int]] = []
    rows = MAX_ROWS
    query = "SELECT doc, chunks FROM documents WHERE collection = ? AND doc > ? ORDER BY doc"
    for doc, chunks in connection.execute(query, (collection, above)):
        if rows + chunks > MAX_ROWS:
            found.append((doc, doc))
            rows = 0
        rows += chunks
        found[-1] = (found[-1][0], doc)
    return found


def load(connection: sqlite3.Connection, collection: str, first: int, last: int, dimensions: int | None) -> Loaded:
    """The documents with numbers from `first` to `last`, as they are now."""
    documents = connection.execute(_DOCUMENTS, (collection, first, last)).fetchall()
    rows = connection.execute(_CHUNKS, (collection, first, last)).fetchall()
    numbers, ids, sources, titles, urls, since, until, names, answered = _columns(documents, 9)
    (docs, chunks, passages, headings, pages, languages, texts, lengths) = (columns := _columns(rows, 18))[:8]
    terms, counts, folded, folded_counts, sentences, said, said_in, vectors, rows8, scales = columns[8:]
    document_numbers = np.array(numbers, dtype=np.int64)
    document_of = np.searchsorted(document_numbers, np.array(docs, dtype=np.int64)).astype(np.int32)
    first_sentence = _offsets(sentences).astype(np.int32)
    spoken = np.frombuffer(b"".join(said), dtype=np.uint64)
    spoken_in = np.frombuffer(b"".join(said_in), dtype=np.uint16).astype(np.int32)
    spoken_in += np.repeat(first_sentence[:-1], _sizes(said))
    answers = np.frombuffer(b"".join(answered), dtype=np.uint64)
    first_answer = _offsets(_sizes(answered))
    plain = [None if each is not None else own for own, each in zip(terms, folded, strict=True)]
    marked = [None if each is None else own for own, each in zip(terms, folded, strict=True)]
    segment = Segment(
        collection=collection,
        document_numbers=document_numbers,
        document_labels=list(
            map(DocumentLabel, ids, sources, titles, urls, (tuple(orjson.loads(each)) for each in names))
        ),
        validity=_validity(since, until),
        first_row=np.searchsorted(document_of, np.arange(len(numbers) + 1)).astype(np.int32),
        chunk_numbers=np.array(chunks, dtype=np.int64),
        chunk_labels=list(zip(passages, map(sys.intern, headings), pages, map(sys.intern, languages), strict=True)),
        document_of=document_of,
        lengths=np.array(lengths, dtype=np.int64),
        texts=b"".join(texts),
        text_at=_offsets([len(each) for each in texts]),
        plain=_term_postings(plain, counts),
        marked=_term_postings(marked, counts),
        folded=_term_postings(folded, folded_counts),
        first_sentence=first_sentence,
        row_of_sentence=np.repeat(np.arange(len(rows), dtype=np.int32), np.diff(first_sentence)),
        mentions=build(spoken, spoken_in),
        said=spoken,
        said_in=spoken_in,
        titles=build(answers, np.repeat(np.arange(len(numbers), dtype=np.int32), np.diff(first_answer))),
        answers=answers,
        first_answer=first_answer,
    )
    embedded = np.array([each is not None for each in vectors], dtype=bool)
    block = None if dimensions is None else _block(segment, embedded, dimensions, vectors, rows8, scales)
    return Loaded(segment=segment, vectors=block, embedded=embedded)


def fill(block: VectorBlock, segment: Segment, rows: Numbers, vectors: Iterable[tuple[bytes, bytes, bytes]]) -> None:
    """Put vectors that came later into the block."""
    dimensions = block.chunks.shape[1]
    for row, (vector, sentences, scales) in zip(rows.tolist(), vectors, strict=True):
        block.chunks[row] = np.frombuffer(vector, dtype=np.int16)
        start, end = segment.first_sentence[row], segment.first_sentence[row + 1]
        block.sentences[start:end] = np.frombuffer(sentences, dtype=np.int8).reshape(-1, dimensions)
        block.scales[start:end] = np.frombuffer(scales, dtype=np.float32)


def _block(
    segment: Segment,
    embedded: NDArray[np.bool_],
    dimensions: int,
    vectors: Sequence[bytes | None],
    sentences: Sequence[bytes | None],
    scales: Sequence[bytes | None],
) -> VectorBlock:
    block = VectorBlock.empty(segment.rows, len(segment.row_of_sentence), dimensions)
    if embedded.any():
        rows = slice(None) if embedded.all() else embedded
        block.chunks[rows] = np.frombuffer(_joined(vectors), dtype=np.int16).reshape(-1, dimensions)
        in_sentences = slice(None) if embedded.all() else embedded[segment.row_of_sentence]
        block.sentences[in_sentences] = np.frombuffer(_joined(sentences), dtype=np.int8).reshape(-1, dimensions)
        block.scales[in_sentences] = np.frombuffer(_joined(scales), dtype=np.float32)
    return block


def _term_postings(terms: Sequence[bytes | None], counts: Sequence[bytes | None]) -> Postings:
    held = [count for count, each in zip(counts, terms, strict=True) if each is not None]
    return build(
        np.frombuffer(_joined(terms), dtype=np.uint64),
        np.repeat(np.arange(len(terms), dtype=np.int32), _sizes(terms)),
        np.frombuffer(_joined(held), dtype=np.uint16),
    )


def _validity(since: Sequence[str | None], until: Sequence[str | None]) -> tuple[Numbers, Numbers] | None:
    if not any(since) and not any(until):
        return None
    first = [date.fromisoformat(day).toordinal() if day else 0 for day in since]
    last = [date.fromisoformat(day).toordinal() if day else date.max.toordinal() for day in until]
    return np.array(first, dtype=np.int32), np.array(last, dtype=np.int32)


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[tuple[Any, ...]]:
    return list(zip(*rows, strict=True)) if rows else [()] * width


def _sizes(hashes: Sequence[bytes | None]) -> NDArray[np.int64]:
    return np.array([0 if each is None else len(each) // 8 for each in hashes], dtype=np.int64)


def _joined(blobs: Iterable[bytes | None]) -> bytes:
    return b"".join(each for each in blobs if each is not None)


def _offsets(sizes: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    offsets = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(np.array(sizes, dtype=np.int64), out=offsets[1:])
    return offsets
