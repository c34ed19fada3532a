"""What language models found in chunks of the graph: a property of each, beside the relations between names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rag.extracted import UnreadChunk, with_found
from rag.records import Document
from rag.stores.neo4j.connection import Connection, Transaction
from rag.stores.neo4j.schema import label

_SECONDS = 120.0
_UNREAD = """
MATCH (c:{label}) WHERE c.key > $after AND c.extracted IS NULL
WITH c ORDER BY c.key LIMIT $limit
MATCH (d:Document {{number: c.document}})
RETURN c.key, c.digest, c.embedding_head, c.embedding_text, c.text, c.spans, d.id
"""
_OF_COLLECTION = "MATCH (c:{label}) WHERE c.extracted IS NOT NULL RETURN c.digest, c.extracted"
# The mark spares every later write the question which of its chunks are known.
_KEEP = """
MATCH (k:Collection {name: $collection}) SET k.extracted = true
WITH k UNWIND $found AS row
MATCH (c:Chunk {digest: row[0]}) WHERE c.collection = $collection AND NOT c:Stale
SET c.extracted = row[1]
"""
_MARK = "MATCH (k:Collection {name: $collection}) SET k.extracted = true"
_KNOWN = """
UNWIND $digests AS digest
MATCH (c:Chunk {digest: digest}) WHERE c.collection = $collection AND c.extracted IS NOT NULL AND NOT c:Stale
RETURN digest, head(collect(c.extracted))
"""
_HASHES = """
UNWIND $identities AS i
MATCH (d:Document {collection: $collection, source: i[0], id: i[1]})
RETURN d.source, d.id, d.content_hash, d.chunks
"""


async def unread(connection: Connection, collection: str, limit: int, after: int) -> tuple[UnreadChunk, ...]:
    """Chunks of the collection that no model has read, in order of ingest; equal ones only once."""
    rows = await connection.read(
        _UNREAD.format(label=label(collection)), {"after": after, "limit": limit}, seconds=_SECONDS
    )
    found: dict[str, UnreadChunk] = {}
    for key, digest, head, whole, text, spans, document in rows:
        sentences = tuple(text[start:end] for start, end in zip(spans[::2], spans[1::2], strict=True))
        chunk = UnreadChunk(
            key=key, digest=digest, head=head if whole is None else whole, sentences=sentences, document=document
        )
        found.setdefault(digest, chunk)
    return tuple(found.values())


async def keep(transaction: Transaction, collection: str, found: Mapping[str, str]) -> None:
    """Keep what was found in chunks of these digests. Questions see nothing of it yet, so no epoch changes."""
    result = await transaction.run(_KEEP, {"collection": collection, "found": [list(row) for row in found.items()]})
    await result.consume()


async def mark(transaction: Transaction, collection: str) -> None:
    """Note that there are chunks of the collection that a model has read."""
    await (await transaction.run(_MARK, {"collection": collection})).consume()


async def of_collection(connection: Connection, collection: str) -> dict[str, str]:
    """By digest, what was found in this collection."""
    rows = await connection.read(_OF_COLLECTION.format(label=label(collection)), seconds=_SECONDS)
    return {str(digest): str(found) for digest, found in rows}


async def with_known(transaction: Transaction, collection: str, documents: Sequence[Document]) -> list[Document]:
    """These documents with what was found in chunks of the same digests in their collection."""
    digests = sorted({chunk.digest for document in documents for chunk in document.chunks})
    result = await transaction.run(_KNOWN, {"digests": digests, "collection": collection})
    known = {record[0]: record[1] async for record in result}
    return [with_found(document, known) for document in documents]


async def same(transaction: Transaction, collection: str, documents: Sequence[Document]) -> list[Document]:
    """Those of which the database holds the same text."""
    identities = [[document.source, document.id] for document in documents]
    result = await transaction.run(_HASHES, {"collection": collection, "identities": identities})
    there = [tuple(record.values()) async for record in result]
    return [each for each in documents if (each.source, each.id, each.content_hash, len(each.chunks)) in there]
