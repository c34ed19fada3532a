"""Every change to `knowledge.db`, as functions of one connection: whole or not at all, one short transaction each.

A document is written in two steps: first its text, terms and names (found by full text from then on), later its
vectors. What still lacks vectors stands in `pending`, so a process that was killed is continued by the next one.
"""

from __future__ import annotations

import base64
import sqlite3
from array import array
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from hashlib import blake2b

import numpy as np
import orjson

from rag.errors import InputError
from rag.ports import PendingChunk, Vectors
from rag.records import Chunk, CountedTerms, Document
from rag.stores import extracted
from rag.stores.connection import transaction
from rag.stores.encoding import Hasher
from rag.stores.schema import bump, check_embedding, embedding, set_meta
from rag.stores.vectors import MAX_DIMENSIONS, fixed_point, quantised
from rag.transfer.ports import Dumped, Embedding, StoredVectors

_REMOVED_KEPT = 20_000
"""Readers further behind than this many removed documents load anew."""

_SLICE = 500
"""Parameters per statement; SQLite takes 32,766, old builds 999."""

_INSERT_DOCUMENT = """
INSERT INTO documents (collection, source, id, file, title, url, language, valid_from, valid_until, content_hash, size,
                       updated_at, chunks, names, name_hashes, title_terms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_INSERT_CHUNK = """
INSERT INTO chunks (doc, ordinal, passage_id, text, heading, page, language, digest, embedding_head, embedding_text,
                    length, terms, counts, folded_terms, folded_counts, spans, names, name_hashes, name_sentences)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_KNOWN_VECTORS = """
SELECT vector, sentences, scales FROM chunks JOIN vectors USING (chunk) JOIN documents USING (doc)
WHERE digest = ? AND collection = ? LIMIT 1
"""
_INSERT_VECTORS = "INSERT OR REPLACE INTO vectors (chunk, vector, sentences, scales) VALUES (?, ?, ?, ?)"

_VectorRow = tuple[bytes, bytes, bytes]


class Writer:
    """What the writer thread does. Not thread-safe; `connection` gives the connection to use now."""

    def __init__(self, connection: Callable[[], sqlite3.Connection], now: Callable[[], datetime]) -> None:
        self._connection = connection
        self._now = now
        self._hasher = Hasher()

    def put(self, documents: Sequence[Document]) -> None:
        """Write these documents, each in place of its former version; vectors of unchanged chunks stay."""
        with transaction(self._connection()) as connection:
            stamp = self._now().isoformat(timespec="seconds")
            is_read = extracted.are_there(connection)
            for each in documents:
                document = extracted.with_known(connection, each) if is_read else each
                known = _known_vectors(connection, document)
                _delete(connection, _numbers(connection, document.collection, [document.id], document.source))
                self._insert(connection, document, [known.get(chunk.digest) for chunk in document.chunks], stamp)
            bump(connection, {document.collection for document in documents})

    def restore(self, documents: Sequence[Dumped], model: Embedding | None) -> None:
        """Write documents with the vectors they come with; chunks that come without are treated as in `put`."""
        with transaction(self._connection()) as connection:
            self._restore(connection, documents, model)

    def enrich(self, documents: Sequence[Dumped], model: Embedding | None) -> None:
        """The same for documents that got other names only: those that changed meanwhile stay as they are."""
        with transaction(self._connection()) as connection:
            same = [each for each in documents if _is_same(connection, each.document)]
            fresh = [row[0] for row in connection.execute("SELECT id FROM faqs WHERE is_stale = 0")]
            if same:
                self._restore(connection, same, model)
            for part in _slices(fresh):
                connection.execute(
                    f"UPDATE faqs SET is_stale = 0 WHERE is_stale = 1 AND id IN ({_marks(part)})",  # noqa: S608 - likewise
                    part,
                )

    def _restore(self, connection: sqlite3.Connection, documents: Sequence[Dumped], model: Embedding | None) -> None:
        given = [[_stored_row(found) if found else None for found in each.vectors] for each in documents]
        if model is not None and any(map(any, given)):
            _remember(connection, model.model, model.dimensions)
        stamp = self._now().isoformat(timespec="seconds")
        is_read = extracted.are_there(connection)
        for each, rows in zip(documents, given, strict=True):
            document = extracted.with_known(connection, each.document) if is_read else each.document
            known = _known_vectors(connection, document)
            _delete(connection, _numbers(connection, document.collection, [document.id], document.source))
            chunks = zip(document.chunks, rows, strict=True)
            self._insert(connection, document, [row or known.get(chunk.digest) for chunk, row in chunks], stamp)
        bump(connection, {each.document.collection for each in documents})

    def remove(self, collection: str, ids: Sequence[str], source: str | None) -> int:
        """Remove documents with everything that hangs on them; how many there were."""
        with transaction(self._connection()) as connection:
            numbers = _numbers(connection, collection, ids, source)
            _delete(connection, numbers)
            if numbers:
                bump(connection, {collection})
        return len(numbers)

    def attach(self, name: str, dimensions: int, vectors: Sequence[tuple[int, Vectors]]) -> int:
        """Give chunks their vectors (and all that wait for the same ones); how many chunks got some."""
        rows = {key: _vector_row(matrix, dimensions) for key, matrix in vectors}
        with transaction(self._connection()) as connection:
            check_embedding(connection, name, dimensions)
            waiting = _waiting(connection, rows)
            if waiting:
                _remember(connection, name, dimensions)
            for chunk, key, sentences, _ in waiting:
                if len(rows[key][2]) != 4 * sentences:
                    raise InputError(
                        f"chunk {key} has {sentences} sentences, but {len(rows[key][2]) // 4} vectors came"
                    )
                connection.execute(_INSERT_VECTORS, (chunk, *rows[key]))
                connection.execute("DELETE FROM pending WHERE chunk = ?", (chunk,))
            if waiting:
                bump(connection, {collection for *_, collection in waiting})
        return len(waiting)

    def reset_vectors(self, name: str, dimensions: int) -> int:
        """Forget all vectors and remember another model; how many chunks wait for it now."""
        with transaction(self._connection()) as connection:
            connection.execute("DELETE FROM vectors")
            connection.execute("INSERT OR IGNORE INTO pending SELECT chunk, doc FROM chunks")
            set_meta(connection, "embedding_model", name)
            set_meta(connection, "embedding_dimensions", dimensions)
            changed = {row[0] for row in connection.execute("SELECT DISTINCT collection FROM documents")}
            set_meta(connection, "vectors_generation", bump(connection, changed))
            (waiting,) = connection.execute("SELECT count(*) FROM pending").fetchone()
        return int(waiting)

    def _insert(
        self, connection: sqlite3.Connection, document: Document, vectors: Sequence[_VectorRow | None], stamp: str
    ) -> None:
        names = list(dict.fromkeys(map(self._hasher.__getitem__, document.names)))
        doc = connection.execute(
            _INSERT_DOCUMENT,
            (
                *(document.collection, document.source, document.id, document.file, document.title, document.url),
                document.language,
                document.valid_from and document.valid_from.isoformat(),
                document.valid_until and document.valid_until.isoformat(),
                *(document.content_hash, document.size, stamp, len(document.chunks)),
                orjson.dumps(document.names).decode(),
                np.array(names, dtype=np.uint64).tobytes(),
                orjson.dumps(document.title_terms).decode(),
            ),
        ).lastrowid
        seen: dict[str, int] = {}
        for chunk, vector in zip(document.chunks, vectors, strict=True):
            seen[chunk.text] = nth = seen.get(chunk.text, -1) + 1
            row = self._chunk_row(chunk)
            number = connection.execute(
                _INSERT_CHUNK, (doc, chunk.ordinal, passage_id(document, chunk, nth), *row)
            ).lastrowid
            if vector is not None:
                connection.execute(_INSERT_VECTORS, (number, *vector))
            else:
                connection.execute("INSERT INTO pending VALUES (?, ?)", (number, doc))
            if chunk.extracted is not None:
                connection.execute("INSERT INTO extracted VALUES (?, ?)", (number, chunk.extracted))

    def _chunk_row(self, chunk: Chunk) -> tuple[object, ...]:
        terms, counts = self._terms(chunk.marked)
        is_folded = chunk.folded is not chunk.marked and chunk.folded != chunk.marked
        folded_terms, folded_counts = self._terms(chunk.folded) if is_folded else (None, None)
        has_head = chunk.embedding_text.endswith(chunk.text)
        names = [sentence.names for sentence in chunk.sentences]
        flat = [name for each in names for name in each]
        return (
            *(chunk.text, chunk.heading, chunk.page, chunk.language, chunk.digest),
            chunk.embedding_text[: len(chunk.embedding_text) - len(chunk.text)] if has_head else None,
            None if has_head else chunk.embedding_text,
            *(chunk.length, terms, counts, folded_terms, folded_counts),
            array("i", [at for sentence in chunk.sentences for at in (sentence.start, sentence.end)]).tobytes(),
            orjson.dumps(names).decode() if flat else None,
            self._hasher.many(flat).tobytes(),
            array("H", [index for index, each in enumerate(names) for _ in each]).tobytes(),
        )

    def _terms(self, terms: Sequence[tuple[str, int]]) -> tuple[bytes, bytes]:
        if not terms:
            return b"", b""
        if isinstance(terms, CountedTerms) and isinstance(terms.counts, bytes):
            counted = np.frombuffer(terms.counts, np.uint8).astype(np.uint16)
            return self._hasher.many(terms.words).tobytes(), counted.tobytes()
        words, counts = zip(*terms, strict=True)
        try:
            packed = array("H", counts)
        except (
            OverflowError
        ):  # a term more than 65,535 times in one chunk; looking at every count took a tenth of `put`
            packed = array("H", [min(count, 65_535) for count in counts])
        return self._hasher.many(words).tobytes(), packed.tobytes()


def pending(connection: sqlite3.Connection, limit: int, after: int) -> tuple[PendingChunk, ...]:
    """Chunks without vectors and the texts to embed for them, in order of ingest; equal ones only once."""
    found: dict[str, PendingChunk] = {}
    for chunk, digest, head, whole, text, spans in connection.execute(
        "SELECT chunk, digest, embedding_head, embedding_text, text, spans FROM pending JOIN chunks USING (chunk)"
        " WHERE chunk > ? ORDER BY chunk LIMIT ?",
        (after, limit),
    ):
        ends = np.frombuffer(spans, dtype=np.int32).tolist()
        sentences = [text[start:end] for start, end in zip(ends[::2], ends[1::2], strict=True)]
        found.setdefault(digest, PendingChunk(key=chunk, texts=(whole or head + text, *sentences)))
    return tuple(found.values())


def passage_id(document: Document, chunk: Chunk, nth: int) -> str:
    """Sixteen URL-safe characters that stay the same while this text stays in this document (`nth`: of equal texts)."""
    identity = "\0".join((document.collection, document.source, document.id, str(nth), chunk.text))
    digest = blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=12).digest()
    return base64.urlsafe_b64encode(digest).decode()


def _known_vectors(connection: sqlite3.Connection, document: Document) -> dict[str, _VectorRow]:
    # From the same collection only: that a text is embedded at once must not tell that another collection holds it.
    rows = {
        digest: connection.execute(_KNOWN_VECTORS, (digest, document.collection)).fetchone()
        for digest in {chunk.digest for chunk in document.chunks}
    }
    return {digest: row for digest, row in rows.items() if row is not None}


def _remember(connection: sqlite3.Connection, name: str, dimensions: int) -> None:
    """Note the model of the first vectors. Raises `EmbeddingMismatch` for any other than theirs."""
    check_embedding(connection, name, dimensions)
    if embedding(connection) is None:
        set_meta(connection, "embedding_model", name)
        set_meta(connection, "embedding_dimensions", dimensions)


def _numbers(connection: sqlite3.Connection, collection: str, ids: Sequence[str], source: str | None) -> list[int]:
    found: list[int] = []
    for part in _slices(ids):
        query = f"SELECT doc FROM documents WHERE collection = ? AND id IN ({_marks(part)})"  # noqa: S608 - only marks
        parameters: list[object] = [collection, *part]
        if source is not None:
            query, parameters = query + " AND source = ?", [*parameters, source]
        found.extend(row[0] for row in connection.execute(query, parameters))
    return found


def _is_same(connection: sqlite3.Connection, document: Document) -> bool:
    """Whether the document that is there was made of the same text."""
    row = connection.execute(
        "SELECT content_hash, chunks FROM documents WHERE collection = ? AND source = ? AND id = ?",
        (document.collection, document.source, document.id),
    ).fetchone()
    return row is not None and row == (document.content_hash, len(document.chunks))


def _delete(connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
    for number in numbers:
        connection.execute("DELETE FROM documents WHERE doc = ?", (number,))
        last = connection.execute("INSERT INTO removed (doc) VALUES (?)", (number,)).lastrowid or 0
        if last % 1000 == 0:
            connection.execute("DELETE FROM removed WHERE seq <= ?", (last - _REMOVED_KEPT,))
            set_meta(connection, "removed_floor", max(0, last - _REMOVED_KEPT))


def _waiting(connection: sqlite3.Connection, keys: Iterable[int]) -> list[tuple[int, int, int, str]]:
    """(chunk, key whose vectors it gets, sentences, collection) of everything pending that these keys stand for."""
    found = []
    for key in keys:
        found += connection.execute(
            "SELECT p.chunk, ?1, length(c.spans) / 8, d.collection FROM chunks k JOIN chunks c ON c.digest = k.digest"
            " JOIN pending p ON p.chunk = c.chunk JOIN documents d ON d.doc = c.doc"
            " WHERE k.chunk = ?1",
            (key,),
        ).fetchall()
    return found


def _vector_row(matrix: Vectors, dimensions: int) -> _VectorRow:
    if matrix.ndim != 2 or matrix.shape[1] != dimensions or not 0 < dimensions <= MAX_DIMENSIONS:
        raise InputError(
            f"vectors of shape {matrix.shape} do not have {dimensions} dimensions (at most {MAX_DIMENSIONS})"
        )
    if not np.isfinite(matrix).all():
        raise InputError("the embedder returned a vector that is not finite; check EMBEDDING_MODEL and its server")
    sentences = quantised(matrix[1:])
    return fixed_point(matrix[0]).astype(np.int16).tobytes(), sentences.rows.tobytes(), sentences.scales.tobytes()


def _stored_row(vectors: StoredVectors) -> _VectorRow:
    rows, scales = vectors.sentences
    return vectors.as_fixed_point().tobytes(), rows.tobytes(), scales.tobytes()


def _slices(values: Sequence[str]) -> Iterable[Sequence[str]]:
    return (values[start : start + _SLICE] for start in range(0, len(values), _SLICE))


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))
