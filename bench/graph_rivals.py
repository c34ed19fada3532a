"""The peers of `bench.graph` as seen from the bench: child processes that take turns, and vectors served to them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np

from bench.graph_data import LARGE, note
from bench.graph_light import light_graph, light_passages
from rag.embeddings.minilm import MiniLM
from rag.stores.neo4j import Neo4jStore
from rag.stores.neo4j.connection import Connection
from rag.stores.vectors import Floats
from tests.support.services import Neo4jServer

LIGHT_RAG_LABEL = "LightRag"
"""Of its nodes, where its graph is in Neo4j."""
_CHILD = Path(__file__).with_name("graph_peers.py")
_LINE_BYTES = 2**28


class Peer:
    """A process of `bench/graph_peers.py`."""

    def __init__(self, python: Path, task: dict[str, Any], server: Neo4jServer) -> None:
        self._python, self._task, self._server = python, task, server

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            str(self._python),
            str(_CHILD),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_BYTES,
            env={
                "NEO4J_URI": self._server.uri,
                "NEO4J_USERNAME": self._server.username,
                "NEO4J_PASSWORD": self._server.password,
                "NEO4J_DATABASE": "neo4j",
                "OPENBLAS_NUM_THREADS": "1",
                "PYTHONWARNINGS": "ignore",
            },
        )
        await self._say(self._task)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._process.wait()

    async def turn(self, clients: int, times: int) -> dict[str, Any]:
        """See `bench.graph_peers.measure`."""
        return await self._say({"clients": clients, "times": times})

    async def _say(self, what: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what).encode() + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the peer {self._task['peer']} ended; its message is above")
        answer: dict[str, Any] = json.loads(line)
        return answer


@asynccontextmanager
async def serve_vectors(embedder: MiniLM, path: Path) -> AsyncIterator[None]:
    """A socket that answers a line with texts in it with their vectors: every peer has the same embedder."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = json.loads(await reader.readline())
        if asked["is_question"]:
            vectors = await embedder.embed(asked["texts"], urgent=True)
        else:  # by `embed` it would yield the cores to whatever else runs on the machine, for an hour if need be
            vectors = await asyncio.to_thread(embedder.embed_now, asked["texts"])
        writer.write(base64.b64encode(vectors.astype("float32").tobytes()) + b"\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(answer, str(path), limit=_LINE_BYTES)
    try:
        yield
    finally:
        server.close()


class LightRags:
    """LightRAG in its modes, over storages of a collection's documents."""

    def __init__(self, python: Path, server: Neo4jServer, folder: Path, socket: Path, dimensions: int) -> None:
        self._python, self._server, self._folder = python, server, folder
        self._socket, self._dimensions = socket, dimensions

    async def start(
        self, stack: AsyncExitStack, store: Neo4jStore, collection: str, questions: Sequence[str]
    ) -> dict[str, Peer]:
        """By name; the first one builds the storages, unless an earlier run did. Of the large one without a graph."""
        began = time.perf_counter()
        vectors = None
        if collection == LARGE:
            graph, vectors = await light_passages(store, collection)
        else:
            graph = await light_graph(store, collection)
        folder = await asyncio.to_thread(self._save, json.dumps(graph).encode(), vectors)
        note(f"what LightRAG is given of {collection} is written", began)
        modes = [("LightRAG naive", "naive", False)]
        if "entities" in graph:
            modes += [("LightRAG mix", "mix", False), ("LightRAG mix, graph in Neo4j", "mix", True)]
        started = {}
        for name, mode, is_in_neo4j in modes:
            task = {
                "peer": "lightrag",
                "mode": mode,
                "label": LIGHT_RAG_LABEL if is_in_neo4j else None,
                "folder": str(folder),
                "embedder": str(self._socket),
                "dimensions": self._dimensions,
                "questions": [{"text": text} for text in questions],
            }
            began = time.perf_counter()
            started[name] = await stack.enter_async_context(Peer(self._python, task, self._server))
            note(f"{name} is ready", began)
        return started

    def _save(self, graph: bytes, vectors: Floats | None) -> Path:
        folder = self._folder / f"lightrag-{hashlib.sha256(graph).hexdigest()[:12]}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "graph.json").write_bytes(graph)
        if vectors is not None:
            np.save(folder / "vectors.npy", vectors)
        return folder


async def forget_light_rag(connection: Connection) -> None:
    """Its part of the database, with the indexes it made."""
    await connection.change_schema(
        f"MATCH (n:{LIGHT_RAG_LABEL}) CALL (n) {{ DETACH DELETE n }} IN TRANSACTIONS OF 2000 ROWS"
    )
    found = await connection.read(
        "SHOW INDEXES YIELD name, labelsOrTypes WHERE $label IN labelsOrTypes RETURN name", {"label": LIGHT_RAG_LABEL}
    )
    for (name,) in found:
        await connection.change_schema(f"DROP INDEX {name} IF EXISTS")
