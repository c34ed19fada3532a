"""Every change of documents, as functions of one transaction: batched `UNWIND`s, whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rag.records import Document
from rag.stores.neo4j import attaching, extracted, faqs, ledger
from rag.stores.neo4j.connection import Transaction
from rag.stores.neo4j.ledger import rows, run
from rag.stores.neo4j.rows import Former, Given, Prepared
from rag.stores.neo4j.schema import label
from rag.stores.neo4j.statistics import ALWAYS_FROM, ALWAYS_UNTIL, Tally

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
_PUT = """
UNWIND $documents AS row
WITH row[0] AS document, row[1] AS rows
MERGE (d:Document {{collection: document.collection, source: document.source, id: document.id}})
SET d = document REMOVE d:Dated
FOREACH (_ IN CASE WHEN d.valid_from = $always[0] AND d.valid_until = $always[1] THEN [] ELSE [1] END | SET d:Dated)
WITH d, rows
CALL (d, rows) {{
  UNWIND rows AS row
  CREATE (d)-[:HAS]->(c:Chunk:Pending:{label})
  SET c = row
  FOREACH (_ IN CASE WHEN row.valid_until IS NULL THEN [] ELSE [1] END | SET c:Dated)
  WITH c ORDER BY c.key
  WITH collect(c) AS chunks
  UNWIND range(0, size(chunks) - 2) AS i
  WITH chunks[i] AS a, chunks[i + 1] AS b
  CREATE (a)-[:NEXT]->(b)
}}
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
# A query may run while a commit is being applied: the nodes change first, then the indexes. What an index finds then is
# stale, and seen to be; were it gone already, the document would seem to hold nothing.
_RETIRE = """
UNWIND $keys AS key
MATCH (c:Chunk {{key: key}})
REMOVE c:{label} REMOVE c:Pending SET c:Stale
"""
SWEPT_AT_ONCE = 1000
STALE = "MATCH (c:Stale) RETURN c.key, c.document ORDER BY c.document, c.key LIMIT $limit"
# Counts are taken back document by document, as they were added. A document of which only the first chunks go, up to
# the key `$last`, still mentions what its others do.
_DROP_CHUNKS = """
UNWIND $keys AS key
MATCH (c:Chunk {key: key})
OPTIONAL MATCH (c)-[:MENTIONS]->(e:Entity)
WITH c, collect(e) AS es
WITH c.document AS document, collect(c) AS chunks, collect(es) AS nested
CALL (document, nested) {
  UNWIND nested AS es UNWIND es AS e
  WITH DISTINCT document, e
  WHERE document <> $cut OR NOT EXISTS { (e)<-[:MENTIONS]-(rest:Stale {document: document}) WHERE rest.key > $last }
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


async def put(
    transaction: Transaction,
    collection: str,
    documents: Sequence[Document],
    now: datetime,
    given: Given | None = None,
    embedding: tuple[str, int] | None = None,
    *,
    is_enriched: bool = False,
) -> int:
    """Write documents of one collection, each in place of its former version; vectors of unchanged chunks stay.

    `given`: vectors that come along, of the model `embedding`. `is_enriched`: they got other names only, so those that
    changed meanwhile stay as they are, and no answer goes stale. Returns how many chunks are stale now, for `sweep`.
    Raises `EmbeddingMismatch`.
    """
    given = given or {}
    documents = list({(document.source, document.id): document for document in documents}.values())
    total = sum(len(document.chunks) for document in documents)
    turn = await ledger.begin(transaction, len(documents) + total, collection)
    if embedding is not None:
        attaching.check_embedding(turn.embedding, *embedding)
        await attaching.remember(transaction, *embedding)
    if is_enriched:
        documents = await extracted.same(transaction, collection, documents)
        if not documents:
            return 0
    if turn.has_extracted:
        documents = await extracted.with_known(transaction, collection, documents)
    prepared = Prepared(documents, turn.first, now)
    former = Former(await rows(transaction, _OLD, collection=collection, identities=prepared.identities))
    await _write(transaction, collection, prepared, former)
    brought = [[key, *given[place]] for place, key in prepared.places.items() if place in given]
    await attaching.put_vectors(transaction, brought)
    digests = prepared.digests(but=given)
    is_kept = turn.embedding is not None and digests
    kept = await attaching.keep_vectors(transaction, collection, digests) if is_kept else 0
    if former.keys:
        await run(transaction, _RETIRE.format(label=label(collection)), keys=former.keys)
    if not is_enriched:
        await faqs.outdate(transaction, collection, former.ids)
    tally = Tally()
    former.take_off(tally)
    prepared.add_to(tally)
    chunks = len(prepared.chunks)
    await ledger.close(
        transaction,
        collection,
        turn,
        tally,
        epoch=turn.first + len(documents) + total,
        documents=len(documents) - len(former.numbers),
        chunks=chunks - len(former.keys),
        pending=chunks - len(brought) - kept - former.pending,
    )
    if not turn.has_extracted and any(row["extracted"] is not None for row in prepared.chunks):
        await extracted.mark(transaction, collection)
    return len(former.keys)


async def sweep(transaction: Transaction) -> int:
    """Delete stale chunks, up to `SWEPT_AT_ONCE`; how many there were."""
    await ledger.begin(transaction)
    found = await rows(transaction, STALE, limit=SWEPT_AT_ONCE)
    if not found:
        return 0
    keys = [row[0] for row in found]
    # Only where more is left: to look for a common name's other mentions takes a walk over all of them.
    last, cut = found[-1] if len(found) == SWEPT_AT_ONCE else (-1, -1)
    await run(transaction, _DROP_RELATED, keys=keys)
    await run(transaction, _DROP_CHUNKS, keys=keys, cut=cut, last=last)
    return len(keys)


async def remove(transaction: Transaction, collection: str, ids: Sequence[str], source: str | None) -> int:
    """Remove documents with everything that hangs on them; how many there were."""
    found = await rows(transaction, _FIND, collection=collection, ids=list(dict.fromkeys(ids)), source=source)
    if not found:
        return 0
    turn = await ledger.begin(transaction, collection=collection)
    former = Former(await rows(transaction, _OLD, collection=collection, identities=found))
    tally = Tally()
    former.take_off(tally)
    await run(transaction, _DROP_ANSWERS, numbers=former.numbers)
    await run(transaction, _DROP_RELATED, keys=former.keys)
    await run(transaction, _DROP_CHUNKS, keys=former.keys, cut=-1, last=-1)
    await run(
        transaction, "UNWIND $numbers AS n MATCH (d:Document {number: n}) DETACH DELETE d", numbers=former.numbers
    )
    await faqs.outdate(transaction, collection, former.ids)
    await ledger.close(
        transaction,
        collection,
        turn,
        tally,
        epoch=turn.first,
        documents=-len(former.numbers),
        chunks=-len(former.keys),
        pending=-former.pending,
    )
    return len(former.numbers)


async def _write(transaction: Transaction, collection: str, prepared: Prepared, former: Former) -> None:
    """The new nodes and what hangs on them."""
    if former.numbers:
        await run(transaction, _DROP_ANSWERS, numbers=former.numbers)
    await run(
        transaction,
        _PUT.format(label=label(collection)),
        documents=prepared.whole(),
        always=[ALWAYS_FROM, ALWAYS_UNTIL],
    )
    await run(transaction, PUT_MENTIONS, collection=collection, names=prepared.mentions)
    await run(transaction, PUT_ANSWERS, collection=collection, names=prepared.answers)
    if prepared.related:
        await run(transaction, _PUT_RELATED, collection=collection, related=prepared.related)
