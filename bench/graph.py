"""Retrieval from Neo4j beside a bare call, `neo4j-graphrag` and LightRAG: same server, vectors and questions.

    python -m bench.graph DATA [--peers PYTHON] [--server 5,2026] [--chunks 50000] [--rounds 5] [--keep] [--json FILE]

DATA holds HotpotQA (corpus.jsonl, questions.jsonl); `make bench-retrieval DATA=...` makes the peers' environment. All
take turns, one round after the other, so that a busy machine is busy for all alike; ratios are between figures of
one run. Beside the clock stands the processor time a question costs, client and server.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # BLAS threads fight onnxruntime's

import argparse
import asyncio
import json
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from bench.graph_contestants import contestants_here
from bench.graph_data import LARGE, REAL, drop_indexes_for_peers, fill, text_index_for_peers
from bench.graph_rivals import LightRags, Peer, forget_light_rag, serve_vectors
from bench.graph_table import HYBRID, LEGEND, Contestant, Row, compare, rows_of, show
from rag.embeddings.minilm import MiniLM
from rag.evaluate import read_questions
from rag.retrieval.question import ask
from rag.stores.neo4j import Neo4jStore
from rag.stores.neo4j.connection import Connection
from rag.stores.neo4j.query import lucene
from rag.stores.neo4j.schema import inspect, vector_index
from tests.support.neo4j import empty_neo4j
from tests.support.services import known

PEERS_TOP = 20
_CONNECTIONS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Of a run."""

    data: Path
    folder: Path
    """For LightRAG's storages."""
    socket: Path
    """Where the peers get vectors."""
    peers: Path | None = None
    """The Python of their environment; None goes without them."""
    chunks: int = 50_000
    rounds: int = 5
    is_kept: bool = False
    with_lightrag: bool = True


async def run_server(version: str, options: Options, embedder: MiniLM) -> dict[str, list[Row]]:
    """All tables of one server, by collection."""
    read = read_questions(options.data, [REAL])
    texts = [question.text for question in read]
    vectors = {text: (await embedder.embed([text], urgent=True))[0] for text in texts}
    result: dict[str, list[Row]] = {}
    async with empty_neo4j(version, keep=options.is_kept) as neo4j, AsyncExitStack() as stack:
        driver = neo4j.driver(pool_size=_CONNECTIONS, acquisition_s=60.0)
        connection = Connection(driver, address=neo4j.server.uri, database="neo4j", pool_size=_CONNECTIONS)
        store = Neo4jStore(driver, address=neo4j.server.uri, pool_size=_CONNECTIONS)
        server = await inspect(connection)
        await fill(store, connection, embedder, options.data, options.chunks)
        await store.load()
        there = await store.counts()
        for collection in [name for name in (REAL, LARGE) if name in there]:
            languages = await store.languages(frozenset({collection}))
            questions: list[dict[str, Any]] = [
                {"text": text, "vector": vectors[text].tolist(), "words": lucene(ask(text, languages=languages))}
                for text in texts
            ]
            here = contestants_here(
                store,
                connection,
                collection,
                has_search_clause=server.has_search_clause,
                embedder=embedder,
                vectors=vectors,
                questions=questions,
            )
            contestants: dict[str, Contestant] = {**here}
            if options.peers:
                task = {
                    "peer": "graphrag",
                    "vector_index": vector_index(collection),
                    "text_index": text_index_for_peers(collection),
                    "top_k": PEERS_TOP,
                    "questions": questions,
                }
                contestants[HYBRID] = await stack.enter_async_context(Peer(options.peers, task, neo4j.server))
            if options.peers and options.with_lightrag:
                light = LightRags(options.peers, neo4j.server, options.folder, options.socket, embedder.dimensions)
                contestants |= await light.start(stack, store, collection, texts)
            load = os.getloadavg()[0]
            tallies = await compare(contestants, connection, rounds=options.rounds, count=len(read))
            result[collection] = rows_of(tallies, read if collection == REAL else None)
            show(
                f"Neo4j {server.name}, {collection}: {there[collection].chunks} chunks, {len(read)} questions,"
                f" {options.rounds} rounds",
                result[collection],
                load,
            )
        if not options.is_kept:
            await drop_indexes_for_peers(store, connection)
            await forget_light_rag(connection)
        await store.close()
    return result


async def _main(arguments: argparse.Namespace) -> None:
    embedder = await MiniLM.open()
    with tempfile.TemporaryDirectory() as folder:
        options = Options(
            data=arguments.data,
            folder=arguments.folder or Path(folder),
            socket=Path(folder) / "vectors",
            peers=arguments.peers,
            chunks=arguments.chunks,
            rounds=arguments.rounds,
            is_kept=arguments.keep,
            with_lightrag=not arguments.without_lightrag,
        )
        print(LEGEND, flush=True)
        async with serve_vectors(embedder, options.socket):
            result = {version: await run_server(version, options, embedder) for version in arguments.server.split(",")}
    await embedder.close()
    if arguments.json:
        await asyncio.to_thread(arguments.json.write_text, json.dumps(result, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--peers", type=Path, help="the Python of an environment with bench/graph_peers.txt")
    parser.add_argument("--server", default="5,2026")
    parser.add_argument("--chunks", type=int, default=50_000, help="of the larger collection; 0: leave it out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", action="store_true", help="keep what is on the server, and use it again")
    parser.add_argument("--folder", type=Path, help="where LightRAG's storages are kept, used again if they are there")
    parser.add_argument("--without-lightrag", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    for version in arguments.server.split(","):
        if f"GRAPEVINE_TEST_NEO4J_{version}" not in known():
            parser.error(f"there is no Neo4j {version}: run `make services`, or name the others with --server")
    uvloop.run(_main(arguments))


if __name__ == "__main__":
    main()
