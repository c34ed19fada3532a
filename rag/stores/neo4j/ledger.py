"""What every write begins and ends with: its turn and its numbers, then counts, statistics and the epoch.

Writers take turns (`begin`): large batches one after the other are as fast as several at once, and never deadlock.
"""

from __future__ import annotations

import secrets
from typing import Any, NamedTuple

from rag.stores.neo4j.connection import Row, Transaction
from rag.stores.neo4j.schema import VERSION
from rag.stores.neo4j.statistics import MERGE_FROM, Tally, delta_of, merged

# Writing first takes the lock before anything is read.
# MERGE, because an operator may empty the database (but not its schema) under a running process.
_BEGIN = """
MERGE (m:Grapevine {id: 0}) ON CREATE SET m.version = $version, m.next = 1, m.faq_version = 0
SET m.writer = true
WITH m SET m.next = m.next + $count
WITH m OPTIONAL MATCH (k:Collection {name: $collection})
RETURN m.next - $count, m.embedder, m.dimensions, coalesce(k.extracted, false),
  COUNT { MATCH (s:Statistics {collection: $collection}) }
"""
_COUNT = """
MERGE (k:Collection {name: $collection})
ON CREATE SET k.documents = 0, k.chunks = 0, k.pending = 0, k.texts = 0, k.vectors = false
SET k.epoch = $epoch, k.documents = k.documents + $documents, k.chunks = k.chunks + $chunks,
    k.pending = k.pending + $pending
"""
_STATE = " RETURN k.vectors, k.pending, k.chunks"
_STATISTICS = " SET k.texts = $latest WITH k UNWIND $deltas AS row CREATE (s:Statistics) SET s = row"
_TAKE_STATISTICS = """
MATCH (s:Statistics {collection: $collection})
WITH s, properties(s) AS values DELETE s RETURN values
"""


class Turn(NamedTuple):
    """What a write finds when it is its turn. Until it ends nobody else changes anything."""

    first: int
    """The first of its fresh numbers; the last one is the epoch."""
    embedding: tuple[str, int] | None
    """Name and dimensions of the model that the vectors come from; None as long as there are none."""
    has_extracted: bool
    """Whether a language model has read chunks of the collection."""
    statistics: int
    """Nodes of them that the collection has."""


class State(NamedTuple):
    """A collection after a write."""

    has_index: bool
    """Of vectors."""
    pending: int
    chunks: int


async def begin(transaction: Transaction, count: int = 0, collection: str | None = None) -> Turn:
    """Wait until no other writer is at work, and take `count` + 1 fresh numbers."""
    found = await rows(transaction, _BEGIN, version=VERSION, count=count + 1, collection=collection)
    first, name, dimensions, has_extracted, statistics = found[0]
    return Turn(int(first), None if name is None else (str(name), int(dimensions)), bool(has_extracted), statistics)


async def count_pending(transaction: Transaction, collection: str, *, epoch: int, pending: int) -> State:
    """Note that so many chunks more (or fewer) wait for vectors."""
    found = await rows(
        transaction,
        _COUNT + _STATE,
        collection=collection,
        epoch=epoch,
        documents=0,
        chunks=0,
        pending=pending,
    )
    return State(*found[0])


async def close(
    transaction: Transaction,
    collection: str,
    turn: Turn,
    tally: Tally,
    *,
    epoch: int,
    documents: int,
    chunks: int,
    pending: int,
) -> None:
    """Note what a write of texts changed."""
    # Random, not counted: nobody takes the statistics of an emptied database for those of a new one.
    latest = secrets.randbits(62)
    deltas = tally.deltas()
    if turn.statistics >= MERGE_FROM:
        known = await rows(transaction, _TAKE_STATISTICS, collection=collection)
        deltas = merged([*(delta_of(row[0]) for row in known), *deltas])
    await run(
        transaction,
        _COUNT + _STATISTICS,
        collection=collection,
        epoch=epoch,
        documents=documents,
        chunks=chunks,
        pending=pending,
        latest=latest,
        deltas=[
            delta.properties() | {"id": f"{latest}/{at}", "collection": collection} for at, delta in enumerate(deltas)
        ],
    )


async def rows(transaction: Transaction, query: str, **parameters: Any) -> list[Row]:
    """All rows of one statement."""
    result = await transaction.run(query, parameters)
    return [list(record.values()) async for record in result]


async def run(transaction: Transaction, query: str, **parameters: Any) -> None:
    """One statement whose rows nobody wants."""
    result = await transaction.run(query, parameters)
    await result.consume()
