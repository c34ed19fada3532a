"""Documents of `knowledge.db` as they were ingested, with their vectors, page by page. Functions of one connection."""

from __future__ import annotations

import sqlite3
from datetime import date

import numpy as np
import orjson

from rag.records import Chunk, Document, Sentence
from rag.stores import schema
from rag.stores.connection import transaction
from rag.stores.vectors import Quantised
from rag.transfer.ports import Dumped, DumpPage, Embedding, StoredVectors

_DOCUMENTS = """
SELECT doc, chunks, collection, source, id, file, title, url, language, valid_from, valid_until, content_hash, size,
       names, title_terms
FROM documents WHERE doc > ? ORDER BY doc
"""
_CHUNKS = """
SELECT ordinal, text, heading, page, language, digest, embedding_head, embedding_text, spans, names,
       found, vector, sentences, scales
FROM chunks LEFT JOIN vectors USING (chunk) LEFT JOIN extracted USING (chunk) WHERE doc = ? ORDER BY ordinal
"""


def embedding(connection: sqlite3.Connection) -> Embedding | None:
    """The model of the stored vectors; None as long as there are none."""
    known = schema.embedding(connection)
    return None if known is None else Embedding(*known)


def page(connection: sqlite3.Connection, collections: frozenset[str], after: int, limit: int) -> DumpPage:
    """The next documents of these collections, as many as have `limit` chunks, but at least one."""
    with transaction(connection, "DEFERRED"):
        model = embedding(connection)
        found: list[Dumped] = []
        total, last = 0, None
        documents = connection.execute(_DOCUMENTS, (after,))
        for number, count, *row in documents:
            if row[0] not in collections:
                continue
            if found and total + count > limit:
                documents.close()
                return DumpPage(documents=tuple(found), embedding=model, after=last)
            found.append(_dumped(connection, number, row, model))
            total, last = total + count, number
    return DumpPage(documents=tuple(found), embedding=model, after=None)


def _dumped(connection: sqlite3.Connection, number: int, row: list[object], model: Embedding | None) -> Dumped:
    names = (
        *("collection", "source", "id", "file", "title", "url", "language", "valid_from", "valid_until"),
        *("content_hash", "size", "names", "title_terms"),
    )
    values = dict(zip(names, row, strict=True))
    for name in ("valid_from", "valid_until"):
        values[name] = date.fromisoformat(str(values[name])) if values[name] else None
    for name in ("names", "title_terms"):
        values[name] = tuple(orjson.loads(str(values[name])))
    chunks, vectors = [], []
    for chunk in connection.execute(_CHUNKS, (number,)):
        chunks.append(_chunk(chunk[:11]))
        vectors.append(_vectors(chunk[11:], model.dimensions) if model and chunk[11] is not None else None)
    # The columns' types are those of a strict table.
    document = Document(chunks=tuple(chunks), **values)  # type: ignore[arg-type]
    return Dumped(document=document, vectors=tuple(vectors))


def _chunk(row: tuple[object, ...]) -> Chunk:
    ordinal, text, heading, page_, language, digest, head, whole, spans, names, found = row
    ends = np.frombuffer(spans, dtype=np.int32).tolist()  # type: ignore[call-overload]  # a blob
    named = orjson.loads(str(names)) if names else [()] * (len(ends) // 2)
    sentences = zip(ends[::2], ends[1::2], named, strict=True)
    values: dict[str, object] = {"ordinal": ordinal, "text": text, "heading": heading, "page": page_}
    values |= {"language": language, "digest": digest, "embedding_text": f"{head}{text}" if whole is None else whole}
    values["extracted"] = found
    return Chunk(
        marked=(),
        folded=(),
        length=0,
        sentences=tuple(Sentence(start, end, tuple(each)) for start, end, each in sentences),
        **values,  # type: ignore[arg-type]  # likewise
    )


def _vectors(row: tuple[bytes, bytes, bytes], dimensions: int) -> StoredVectors:
    vector, sentences, scales = row
    return StoredVectors(
        chunk=np.frombuffer(vector, np.int16),
        sentences=Quantised(
            np.frombuffer(sentences, np.int8).reshape(-1, dimensions), np.frombuffer(scales, np.float32)
        ),
    )
