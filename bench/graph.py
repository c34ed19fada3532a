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
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import uvloop

from bench.graph_data import LARGE, REAL, drop_indexes_for_peers, fill, recall_at_5, text_index_for_peers
from bench.graph_peers import measure
from bench.graph_rivals import Peer, light_rag, serve_vectors
from rag.embeddings.minilm import MiniLM
from rag.evaluate import AskedQuestion, read_questions
from rag.ports import Vectors
from rag.retrieval.question import ask
from rag.retrieval.search import Search
from rag.stores.neo4j import Neo4jStore
from rag.stores.neo4j.connection import Connection
from rag.stores.neo4j.query import lucene
from rag.stores.neo4j.schema import inspect, label, text_index, vector_index
from tests.support.neo4j import empty_neo4j

POOL = 50
"""Of both searches, ours and the bare call's: the vector index finds .96 of the true ten at 50, .81 at 10."""
PEERS_TOP = 20
CLIENTS = (1, 50)
Question = dict[str, Any]


class Contestant(Protocol):
    """Something that finds documents for questions."""

    async def turn(self, clients: int, times: int) -> dict[str, Any]:
        """Ask all questions so often, so many at a time; see `bench.graph_peers.measure`."""
        ...


@dataclass(kw_only=True)
class Here:
    """In this process, as in the bot's."""

    ask: Callable[[Question], Awaitable[list[str]]]
    questions: Sequence[Question]

    async def turn(self, clients: int, times: int) -> dict[str, Any]:
        return await measure(self.ask, list(self.questions) * times, clients)


@dataclass(kw_only=True)
class Tally:
    """What came of all turns at one number of clients."""

    ms: list[float] = field(default_factory=list)
    p50s: list[float] = field(default_factory=list)
    client_cpu_ms: list[float] = field(default_factory=list)
    server_cpu_ms: list[float] = field(default_factory=list)
    found: list[list[str]] = field(default_factory=list)

    def add(self, turn: dict[str, Any], server_s: float, distinct: int) -> None:
        count = len(turn["ms"])
        self.ms += turn["ms"]
        self.p50s.append(percentile(turn["ms"], 0.5))
        self.client_cpu_ms.append(1000 * turn["cpu_s"] / count)
        self.server_cpu_ms.append(1000 * server_s / count)
        self.found = turn["found"][:distinct]


class Known:
    """The embedder, with the questions' vectors known already: what remains is the search."""

    def __init__(self, embedder: MiniLM, vectors: dict[str, Vectors]) -> None:
        self._vectors = vectors
        self.name, self.dimensions, self.languages = embedder.name, embedder.dimensions, embedder.languages
        self.max_characters = getattr(embedder, "max_characters", None)

    async def embed(self, texts: Sequence[str], *, urgent: bool = False) -> Vectors:  # noqa: ARG002 - the port's
        return np.stack([self._vectors[text] for text in texts])

    async def close(self) -> None:
        """It owns nothing."""


def bare_query(collection: str, *, has_search_clause: bool) -> str:
    """Both searches in one call; ids, scores and texts as one record of lists: the least a hybrid search can be."""
    vectors = (
        f"MATCH (c:{label(collection)}) SEARCH c IN (VECTOR INDEX {vector_index(collection)} FOR $vector LIMIT $pool)"
        " SCORE AS v RETURN c, v, null AS t"
        if has_search_clause
        else f"CALL db.index.vector.queryNodes('{vector_index(collection)}', $pool, $vector) YIELD node, score"
        " RETURN node AS c, score AS v, null AS t"
    )
    return f"""{"CYPHER 25 " if has_search_clause else ""}CALL () {{
  {vectors}
  UNION ALL
  CALL db.index.fulltext.queryNodes('{text_index(collection)}', $words, {{limit: $pool}}) YIELD node, score
  RETURN node AS c, null AS v, score AS t
}}
RETURN collect([c.document, c.text, v, t]) AS found"""


def bare(connection: Connection, collection: str, *, has_search_clause: bool) -> Callable[..., Awaitable[list[str]]]:
    query = bare_query(collection, has_search_clause=has_search_clause)

    async def search(question: Question) -> list[str]:
        rows = await connection.read(
            query, {"vector": question["vector"], "words": question["words"], "pool": POOL}, seconds=60.0
        )
        return fused(rows[0][0])

    return search


def fused(found: Sequence[Sequence[Any]]) -> list[str]:
    """Documents (by number) by the sum of their reciprocal ranks in both searches."""
    scores: dict[str, float] = {}
    for column in (2, 3):
        ranked = sorted((row for row in found if row[column] is not None), key=lambda row: -row[column])
        for rank, name in enumerate(dict.fromkeys(str(row[0]) for row in ranked)):
            scores[name] = scores.get(name, 0.0) + 1 / (60 + rank)
    return sorted(scores, key=lambda name: -scores[name])


def ours(search: Search, collection: str) -> Callable[..., Awaitable[list[str]]]:
    permitted = frozenset({collection})

    async def retrieve(question: Question) -> list[str]:
        found = await search.retrieve(question["text"], collections=permitted, k=10)
        return [passage.document for passage in found.passages]

    return retrieve


async def server_cpu_s(connection: Connection) -> float:
    """Processor seconds of the server so far, of which it keeps account itself."""
    rows = await connection.read(
        'CALL dbms.queryJmx("java.lang:type=OperatingSystem") YIELD attributes RETURN attributes.ProcessCpuTime.value'
    )
    return float(rows[0][0]) / 1e9


async def compare(
    contestants: dict[str, Contestant], connection: Connection, *, rounds: int, count: int
) -> dict[int, dict[str, Tally]]:
    """Everybody in turn, at one and at 50 clients; a turn before the first warms and is not counted."""
    tallies = {clients: {name: Tally() for name in contestants} for clients in CLIENTS}
    for at in range(rounds + 1):
        for clients in CLIENTS:
            names = list(contestants)
            for name in names[at % len(names) :] + names[: at % len(names)]:
                before = await server_cpu_s(connection)
                turn = await contestants[name].turn(clients, 1 if clients == 1 else 3)
                after = await server_cpu_s(connection)
                if at:
                    tallies[clients][name].add(turn, after - before, count)
    return tallies


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def table(
    title: str, tallies: dict[int, dict[str, Tally]], questions: Sequence[AskedQuestion] | None
) -> list[dict[str, Any]]:
    """Print it, and return the rows."""
    result = []
    print(f"\n{title}")
    print(f"{'':34} {'p50 (turns) ms':>24} {'p95':>7} {'x bare p50':>10} {'p95':>5} {'client':>7} {'server':>7}  R@5")
    for clients, by_name in tallies.items():
        base = by_name["bare"]
        for name, tally in by_name.items():
            p50, p95 = percentile(tally.ms, 0.5), percentile(tally.ms, 0.95)
            row: dict[str, Any] = {
                "clients": clients,
                "name": name,
                "p50_ms": p50,
                "p50_of_turns_ms": [min(tally.p50s), max(tally.p50s)],
                "p95_ms": p95,
                "p50_to_bare": p50 / percentile(base.ms, 0.5),
                "p95_to_bare": p95 / percentile(base.ms, 0.95),
                "client_cpu_ms": float(np.median(tally.client_cpu_ms)),
                "server_cpu_ms": float(np.median(tally.server_cpu_ms)),
            }
            if questions is not None:
                row["recall_at_5"], row["all_evidence_at_5"] = recall_at_5(questions, tally.found)
            result.append(row)
            spread = f"({row['p50_of_turns_ms'][0]:.1f}-{row['p50_of_turns_ms'][1]:.1f})"
            recall = f"{row['recall_at_5']:.3f}" if questions is not None else ""
            print(
                f"{clients:3} {name:30} {p50:9.1f} {spread:>14} {p95:7.1f} {row['p50_to_bare']:10.2f} "
                f"{row['p95_to_bare']:5.2f} {row['client_cpu_ms']:7.1f} {row['server_cpu_ms']:7.1f}  {recall}"
            )
    return result


async def run_server(version: str, options: argparse.Namespace, embedder: MiniLM) -> dict[str, Any]:
    """All tables of one server."""
    read = read_questions(options.data, [REAL])
    texts = [question.text for question in read]
    vectors = dict(zip(texts, await embedder.embed(texts), strict=True))
    result: dict[str, Any] = {}
    async with empty_neo4j(version, keep=options.keep) as neo4j, AsyncExitStack() as stack:
        driver = neo4j.driver(pool_size=60, acquisition_s=60.0)
        connection = Connection(driver, address=neo4j.server.uri, database="neo4j", pool_size=60)
        store = Neo4jStore(driver, address=neo4j.server.uri, pool_size=60)
        server = await inspect(connection)
        await fill(store, connection, embedder, options.data, options.chunks)
        await store.load()
        for collection in [name for name in (REAL, LARGE) if name in await store.counts()]:
            languages = await store.languages(frozenset({collection}))
            questions = [
                {"text": text, "vector": vectors[text].tolist(), "words": lucene(ask(text, languages=languages))}
                for text in texts
            ]
            contestants: dict[str, Contestant] = {
                "bare": Here(
                    ask=_named(bare(connection, collection, has_search_clause=server.has_search_clause), connection),
                    questions=questions,
                ),
                "ours": Here(ask=ours(Search(store, Known(embedder, vectors)), collection), questions=questions),
                "ours, embedding included": Here(ask=ours(Search(store, embedder), collection), questions=questions),
            }
            if options.peers:
                contestants["neo4j-graphrag HybridCypher"] = await stack.enter_async_context(
                    Peer(
                        options.peers,
                        {
                            "peer": "graphrag",
                            "uri": neo4j.server.uri,
                            "vector_index": vector_index(collection),
                            "text_index": text_index_for_peers(collection),
                            "top_k": PEERS_TOP,
                            "questions": questions,
                        },
                        password=neo4j.server.password,
                    )
                )
            if options.peers and collection == REAL and not options.without_lightrag:
                contestants |= await light_rag(stack, options, connection, embedder, questions)
            tallies = await compare(contestants, connection, rounds=options.rounds, count=len(read))
            counts = (await store.counts())[collection]
            result[collection] = table(
                f"Neo4j {server.name}, {collection}: {counts.chunks} chunks, {len(read)} questions,"
                f" {options.rounds} rounds; milliseconds, processor ms a question",
                tallies,
                read if collection == REAL else None,
            )
        if not options.keep:
            await drop_indexes_for_peers(store, connection)
        await store.close()
    return result


def _named(search: Callable[..., Awaitable[list[str]]], connection: Connection) -> Callable[..., Awaitable[list[str]]]:
    """The same, with the documents' ids for their numbers (looked up once each, in the turn that is not counted)."""
    ids: dict[str, str] = {}

    async def asked(question: Question) -> list[str]:
        numbers = await search(question)
        missing = [int(number) for number in numbers if number not in ids]
        if missing:
            rows = await connection.read(
                "UNWIND $numbers AS n MATCH (d:Document {number: n}) RETURN n, d.id", {"numbers": missing}
            )
            ids.update((str(number), str(id_)) for number, id_ in rows)
        return [ids[number] for number in numbers]

    return asked


async def _main(options: argparse.Namespace) -> None:
    embedder = await MiniLM.open()
    with tempfile.TemporaryDirectory() as folder:
        options.folder = options.folder or Path(folder)
        options.socket = Path(folder) / "vectors"
        async with serve_vectors(embedder, options.socket):
            result = {version: await run_server(version, options, embedder) for version in options.server.split(",")}
    await embedder.close()
    if options.json:
        await asyncio.to_thread(options.json.write_text, json.dumps(result, indent=1))


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
    uvloop.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
