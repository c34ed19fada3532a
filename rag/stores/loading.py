"""From the tables of `knowledge.db` to segments in memory, a page of rows at a time.

Pages keep what is copied in the cache, and bound what is held twice.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from rag.stores.coarse import coarse
from rag.stores.segment import MAX_ROWS, ChunkLabel, DocumentLabel, Segment, VectorBlock
from rag.stores.textindex import Numbers, Postings, build, build_numbered

_PAGE = 512

_THOSE_DOCUMENTS = "(SELECT doc FROM documents WHERE collection = ? AND doc BETWEEN ? AND ?)"
_DOCUMENTS = """
SELECT doc, id, source, title, url, valid_from, valid_until, names, name_hashes
FROM documents WHERE collection = ? AND doc BETWEEN ? AND ? ORDER BY doc
"""
# S608: nothing from outside is put into these.
_CHUNKS = f"""
SELECT doc, chunk, passage_id, heading, page, language, CAST(text AS BLOB), length,
       terms, counts, folded_terms, folded_counts, length(spans) / 8, name_hashes, name_sentences
FROM chunks WHERE doc IN {_THOSE_DOCUMENTS} ORDER BY doc, ordinal
"""  # noqa: S608
_VECTORS = f"""
SELECT chunk, vector, sentences, scales
FROM chunks JOIN vectors USING (chunk) WHERE doc IN {_THOSE_DOCUMENTS} ORDER BY doc, ordinal
"""  # noqa: S608

VectorRow = tuple[int, bytes, bytes, bytes]
"""(chunk, vector, sentences, scales)"""


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
        if not found or rows + chunks > MAX_ROWS:
            found.append((doc, doc))
            rows = 0
        rows += chunks
        found[-1] = (found[-1][0], doc)
    return found


def load(connection: sqlite3.Connection, collection: str, first: int, last: int, dimensions: int | None) -> Loaded:
    """The documents with numbers from `first` to `last`, as they are now. Inside a transaction."""
    those = (collection, first, last)
    documents = _columns(connection.execute(_DOCUMENTS, those).fetchall(), 9)
    chunks = _Chunks()
    for page in _pages(connection.execute(_CHUNKS, those)):
        chunks.add(page)
    segment = _segment(collection, documents, chunks)
    embedded = np.zeros(segment.rows, dtype=bool)
    block = None
    if dimensions is not None:
        block = VectorBlock.empty(segment.rows, len(segment.row_of_sentence), dimensions)
        places = {chunk: place for place, chunk in enumerate(segment.chunk_numbers.tolist())}
        for page in _pages(connection.execute(_VECTORS, those)):
            rows = np.array([places[row[0]] for row in page], dtype=np.int32)
            fill(block, segment, rows, page)
            embedded[rows] = True
    return Loaded(segment=segment, vectors=block, embedded=embedded)


def fill(block: VectorBlock, segment: Segment, rows: Numbers, vectors: Sequence[VectorRow]) -> None:
    """Put the vectors of these rows (ascending) into the block."""
    dimensions = block.chunks.shape[1]
    _, chunks, sentences, scales = _columns(vectors, 4)
    first, last = int(rows[0]), int(rows[-1]) + 1
    places: slice | Numbers = rows
    numbers: slice | NDArray[np.int64] = segment.sentences_of(rows)[0]
    if last - first == len(rows):  # the rule when loading, and twice as fast
        places = slice(first, last)
        numbers = slice(int(segment.first_sentence[first]), int(segment.first_sentence[last]))
    fixed = np.frombuffer(b"".join(chunks), dtype=np.int16).reshape(-1, dimensions).astype(np.float32)
    block.chunks[places] = fixed
    block.coarse[places], block.lost[places] = coarse(fixed)
    block.sentences[numbers] = np.frombuffer(b"".join(sentences), dtype=np.int8).reshape(-1, dimensions)
    block.scales[numbers] = np.frombuffer(b"".join(scales), dtype=np.float32)


class _Terms:
    """One column of terms: who holds what."""

    def __init__(self) -> None:
        self._keys: list[NDArray[np.uint64]] = []
        self._counts: list[NDArray[np.uint16]] = []
        self._sizes: list[NDArray[np.int64]] = []

    def add(self, keys: Sequence[bytes | None], counts: Sequence[bytes | None]) -> None:
        """A page of chunks; None: not in this column."""
        self._keys.append(np.frombuffer(_joined(keys), dtype=np.uint64))
        self._counts.append(np.frombuffer(_joined(counts), dtype=np.uint16))
        self._sizes.append(_sizes(keys))

    def postings(self) -> Postings:
        """Term -> chunks."""
        sizes = _concatenated(self._sizes, np.int64)
        rows = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        return build(_concatenated(self._keys, np.uint64), rows, _concatenated(self._counts, np.uint16))


class _Chunks:
    """Columns of chunks, collected page by page."""

    def __init__(self) -> None:
        self.documents: list[int] = []
        self.numbers: list[int] = []
        self.labels: list[ChunkLabel] = []
        self.languages: list[str] = []
        self.texts: list[bytes] = []
        self.text_sizes: list[int] = []
        self.lengths: list[int] = []
        self.sentences: list[int] = []
        self.plain, self.marked, self.folded = _Terms(), _Terms(), _Terms()
        self._said: list[NDArray[np.uint64]] = []
        self._said_in: list[NDArray[np.uint16]] = []
        self._said_sizes: list[NDArray[np.int64]] = []

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """A page."""
        (docs, numbers, passages, headings, pages, languages, texts, lengths) = (columns := _columns(rows, 15))[:8]
        terms, counts, folded_terms, folded_counts, sentences, said, said_in = columns[8:]
        self.documents += docs
        self.numbers += numbers
        self.labels += zip(passages, map(sys.intern, headings), pages, strict=True)
        self.languages += languages
        self.texts.append(b"".join(texts))
        self.text_sizes += map(len, texts)
        self.lengths += lengths
        self.sentences += sentences
        self.plain.add(_where(terms, folded_terms, is_null=True), _where(counts, folded_terms, is_null=True))
        self.marked.add(_where(terms, folded_terms, is_null=False), _where(counts, folded_terms, is_null=False))
        self.folded.add(folded_terms, folded_counts)
        self._said.append(np.frombuffer(b"".join(said), dtype=np.uint64))
        self._said_in.append(np.frombuffer(b"".join(said_in), dtype=np.uint16))
        self._said_sizes.append(_sizes(said))

    def said(self, first_sentence: Numbers) -> tuple[NDArray[np.uint64], Numbers]:
        """Names, and the sentence each stands in."""
        said_in = _concatenated(self._said_in, np.uint16).astype(np.int32)
        said_in += np.repeat(first_sentence[:-1], _concatenated(self._said_sizes, np.int64))
        return _concatenated(self._said, np.uint64), said_in


def _segment(collection: str, documents: Sequence[tuple[Any, ...]], chunks: _Chunks) -> Segment:
    numbers, ids, sources, titles, urls, since, until, names, answered = documents
    document_numbers = np.array(numbers, dtype=np.int64)
    document_of = np.searchsorted(document_numbers, np.array(chunks.documents, dtype=np.int64)).astype(np.int32)
    first_sentence = _offsets(chunks.sentences).astype(np.int32)
    said, said_in = chunks.said(first_sentence)
    answers = np.frombuffer(b"".join(answered), dtype=np.uint64)
    first_answer = _offsets(_sizes(answered))
    languages = tuple(dict.fromkeys(chunks.languages))
    codes = {language: code for code, language in enumerate(languages)}
    mentions, said_at = build_numbered(said, said_in)
    answering = build(answers, np.repeat(np.arange(len(numbers), dtype=np.int32), np.diff(first_answer)))
    name_lists = (tuple(orjson.loads(each)) for each in names)
    return Segment(
        collection=collection,
        document_numbers=document_numbers,
        document_labels=list(map(DocumentLabel, ids, sources, titles, urls, name_lists)),
        validity=_validity(since, until),
        first_row=np.searchsorted(document_of, np.arange(len(numbers) + 1, dtype=np.int32)).astype(np.int32),
        chunk_numbers=np.array(chunks.numbers, dtype=np.int64),
        chunk_labels=chunks.labels,
        languages=languages,
        language_of=np.array([codes[language] for language in chunks.languages], dtype=np.int16),
        document_of=document_of,
        lengths=np.array(chunks.lengths, dtype=np.int64),
        texts=b"".join(chunks.texts),
        text_at=_offsets(chunks.text_sizes),
        plain=chunks.plain.postings(),
        marked=chunks.marked.postings(),
        folded=chunks.folded.postings(),
        first_sentence=first_sentence,
        row_of_sentence=np.repeat(np.arange(len(document_of), dtype=np.int32), np.diff(first_sentence)),
        mentions=mentions,
        said=said,
        said_in=said_in,
        said_at=said_at,
        titles=answering,
        answers=answers,
        first_answer=first_answer,
        is_title=_held(mentions.keys, answering.keys),
    )


def _held(keys: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of `keys` (ascending) are among `others`."""
    found = np.zeros(len(keys) + 1, dtype=bool)
    places = np.searchsorted(keys, others)
    inside = places < len(keys)
    found[places[inside][keys[places[inside]] == others[inside]]] = True
    return found[:-1]


def _validity(since: Sequence[str | None], until: Sequence[str | None]) -> tuple[Numbers, Numbers] | None:
    if not any(since) and not any(until):
        return None
    first = [date.fromisoformat(day).toordinal() if day else 0 for day in since]
    last = [date.fromisoformat(day).toordinal() if day else date.max.toordinal() for day in until]
    return np.array(first, dtype=np.int32), np.array(last, dtype=np.int32)


def _pages(cursor: sqlite3.Cursor) -> Iterator[list[tuple[Any, ...]]]:
    while page := cursor.fetchmany(_PAGE):
        yield page


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[tuple[Any, ...]]:
    return list(zip(*rows, strict=True)) if rows else [()] * width


def _where(blobs: Sequence[bytes], folded: Sequence[bytes | None], *, is_null: bool) -> list[bytes | None]:
    return [blob if (other is None) is is_null else None for blob, other in zip(blobs, folded, strict=True)]


def _sizes(hashes: Sequence[bytes | None]) -> NDArray[np.int64]:
    return np.array([0 if each is None else len(each) // 8 for each in hashes], dtype=np.int64)


def _joined(blobs: Iterable[bytes | None]) -> bytes:
    return b"".join([each for each in blobs if each is not None])


def _concatenated(arrays: Sequence[NDArray[Any]], kind: type[np.generic]) -> NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.zeros(0, dtype=kind)


def _offsets(sizes: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    offsets = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(np.array(sizes, dtype=np.int64), out=offsets[1:])
    return offsets
