"""Writing to Neo4j beside a bare `UNWIND` of the same rows: texts, names and links of many batches, then their vectors.

    python -m bench.graph_writes [--server 5,2026] [--chunks 4000]

As in an ingest: all texts first, then all vectors; the store makes the vector index anew when the last ones have come.
Three write the same batches in turns, each into a collection of its own with the same indexes online. *Bare* sends the
vectors as programs do, as lists of floats; *alike* sends exactly the rows of the store: that is the goal's rival. Both
write texts in one statement as the store does, and know that everything is new: they look nothing up, count nothing,
wait for nobody, and leave the index as single commits made it.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import uvloop

from bench.store import DIMENSIONS, MODEL, Corpus
from rag.ports import Vectors
from rag.records import Document
from rag.stores.neo4j import Neo4jStore, writer
from rag.stores.neo4j.connection import Connection, Transaction
from rag.stores.neo4j.encoding import pack_vectors
from rag.stores.neo4j.rows import Prepared
from rag.stores.neo4j.schema import (
    VectorOptions,
    drop_vector_index,
    inspect,
    label,
    make_text_index,
    make_vector_index,
)
from tests.support.neo4j import empty_neo4j

DOCUMENTS_AT_ONCE = 100
CHUNKS_AT_ONCE = 5 * DOCUMENTS_AT_ONCE
BARE, ALIKE = "bare", "alike"
_TEXTS = """
UNWIND $documents AS row
WITH row[0] AS document, row[1] AS rows
CREATE (d:Document) SET d = document
WITH d, rows
CALL (d, rows) {{
  UNWIND rows AS row
  CREATE (d)-[:HAS]->(c:Chunk:{label})
  SET c = row
  WITH c ORDER BY c.key
  WITH collect(c) AS chunks
  UNWIND range(0, size(chunks) - 2) AS i
  WITH chunks[i] AS a, chunks[i + 1] AS b
  CREATE (a)-[:NEXT]->(b)
}}
"""


class Bare:
    """A program of a few statements."""

    def __init__(self, connection: Connection, collection: str, first: int) -> None:
        self._connection = connection
        self._collection = collection
        self._next = first
        self.keys: list[int] = []

    async def texts(self, documents: Sequence[Document]) -> None:
        """Rows as the store writes them."""
        prepared = Prepared(
            [replace(each, collection=self._collection) for each in documents], self._next, datetime.now(tz=UTC)
        )
        self._next += 10**6
        names = {"collection": self._collection}
        await self._write(
            (_TEXTS.format(label=label(self._collection)), {"documents": prepared.whole()}),
            (writer.PUT_MENTIONS, names | {"names": prepared.mentions}),
            (writer.PUT_ANSWERS, names | {"names": prepared.answers}),
        )
        self.keys += [row["key"] for row in prepared.chunks]

    async def vectors(self, keys: Sequence[int], matrices: Sequence[Vectors]) -> None:
        """One statement, one transaction."""
        rows: list[list[Any]] = []
        for key, matrix in zip(keys, matrices, strict=True):
            packed = pack_vectors(matrix, DIMENSIONS)
            if self._collection == ALIKE:
                rows.append([key, *packed])
            else:
                rows.append([key, matrix[0].tolist(), packed.vectors])
        fields = "c.embedding = row[1], c.vectors = row[2]" + (
            ", c.fixed = row[3]" if self._collection == ALIKE else ""
        )
        await self._write((f"UNWIND $rows AS row MATCH (c:Chunk {{key: row[0]}}) SET {fields}", {"rows": rows}))

    async def _write(self, *statements: tuple[str, dict[str, Any]]) -> None:
        async def work(transaction: Transaction) -> None:
            for query, parameters in statements:
                await (await transaction.run(query, parameters)).consume()

        await self._connection.write(work)


class Clock:
    """Seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)

    async def in_turns(self, what: str, turns: Mapping[str, Callable[[], Awaitable[None]]], at: int) -> None:
        """Each once, another first every time."""
        names = list(turns)
        for name in names[at % len(names) :] + names[: at % len(names)]:
            started = time.perf_counter()
            await turns[name]()
            self.seconds[f"{name}, {what}"].append(time.perf_counter() - started)

    def sum(self, name: str) -> float:
        """Without the first batch, which makes indexes and warms the server."""
        return sum(self.seconds[name][1:])


async def attach(store: Neo4jStore, given: Sequence[tuple[int, Vectors]]) -> None:
    """Ours, of vectors: asking what waits is a part of it, as no ingest can do without."""
    await store.pending(len(given))
    await store.attach(MODEL, DIMENSIONS, given)


async def run_server(version: str, chunks: int) -> None:
    corpus, clock = Corpus(), Clock()
    batches = chunks // CHUNKS_AT_ONCE + 1  # the first one makes indexes and warms
    documents = list(corpus.documents(batches * CHUNKS_AT_ONCE))
    async with empty_neo4j(version) as neo4j:
        driver = neo4j.driver()
        connection = Connection(driver, address=neo4j.server.uri, database="neo4j", pool_size=8)
        store = Neo4jStore(driver, address=neo4j.server.uri, pool_size=8)
        server = await inspect(connection)
        await store.open()
        programs = {BARE: Bare(connection, BARE, 10**9), ALIKE: Bare(connection, ALIKE, 2 * 10**9)}
        for name in programs:
            await make_text_index(connection, name)
        for at in range(batches):
            batch = documents[at * DOCUMENTS_AT_ONCE : (at + 1) * DOCUMENTS_AT_ONCE]
            turns = {"ours": partial(store.put, batch)}
            turns |= {name: partial(program.texts, batch) for name, program in programs.items()}
            await clock.in_turns("text", turns, at)
        for name in programs:
            await make_vector_index(connection, server, name, DIMENSIONS, VectorOptions())
        for at in range(batches):
            waiting = await store.pending(CHUNKS_AT_ONCE)
            matrices = [corpus.vectors(len(each.texts)) for each in waiting]
            given = [(each.key, matrix) for each, matrix in zip(waiting, matrices, strict=True)]
            turns = {"ours": partial(attach, store, given)}
            for name, program in programs.items():
                keys = program.keys[at * CHUNKS_AT_ONCE : (at + 1) * CHUNKS_AT_ONCE]
                turns[name] = partial(program.vectors, keys, matrices)
            await clock.in_turns("vectors", turns, at)
        for name in programs:
            await drop_vector_index(connection, name)
            made = partial(make_vector_index, connection, server, name, DIMENSIONS, VectorOptions())
            await clock.in_turns("index", {name: made}, 0)
        await store.close()
    report(server.name, chunks, clock)


def report(server: str, chunks: int, clock: Clock) -> None:
    """The last batch of vectors holds the making of the index; it is told apart by what the others took."""
    *others, last = clock.seconds["ours, vectors"][1:]
    index = last - sum(others) / len(others)
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(f"Neo4j {server}, {chunks} chunks in batches of {CHUNKS_AT_ONCE}, indexes online; load {load}")
    ours = {"text": clock.sum("ours, text"), "vectors": clock.sum("ours, vectors") - index}
    for name in (BARE, ALIKE):
        theirs = {what: clock.sum(f"{name}, {what}") for what in ours}
        for what, seconds in ours.items():
            print(
                f"  {what:8} ours {chunks / seconds:6.0f}/s, {name} {chunks / theirs[what]:6.0f}/s:"
                f" {theirs[what] / seconds:.2f} of it"
            )
        mine, other = sum(ours.values()), sum(theirs.values())
        whole = clock.seconds[f"{name}, index"][0]
        print(f"  both     {other / mine:.2f} of {name}; with our index made whole ({index:.1f} s)", end=" ")
        print(f"{other / (mine + index):.2f}; with both ({whole:.1f} s) {(other + whole) / (mine + index):.2f}")


async def _main(options: argparse.Namespace) -> None:
    for version in options.server.split(","):
        await run_server(version, options.chunks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="5,2026")
    parser.add_argument("--chunks", type=int, default=4_000)
    uvloop.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
