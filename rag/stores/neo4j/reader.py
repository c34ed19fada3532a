"""What admins and ingest read of the graph: listings, counts, what waits. Every one is a single query."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import date, datetime

import orjson

from rag.errors import InputError
from rag.ports import CollectionCounts, DocumentPage, Ingested, StoredDocument
from rag.stores.neo4j.connection import Connection, Row
from rag.stores.neo4j.statistics import ALWAYS_FROM, ALWAYS_UNTIL

PENDING = """
MATCH (c:Pending) WHERE c.key > $after
RETURN c.key, c.digest, c.embedding_head, c.embedding_text, c.text, c.spans ORDER BY c.key LIMIT $limit
"""
_FIELDS = """
d.collection, d.source, d.id, d.file, d.title, d.url, d.language, d.valid_from, d.valid_until, d.content_hash, d.size,
d.chunks, COUNT { (d)-[:HAS]->(:Pending) }, d.updated_at,
COUNT { (d)-[:HAS]->(c:Chunk) WHERE c.extracted IS NOT NULL }
"""
_DOCUMENTS = f"""
MATCH (d:Document) WHERE d.collection IN $collections AND ($source IS NULL OR d.source = $source)
  AND ($after IS NULL OR d.collection > $after[0] OR (d.collection = $after[0]
       AND (d.source > $after[1] OR (d.source = $after[1] AND d.id > $after[2]))))
WITH d ORDER BY d.collection, d.source, d.id LIMIT $limit
RETURN {_FIELDS}
"""
_DOCUMENT = f"""
MATCH (d:Document {{collection: $collection, id: $id}}) WHERE $source IS NULL OR d.source = $source
WITH d ORDER BY d.number DESC LIMIT 1
RETURN {_FIELDS}
"""


async def documents(
    connection: Connection, collections: frozenset[str], *, after: str | None, limit: int, source: str | None
) -> DocumentPage:
    """A page of documents, by (collection, source, id)."""
    rows = await connection.read(
        _DOCUMENTS,
        {
            "collections": sorted(collections),
            "source": source,
            "after": None if after is None else _place(after),
            "limit": limit + 1,
        },
    )
    found = tuple(_document(row) for row in rows[:limit])
    return DocumentPage(documents=found, after=_cursor(found[-1]) if len(rows) > limit and found else None)


async def document(connection: Connection, collection: str, id_: str, source: str | None) -> StoredDocument | None:
    """One document; the latest written where several sources have one of that id."""
    rows = await connection.read(_DOCUMENT, {"collection": collection, "id": id_, "source": source})
    return _document(rows[0]) if rows else None


async def ingested(connection: Connection, collection: str, source: str) -> Mapping[str, Ingested]:
    """By document id, everything from this source."""
    rows = await connection.read(
        "MATCH (d:Document {collection: $collection, source: $source}) RETURN d.id, d.content_hash, d.file",
        {"collection": collection, "source": source},
        seconds=60.0,
    )
    return {id_: Ingested(content_hash=content_hash, file=file) for id_, content_hash, file in rows}


async def counts(connection: Connection) -> Mapping[str, CollectionCounts]:
    """By collection that holds documents."""
    rows = await connection.read(
        "MATCH (k:Collection) WHERE k.documents > 0 RETURN k.name, k.documents, k.chunks, k.pending ORDER BY k.name"
    )
    return {
        name: CollectionCounts(documents=documents_, chunks=chunks, pending=pending)
        for name, documents_, chunks, pending in rows
    }


async def epoch(connection: Connection, collections: frozenset[str]) -> int:
    """The number of the last change to one of these collections."""
    rows = await connection.read(
        "MATCH (k:Collection) WHERE k.name IN $names RETURN max(k.epoch)", {"names": sorted(collections)}
    )
    return int(rows[0][0] or 0)


async def embedding(connection: Connection) -> tuple[str, int] | None:
    """Name and dimensions of the model that the vectors come from; None as long as there are none."""
    rows = await connection.read(
        "MATCH (m:Grapevine {id: 0}) WHERE m.embedder IS NOT NULL RETURN m.embedder, m.dimensions"
    )
    return (str(rows[0][0]), int(rows[0][1])) if rows else None


def _document(row: Row) -> StoredDocument:
    collection, source, id_, file, title, url, language, since, until, content_hash, size, *counts_ = row
    chunks, pending, at, read = counts_
    return StoredDocument(
        collection=collection,
        source=source,
        id=id_,
        file=file,
        title=title,
        url=url,
        language=language,
        valid_from=None if since == ALWAYS_FROM else date.fromisoformat(since),
        valid_until=None if until == ALWAYS_UNTIL else date.fromisoformat(until),
        content_hash=content_hash,
        size=size,
        chunks=chunks,
        pending=pending,
        updated_at=datetime.fromisoformat(at),
        extracted=read,
    )


def _cursor(last: StoredDocument) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([last.collection, last.source, last.id])).decode()


def _place(cursor: str) -> list[str]:
    try:
        collection, source, id_ = orjson.loads(base64.urlsafe_b64decode(cursor.encode()))
    except (ValueError, TypeError, binascii.Error) as error:
        raise InputError("`after` is not the end of a page: use the value that the previous page gave") from error
    return [str(collection), str(source), str(id_)]
