"""Every change to the graph, as functions of one transaction: batched `UNWIND`s, whole or not at all.

Writers take turns (`begin`): large batches one after the other are as fast as several at once, and never deadlock.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rag.errors import EmbeddingMismatch, InputError
from rag.ports import PendingChunk, Vectors
from rag.records import Document
from rag.stores.neo4j import extracted, faqs
from rag.stores.neo4j.connection import Row, Transaction
from rag.stores.neo4j.rows import Former, Given, Prepared
from rag.stores.neo4j.schema import VERSION, embedding, label
from rag.stores.neo4j.statistics import ALWAYS_FROM, ALWAYS_UNTIL, MERGE_FROM, Tally, delta_of, merged

_VECTORS_AT_ONCE = 20
"""Packing 384 floats takes the driver about a millisecond, during which nothing else runs."""

_OLD = """
UNWIND $identities AS i
MATCH (d:Document {collection: $collection, source: i[0], id: i[1]})
OPTIONAL MATCH (d)-[:HAS]->(c:Chunk) WHERE NOT c:Stale
RETURN d.number, d.id, d.valid_from, d.valid_until, d.names, c.key, c.card, c.language, c:Pending
"""
_FIND = """
UNWIND $ids AS id
MATCH (d:Document {collection: $collection, id: id}) WHERE $source IS NULL OR d.source = $source
RETURN d.source, d.id
"""
_PUT_DOCUMENTS = """
UNWIND $documents AS row
MERGE (d:Document {collection: row.collection, source: row.source, id: row.id})
SET d = row REMOVE d:Dated
FOREACH (_ IN CASE WHEN row.valid_from = $always[0] AND row.valid_until = $always[1] THEN [] ELSE [1] END | SET d:Dated)
"""
_PUT_CHUNKS = """
UNWIND $chunks AS row
MATCH (d:Document {{number: row.document}})
CREATE (d)-[:HAS]->(c:Chunk:Pending:{label})
SET c = row
FOREACH (_ IN CASE WHEN row.valid_until IS NULL THEN [] ELSE [1] END | SET c:Dated)
"""
PUT_NEXT = """
UNWIND $numbers AS number
MATCH (d:Document {number: number})-[:HAS]->(c:Chunk {document: number})
WITH d, c ORDER BY c.key
WITH d, collect(c) AS chunks
UNWIND range(0, size(chunks) - 2) AS i
WITH chunks[i] AS a, chunks[i + 1] AS b
CREATE (a)-[:NEXT]->(b)
"""
PUT_MENTIONS = """
UNWIND $names AS row
MERGE (e:Entity {collection: $collection, name: row[0]}) ON CREATE SET e.documents = 0, e.titles = 0
SET e.documents = e.documents + row[1]
WITH e, row UNWIND row[2] AS at
MATCH (c:Chunk {key: at[0]})
CREATE (c)-[:MENTIONS {sentences: at[1]}]->(e)
"""
PUT_ANSWERS = """
UNWIND $names AS row
MERGE (e:Entity {collection: $collection, name: row[0]}) ON CREATE SET e.documents = 0, e.titles = 0
SET e.titles = e.titles + size(row[1]), e:Titled
WITH e, row UNWIND row[1] AS number
MATCH (d:Document {number: number})
CREATE (d)-[:ANSWERS]->(e)
"""
_PUT_RELATED = """
UNWIND $related AS row
MATCH (a:Entity {collection: $collection, name: row[0]}), (b:Entity {collection: $collection, name: row[2]})
CREATE (a)-[:RELATED {relation: row[1], chunk: row[3]}]->(b)
"""
_DROP_RELATED = "UNWIND $keys AS key MATCH ()-[r:RELATED {chunk: key}]->() DELETE r"
_KEEP_VECTORS = """
UNWIND $digests AS row
MATCH (old:Chunk {digest: row[0]}) WHERE old.collection = $collection AND old.embedding IS NOT NULL
WITH row, head(collect(old)) AS old
UNWIND row[1] AS key
MATCH (c:Chunk {key: key})
SET c.embedding = old.embedding, c.vectors = old.vectors
REMOVE c:Pending
RETURN count(c)
"""
# A query may run while a commit is being applied: the nodes change first, then the indexes. What an index finds then is
# stale, and seen to be; were it gone already, the document would seem to hold nothing.
_RETIRE = """
UNWIND $keys AS key
MATCH (c:Chunk {{key: key}})
REMOVE c:{label} REMOVE c:Pending SET c:Stale
"""
STALE = "MATCH (c:Stale) RETURN c.key LIMIT 1000"
# Counts are taken back document by document, as they were added.
_DROP_CHUNKS = """
UNWIND $keys AS key
MATCH (c:Chunk {key: key})
OPTIONAL MATCH (c)-[:MENTIONS]->(e:Entity)
WITH c, collect(e) AS es
WITH c.document AS document, collect(c) AS chunks, collect(es) AS nested
CALL (nested) {
  UNWIND nested AS es UNWIND es AS e
  WITH DISTINCT e
  SET e.documents = e.documents - 1
  RETURN collect(e) AS touched
}
FOREACH (c IN chunks | DETACH DELETE c)
WITH touched UNWIND touched AS e
WITH DISTINCT e WHERE NOT EXISTS { (e)--() }
DELETE e
"""
_DROP_ANSWERS = """
UNWIND $numbers AS number
MATCH (d:Document {number: number})-[a:ANSWERS]->(e:Entity)
SET e.titles = e.titles - 1
DELETE a
WITH DISTINCT e WHERE e.titles <= 0
REMOVE e:Titled
WITH e WHERE NOT EXISTS { (e)--() }
DELETE e
"""
_ATTACH = """
UNWIND $rows AS row
MATCH (c:Chunk {key: row[0]})
SET c.embedding = row[1], c.vectors = row[2]
REMOVE c:Pending
"""
# By the index of digests: to look through all that waits made 50,000 chunks take two hours.
_WAITING = """
UNWIND $keys AS key
MATCH (k:Chunk {key: key})
MATCH (c:Chunk {digest: k.digest}) WHERE c:Pending
RETURN c.key, key, size(c.spans) / 2, c.collection
"""
_COUNT = """
MERGE (k:Collection {name: $collection})
ON CREATE SET k.documents = 0, k.chunks = 0, k.pending = 0, k.texts = 0, k.vectors = false
SET k.epoch = $epoch, k.documents = k.documents + $documents, k.chunks = k.chunks + $chunks,
    k.pending = k.pending + $pending
"""


async def begin(transaction: Transaction, count: int = 0) -> int:
    """Wait until no other writer is at work; the first of `count` + 1 fresh numbers, the last being the epoch."""
    # Writing first takes the lock before the number is read.
    # MERGE, because an operator may empty the database (but not its schema) under a running process.
    result = await transaction.run(
        "MERGE (m:Grapevine {id: 0}) ON CREATE SET m.version = $version, m.next = 1, m.faq_version = 0"
        " SET m.writer = true WITH m SET m.next = m.next + $count RETURN m.next - $count",
        version=VERSION,
        count=count + 1,
    )
    record = await result.single(strict=True)
    return int(record[0])


async def put(
    transaction: Transaction,
    collection: str,
    documents: Sequence[Document],
    now: datetime,
    given: Given | None = None,
    *,
    is_enriched: bool = False,
) -> int:
    """Write documents of one collection, each in place of its former version; vectors of unchanged chunks stay.

    `is_enriched`: they got other names only, so those that changed meanwhile stay as they are, and no answer goes
    stale. Returns how many chunks are stale now, for `sweep`.
    """
    given = given or {}
    documents = list({(document.source, document.id): document for document in documents}.values())
    total = sum(len(document.chunks) for document in documents)
    first = await begin(transaction, len(documents) + total)
    if is_enriched:
        documents = await extracted.same(transaction, collection, documents)
        total = sum(len(document.chunks) for document in documents)
        if not documents:
            return 0
    documents = await extracted.with_known(transaction, collection, documents)
    tally, prepared = Tally(), Prepared(documents, first, now)
    former = Former(await _rows(transaction, _OLD, collection=collection, identities=prepared.identities))
    former.take_off(tally)
    prepared.add_to(tally)
    await _run(transaction, _DROP_ANSWERS, numbers=former.numbers)
    await _run(transaction, _PUT_DOCUMENTS, documents=prepared.documents, always=[ALWAYS_FROM, ALWAYS_UNTIL])
    await _run(transaction, _PUT_CHUNKS.format(label=label(collection)), chunks=prepared.chunks)
    await _run(transaction, PUT_NEXT, numbers=[row["number"] for row in prepared.documents if row["chunks"] > 1])
    await _run(transaction, PUT_MENTIONS, collection=collection, names=prepared.mentions)
    await _run(transaction, PUT_ANSWERS, collection=collection, names=prepared.answers)
    if prepared.related:
        await _run(transaction, _PUT_RELATED, collection=collection, related=prepared.related)
    brought = [[key, *given[place]] for place, key in prepared.places.items() if place in given]
    await _set_vectors(transaction, brought)
    kept = await _rows(transaction, _KEEP_VECTORS, collection=collection, digests=prepared.digests(but=given))
    await _run(transaction, _RETIRE.format(label=label(collection)), keys=former.keys)
    if not is_enriched:
        await faqs.outdate(transaction, collection, former.ids)
    await _count(
        transaction,
        collection,
        epoch=first + len(documents) + total,
        documents=len(documents) - len(former.numbers),
        chunks=total - len(former.keys),
        pending=total - len(brought) - sum(row[0] for row in kept) - former.pending,
    )
    await _keep_statistics(transaction, collection, tally)
    return len(former.keys)


async def sweep(transaction: Transaction) -> int:
    """Delete stale chunks, a thousand at a time; how many there were."""
    await begin(transaction)
    keys = [row[0] for row in await _rows(transaction, STALE)]
    await _run(transaction, _DROP_RELATED, keys=keys)
    await _run(transaction, _DROP_CHUNKS, keys=keys)
    return len(keys)


async def remove(transaction: Transaction, collection: str, ids: Sequence[str], source: str | None) -> int:
    """Remove documents with everything that hangs on them; how many there were."""
    found = await _rows(transaction, _FIND, collection=collection, ids=list(dict.fromkeys(ids)), source=source)
    if not found:
        return 0
    epoch = await begin(transaction)
    former = Former(await _rows(transaction, _OLD, collection=collection, identities=found))
    tally = Tally()
    former.take_off(tally)
    await _run(transaction, _DROP_ANSWERS, numbers=former.numbers)
    await _run(transaction, _DROP_RELATED, keys=former.keys)
    await _run(transaction, _DROP_CHUNKS, keys=former.keys)
    await _run(
        transaction, "UNWIND $numbers AS n MATCH (d:Document {number: n}) DETACH DELETE d", numbers=former.numbers
    )
    await faqs.outdate(transaction, collection, former.ids)
    await _count(
        transaction,
        collection,
        epoch=epoch,
        documents=-len(former.numbers),
        chunks=-len(former.keys),
        pending=-former.pending,
    )
    await _keep_statistics(transaction, collection, tally)
    return len(former.numbers)


async def attach(
    transaction: Transaction, name: str, dimensions: int, vectors: Mapping[int, tuple[Vectors, bytes]]
) -> Counter[str]:
    """Give chunks their vectors (and all that wait for the same ones); how many got some, by collection."""
    epoch = await begin(transaction)
    check_embedding(await embedding(transaction), name, dimensions)
    waiting = await _rows(transaction, _WAITING, keys=list(vectors))
    rows = []
    for chunk, key, sentences, _ in waiting:
        matrix, packed = vectors[key]
        if len(matrix) != sentences + 1:
            raise InputError(f"chunk {key} has {sentences} sentences, but {len(matrix) - 1} vectors came")
        rows.append([chunk, matrix[0].tolist(), packed])
    await _set_vectors(transaction, rows)
    if rows:
        await remember(transaction, name, dimensions)
    changed = Counter(str(row[3]) for row in waiting)
    for collection, count in changed.items():
        await _count(transaction, collection, epoch=epoch, pending=-count)
    return changed


async def forget_vectors(transaction: Transaction, name: str, dimensions: int, batch: int) -> int:
    """Take the vectors off up to `batch` chunks and name the new model; how many chunks had some."""
    epoch = await begin(transaction)
    await remember(transaction, name, dimensions)
    changed = await _rows(
        transaction,
        "MATCH (c:Chunk) WHERE NOT c:Pending AND NOT c:Stale WITH c LIMIT $batch"
        " REMOVE c.embedding, c.vectors SET c:Pending RETURN c.collection, count(*)",
        batch=batch,
    )
    for collection, count in changed:
        await _count(transaction, collection, epoch=epoch, pending=count)
    return sum(count for _, count in changed)


async def remember(transaction: Transaction, name: str, dimensions: int) -> None:
    """Which model the vectors come from."""
    await _run(
        transaction,
        "MATCH (m:Grapevine {id: 0}) SET m.embedder = $name, m.dimensions = $dimensions",
        name=name,
        dimensions=dimensions,
    )


async def _set_vectors(transaction: Transaction, rows: Sequence[list[Any]]) -> None:
    for start in range(0, len(rows), _VECTORS_AT_ONCE):
        await _run(transaction, _ATTACH, rows=rows[start : start + _VECTORS_AT_ONCE])


def check_embedding(known: tuple[str, int] | None, name: str, dimensions: int) -> None:
    """Raises `EmbeddingMismatch` unless there are no vectors yet, or this model's."""
    if known is not None and known != (name, dimensions):
        raise EmbeddingMismatch(
            f"the stored vectors come from {known[0]} ({known[1]} dimensions), not from {name} ({dimensions}). "
            f"Set EMBEDDING_MODEL back, or run `grapevine ingest --re-embed` to compute them anew."
        )


def pending_chunks(rows: Sequence[Row]) -> tuple[PendingChunk, ...]:
    """Of rows (key, digest, head, whole, text, spans): what to embed; equal digests only once."""
    found: dict[str, PendingChunk] = {}
    for key, digest, head, whole, text, spans in rows:
        sentences = [text[start:end] for start, end in zip(spans[::2], spans[1::2], strict=True)]
        found.setdefault(digest, PendingChunk(key=key, texts=(whole or head + text, *sentences)))
    return tuple(found.values())


async def _keep_statistics(transaction: Transaction, collection: str, tally: Tally) -> None:
    # Random, not counted: nobody takes the statistics of an emptied database for those of a new one.
    latest = secrets.randbits(62)
    deltas = tally.deltas()
    rows = await _rows(
        transaction, "MATCH (s:Statistics {collection: $collection}) RETURN count(s)", collection=collection
    )
    if rows[0][0] >= MERGE_FROM:
        known = await _rows(
            transaction,
            "MATCH (s:Statistics {collection: $collection}) WITH s, properties(s) AS values DELETE s RETURN values",
            collection=collection,
        )
        deltas = merged([*(delta_of(row[0]) for row in known), *deltas])
    await _run(
        transaction,
        "MATCH (k:Collection {name: $collection}) SET k.texts = $latest"
        " WITH k UNWIND $deltas AS row CREATE (s:Statistics) SET s = row",
        collection=collection,
        latest=latest,
        deltas=[
            delta.properties() | {"id": f"{latest}/{at}", "collection": collection} for at, delta in enumerate(deltas)
        ],
    )


async def _count(
    transaction: Transaction, collection: str, *, epoch: int, documents: int = 0, chunks: int = 0, pending: int = 0
) -> None:
    await _run(
        transaction,
        _COUNT,
        collection=collection,
        epoch=epoch,
        documents=documents,
        chunks=chunks,
        pending=pending,
    )


async def _rows(transaction: Transaction, query: str, **parameters: Any) -> list[Row]:
    result = await transaction.run(query, parameters)
    return [list(record.values()) async for record in result]


async def _run(transaction: Transaction, query: str, **parameters: Any) -> None:
    result = await transaction.run(query, parameters)
    await result.consume()
