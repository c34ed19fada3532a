"""Vectors of chunks that are there already: given, kept from a former version, or forgotten for another model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rag.errors import EmbeddingMismatch, InputError
from rag.ports import PendingChunk
from rag.stores.neo4j import ledger
from rag.stores.neo4j.connection import Row, Transaction
from rag.stores.neo4j.encoding import Packed
from rag.stores.neo4j.ledger import State

_BYTES_AT_ONCE = 4_000_000
"""Of vectors in one statement: some 900 chunks of eight sentences, with 384 dimensions."""

_SET = """
UNWIND $rows AS row
MATCH (c:Chunk {key: row[0]})
SET c.embedding = row[1], c.vectors = row[2], c.fixed = row[3]
REMOVE c:Pending
"""
# By the index of digests: to look through all that waits made 50,000 chunks take two hours.
_ATTACH = """
UNWIND $rows AS row
MATCH (k:Chunk {key: row[0]})
MATCH (c:Chunk {digest: k.digest}) WHERE c:Pending
SET c.embedding = row[1], c.vectors = row[2], c.fixed = row[3]
REMOVE c:Pending
WITH c, CASE WHEN size(c.spans) / 2 <> row[4] THEN [row[0], size(c.spans) / 2, row[4]] END AS wrong
RETURN c.collection, count(DISTINCT c), head(collect(wrong))
"""
_KEEP = """
UNWIND $digests AS row
MATCH (old:Chunk {digest: row[0]}) WHERE old.collection = $collection AND old.embedding IS NOT NULL
WITH row, head(collect(old)) AS old
UNWIND row[1] AS key
MATCH (c:Chunk {key: key})
SET c.embedding = old.embedding, c.vectors = old.vectors, c.fixed = old.fixed
REMOVE c:Pending
RETURN count(c)
"""
_FORGET = """
MATCH (c:Chunk) WHERE NOT c:Pending AND NOT c:Stale WITH c LIMIT $batch
REMOVE c.embedding, c.vectors, c.fixed SET c:Pending
RETURN c.collection, count(*)
"""
_REMEMBER = "MATCH (m:Grapevine {id: 0}) SET m.embedder = $name, m.dimensions = $dimensions"


async def attach(
    transaction: Transaction, name: str, dimensions: int, vectors: Mapping[int, Packed]
) -> tuple[Counter[str], dict[str, State]]:
    """Give chunks their vectors (and all that wait for the same ones); how many got some and the state, by collection.

    Raises `EmbeddingMismatch`, `InputError`.
    """
    turn = await ledger.begin(transaction)
    check_embedding(turn.embedding, name, dimensions)
    changed: Counter[str] = Counter()
    rows = [[key, *each, len(each.vectors) // (dimensions + 4) - 1] for key, each in vectors.items()]
    for part in parts(rows):
        for collection, count, wrong in await ledger.rows(transaction, _ATTACH, rows=part):
            if wrong is not None:
                raise InputError(f"chunk {wrong[0]} has {wrong[1]} sentences, but {wrong[2]} vectors came")
            changed[collection] += count
    if changed and turn.embedding is None:
        await remember(transaction, name, dimensions)
    states = {
        collection: await ledger.count_pending(transaction, collection, epoch=turn.first, pending=-count)
        for collection, count in changed.items()
    }
    return changed, states


async def put_vectors(transaction: Transaction, rows: Sequence[list[Any]]) -> None:
    """Rows of a key and what is packed; the chunks wait no more."""
    for part in parts(rows):
        await ledger.run(transaction, _SET, rows=part)


async def keep_vectors(transaction: Transaction, collection: str, digests: Sequence[list[Any]]) -> int:
    """New chunks take the vectors of older ones of the same digest; how many did."""
    return sum(row[0] for row in await ledger.rows(transaction, _KEEP, collection=collection, digests=digests))


async def forget_vectors(transaction: Transaction, name: str, dimensions: int, batch: int) -> int:
    """Take the vectors off up to `batch` chunks and name the new model; how many chunks had some."""
    turn = await ledger.begin(transaction)
    await remember(transaction, name, dimensions)
    changed = await ledger.rows(transaction, _FORGET, batch=batch)
    for collection, count in changed:
        await ledger.count_pending(transaction, collection, epoch=turn.first, pending=count)
    return sum(count for _, count in changed)


async def remember(transaction: Transaction, name: str, dimensions: int) -> None:
    """Which model the vectors come from."""
    await ledger.run(transaction, _REMEMBER, name=name, dimensions=dimensions)


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


def parts(rows: Sequence[list[Any]]) -> Iterator[list[list[Any]]]:
    """Rows (key, three of bytes, ...) in order, cut where a statement's worth has come together."""
    part: list[list[Any]] = []
    size = 0
    for row in rows:
        part.append(row)
        size += sum(map(len, row[1:4]))
        if size >= _BYTES_AT_ONCE:
            yield part
            part, size = [], 0
    if part:
        yield part
