"""What admins and ingest read of `knowledge.db`: listings, counts, one passage. Functions of one connection."""

from __future__ import annotations

import base64
import binascii
import sqlite3
from collections.abc import Mapping
from datetime import date, datetime

import orjson

from rag.errors import InputError
from rag.ports import CollectionCounts, DocumentPage, Ingested, StoredDocument
from rag.retrieval.view import ChunkInfo
from rag.stores.schema import meta

_DOCUMENT = """
SELECT collection, source, id, file, title, url, language, valid_from, valid_until, content_hash, size, chunks,
       (SELECT count(*) FROM pending WHERE pending.doc = documents.doc), updated_at,
       (SELECT count(*) FROM extracted JOIN chunks c USING (chunk) WHERE c.doc = documents.doc)
FROM documents
"""
_PASSAGE = """
SELECT passage_id, id, source, title, collection, text, heading, page, url, chunks.language
FROM chunks JOIN documents USING (doc)
WHERE passage_id = ? AND ifnull(valid_from, '') <= ? AND ifnull(valid_until, '9999-12-31') >= ?
"""


def documents(
    connection: sqlite3.Connection,
    collections: frozenset[str],
    *,
    after: str | None,
    limit: int,
    source: str | None,
) -> DocumentPage:
    """A page of documents, by (collection, source, id)."""
    if not collections:
        return DocumentPage(documents=(), after=None)
    names = sorted(collections)
    where = [f"collection IN ({', '.join('?' * len(names))})"]
    parameters: list[object] = [*names]
    if source is not None:
        where.append("source = ?")
        parameters.append(source)
    if after is not None:
        where.append("(collection, source, id) > (?, ?, ?)")
        parameters.extend(_place(after))
    query = f"{_DOCUMENT} WHERE {' AND '.join(where)} ORDER BY collection, source, id LIMIT ?"
    rows = connection.execute(query, (*parameters, limit + 1)).fetchall()
    found = tuple(_document(row) for row in rows[:limit])
    return DocumentPage(documents=found, after=_cursor(found[-1]) if len(rows) > limit and found else None)


def document(connection: sqlite3.Connection, collection: str, id_: str, source: str | None) -> StoredDocument | None:
    """One document; the latest written where several sources have one of that id."""
    query = f"{_DOCUMENT} WHERE collection = ? AND id = ? AND source = ifnull(?, source) ORDER BY doc DESC LIMIT 1"
    row = connection.execute(query, (collection, id_, source)).fetchone()
    return None if row is None else _document(row)


def ingested(connection: sqlite3.Connection, collection: str, source: str) -> Mapping[str, Ingested]:
    """By document id, everything from this source."""
    query = "SELECT id, content_hash, file FROM documents WHERE collection = ? AND source = ?"
    return {
        id_: Ingested(content_hash=content_hash, file=file)
        for id_, content_hash, file in connection.execute(query, (collection, source))
    }


def counts(connection: sqlite3.Connection) -> Mapping[str, CollectionCounts]:
    """By collection that holds documents."""
    query = """
    SELECT collection, count(*), sum(chunks),
           (SELECT count(*) FROM pending JOIN documents d USING (doc) WHERE d.collection = documents.collection)
    FROM documents GROUP BY collection ORDER BY collection
    """
    return {
        name: CollectionCounts(documents=documents_, chunks=chunks, pending=pending)
        for name, documents_, chunks, pending in connection.execute(query)
    }


def epoch(connection: sqlite3.Connection, collections: frozenset[str]) -> int:
    """The number of the last change to one of these collections."""
    rows = connection.execute("SELECT name, epoch FROM collections").fetchall()
    return max((epoch_ for name, epoch_ in rows if name in collections), default=0)


def passage(
    connection: sqlite3.Connection, passage_id: str, collections: frozenset[str], today: date
) -> ChunkInfo | None:
    """One chunk of a document that is valid today; None too when it is not permitted."""
    row = connection.execute(_PASSAGE, (passage_id, today.isoformat(), today.isoformat())).fetchone()
    if row is None or row[4] not in collections:
        return None
    names = ("passage_id", "document", "source", "title", "collection", "text", "heading", "page", "url", "language")
    return ChunkInfo(**dict(zip(names, row, strict=True)))


def check(connection: sqlite3.Connection) -> str | None:
    """What SQLite finds wrong with the file, if anything; reads all of it."""
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    return None if found == "ok" else str(found)


def vectors_generation(connection: sqlite3.Connection) -> int:
    """Changes whenever vectors that were attached are taken away again."""
    return int(meta(connection, "vectors_generation") or 0)


def _document(row: tuple[object, ...]) -> StoredDocument:
    names = (
        *("collection", "source", "id", "file", "title", "url", "language", "valid_from", "valid_until"),
        *("content_hash", "size", "chunks", "pending", "updated_at", "extracted"),
    )
    values: dict[str, object] = dict(zip(names, row, strict=True))
    for name in ("valid_from", "valid_until"):
        values[name] = date.fromisoformat(str(values[name])) if values[name] else None
    values["updated_at"] = datetime.fromisoformat(str(values["updated_at"]))
    return StoredDocument(**values)  # type: ignore[arg-type] # the columns' types are those of a strict table


def _cursor(last: StoredDocument) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([last.collection, last.source, last.id])).decode()


def _place(cursor: str) -> tuple[str, str, str]:
    try:
        collection, source, id_ = orjson.loads(base64.urlsafe_b64decode(cursor.encode()))
        return str(collection), str(source), str(id_)
    except (ValueError, TypeError, binascii.Error) as error:
        raise InputError("`after` is not the end of a page: use the value that the previous page gave") from error
