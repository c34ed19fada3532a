"""Writing to Neo4j beside a bare `UNWIND` of the same rows: documents, chunks, names, links, then vectors.

    python -m bench.graph_writes [--server 5,2026] [--chunks 4000]

Both write the same batches in turn, each into a collection of its own with the same indexes. The bare one knows that
everything is new: it looks nothing up, counts nothing, and waits for nobody.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import uvloop

from bench.store import DIMENSIONS, MODEL, Corpus
from rag.ports import Vectors
from rag.records import Document
from rag.stores.neo4j import Neo4jStore, writer
from rag.stores.neo4j.connection import Connection, Transaction
from rag.stores.neo4j.encoding import pack_vectors
from rag.stores.neo4j.rows import Prepared
from rag.stores.neo4j.schema import VectorOptions, inspect, label, make_text_index, make_vector_index
from tests.support.neo4j import empty_neo4j

DOCUMENTS_AT_ONCE = 100
BARE = "bare"
_CHUNKS = f"""
UNWIND $chunks AS row
MATCH (d:Document {{number: row.document}})
CREATE (d)-[:HAS]->(c:Chunk:{label(BARE)})
SET c = row
"""
_DOCUMENTS = "UNWIND $documents AS row CREATE (d:Document) SET d = row"


async def bare_text(connection: Connection, documents: Sequence[Document], first: int) -> list[int]:
    """Rows as the store writes them; the chunks' keys."""
    prepared = Prepared(documents, first, datetime.now(tz=UTC))

    async def work(transaction: Transaction) -> None:
        for query, parameters in (
            (_DOCUMENTS, {"documents": prepared.documents}),
            (_CHUNKS, {"chunks": prepared.chunks}),
            (writer.PUT_NEXT, {"numbers": [row["number"] for row in prepared.documents]}),
            (writer.PUT_MENTIONS, {"collection": BARE, "names": prepared.mentions}),
            (writer.PUT_ANSWERS, {"collection": BARE, "names": prepared.answers}),
        ):
            await (await transaction.run(query, parameters)).consume()

    await connection.write(work)
    return [row["key"] for row in prepared.chunks]


async def bare_vectors(connection: Connection, keys: Sequence[int], vectors: Sequence[Vectors]) -> None:
    """One statement, one transaction."""
    rows = [
        [key, matrix[0].tolist(), pack_vectors(matrix, DIMENSIONS)] for key, matrix in zip(keys, vectors, strict=True)
    ]

    async def work(transaction: Transaction) -> None:
        query = "UNWIND $rows AS row MATCH (c:Chunk {key: row[0]}) SET c.embedding = row[1], c.vectors = row[2]"
        await (await transaction.run(query, {"rows": rows})).consume()

    await connection.write(work)


async def run_server(version: str, chunks: int) -> None:
    corpus = Corpus()
    seconds = {"ours, text": 0.0, "bare, text": 0.0, "ours, vectors": 0.0, "bare, vectors": 0.0}
    async with empty_neo4j(version) as neo4j:
        driver = neo4j.driver()
        connection = Connection(driver, address=neo4j.server.uri, database="neo4j", pool_size=8)
        store = Neo4jStore(driver, address=neo4j.server.uri, pool_size=8)
        server = await inspect(connection)
        await store.open()
        await make_text_index(connection, BARE)
        written, batch, first = 0, [], 10**9
        for document in corpus.documents(chunks + 5 * DOCUMENTS_AT_ONCE):
            batch.append(document)
            if len(batch) < DOCUMENTS_AT_ONCE:
                continue
            counted = written > 0  # the first batch makes the indexes, and warms
            count = sum(len(each.chunks) for each in batch)
            started = time.perf_counter()
            await store.put(batch)
            ours_text = time.perf_counter() - started
            waiting = await store.pending(count)
            vectors = [corpus.vectors(len(each.texts)) for each in waiting]
            given = [(each.key, matrix) for each, matrix in zip(waiting, vectors, strict=True)]
            started = time.perf_counter()
            await store.attach(MODEL, DIMENSIONS, given)
            ours_vectors = time.perf_counter() - started
            started = time.perf_counter()
            keys = await bare_text(connection, [replace(each, collection=BARE) for each in batch], first)
            bare_text_s = time.perf_counter() - started
            started = time.perf_counter()
            await bare_vectors(connection, keys[: len(vectors)], vectors)
            bare_vectors_s = time.perf_counter() - started
            if counted:
                taken = (ours_text, bare_text_s, ours_vectors, bare_vectors_s)
                for name, value in zip(seconds, taken, strict=True):
                    seconds[name] += value
            else:
                await make_vector_index(connection, server, BARE, DIMENSIONS, VectorOptions())
            first += 10**6
            written += count
            batch = []
        await store.close()
    done = written - 5 * DOCUMENTS_AT_ONCE
    print(f"Neo4j {server.name}, {done} chunks in batches of {5 * DOCUMENTS_AT_ONCE}, vector indexes online")
    for what in ("text", "vectors"):
        ours, bare = seconds[f"ours, {what}"], seconds[f"bare, {what}"]
        print(f"  {what:8} ours {done / ours:6.0f}/s, bare {done / bare:6.0f}/s: {bare / ours:.2f} of it")
    ours, bare = (seconds[f"{who}, text"] + seconds[f"{who}, vectors"] for who in ("ours", "bare"))
    print(f"  both     ours {done / ours:6.0f}/s, bare {done / bare:6.0f}/s: {bare / ours:.2f} of it")


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
