"""What language models found in the chunks of `knowledge.db`. Functions of one connection.

The table came later than the others and is added to older files: a version that does not know it loses nothing but
what it replaces.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

import numpy as np

from rag.extracted import UnreadChunk, with_found
from rag.records import Document
from rag.stores.connection import transaction

TABLE = """
CREATE TABLE IF NOT EXISTS extracted (
    chunk INTEGER PRIMARY KEY REFERENCES chunks ON DELETE CASCADE,
    found TEXT NOT NULL          -- see rag/extracted.py
) STRICT
"""
_UNREAD = """
SELECT chunk, digest, embedding_head, embedding_text, text, spans, id
FROM chunks JOIN documents USING (doc)
WHERE chunk > ? AND collection = ? AND NOT EXISTS (SELECT 1 FROM extracted WHERE extracted.chunk = chunks.chunk)
ORDER BY chunk LIMIT ?
"""
_OF_COLLECTION = """
SELECT digest, found FROM extracted JOIN chunks USING (chunk) JOIN documents USING (doc) WHERE collection = ?
"""
_KNOWN = """
SELECT found FROM chunks JOIN extracted USING (chunk) JOIN documents USING (doc)
WHERE digest = ? AND collection = ? LIMIT 1
"""
_KEEP = """
INSERT OR REPLACE INTO extracted
SELECT chunk, ? FROM chunks JOIN documents USING (doc) WHERE digest = ? AND collection = ?
"""


def unread(connection: sqlite3.Connection, collection: str, limit: int, after: int) -> tuple[UnreadChunk, ...]:
    """Chunks of the collection that no model has read, in order of ingest; equal ones only once."""
    found: dict[str, UnreadChunk] = {}
    for key, digest, head, whole, text, spans, document in connection.execute(_UNREAD, (after, collection, limit)):
        ends = np.frombuffer(spans, dtype=np.int32).tolist()
        sentences = tuple(text[start:end] for start, end in zip(ends[::2], ends[1::2], strict=True))
        found.setdefault(
            digest,
            UnreadChunk(
                key=key,
                digest=digest,
                # What does not end with the text is told as a whole: it depends on the same things.
                head=head if whole is None else whole,
                sentences=sentences,
                document=document,
            ),
        )
    return tuple(found.values())


def keep(connection: sqlite3.Connection, collection: str, found: Mapping[str, str]) -> None:
    """Keep what was found in chunks of these digests. Readers see nothing of it yet, so no epoch changes."""
    with transaction(connection):
        connection.executemany(_KEEP, [(text, digest, collection) for digest, text in found.items()])


def of_collection(connection: sqlite3.Connection, collection: str) -> dict[str, str]:
    """By digest, what was found in this collection."""
    return dict(connection.execute(_OF_COLLECTION, (collection,)).fetchall())


def with_known(connection: sqlite3.Connection, document: Document) -> Document:
    """`document` with what was found in chunks of the same digests in its collection."""
    # From the same collection only: names of another must not come in this way.
    known = {}
    for digest in {chunk.digest for chunk in document.chunks}:
        row = connection.execute(_KNOWN, (digest, document.collection)).fetchone()
        if row is not None:
            known[digest] = row[0]
    return with_found(document, known)


def are_there(connection: sqlite3.Connection) -> bool:
    """Whether a model has ever read anything here."""
    return connection.execute("SELECT 1 FROM extracted LIMIT 1").fetchone() is not None
