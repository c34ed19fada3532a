"""The peers of `bench.graph` as seen from the bench: child processes that take turns, and vectors served to them."""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self

from bench.graph_data import write_light_graph
from rag.embeddings.minilm import MiniLM
from rag.stores.neo4j.connection import Connection

_CHILD = Path(__file__).with_name("graph_peers.py")
_LINE_BYTES = 2**28


class Peer:
    """A process of `bench/graph_peers.py`."""

    def __init__(self, python: Path, task: dict[str, Any], *, password: str = "") -> None:
        self._python, self._task, self._password = python, task, password

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            str(self._python),
            str(_CHILD),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_BYTES,
            env={"GRAPEVINE_BENCH_PASSWORD": self._password, "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
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
    """A socket that answers a line of texts with their vectors: every peer has the same embedder."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        texts = json.loads(await reader.readline())
        vectors = await embedder.embed(texts)
        writer.write(base64.b64encode(vectors.astype("float32").tobytes()) + b"\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(answer, str(path), limit=_LINE_BYTES)
    try:
        yield
    finally:
        server.close()


async def light_rag(
    stack: AsyncExitStack,
    options: argparse.Namespace,
    connection: Connection,
    embedder: MiniLM,
    questions: Sequence[dict[str, Any]],
) -> dict[str, Peer]:
    """LightRAG in both modes, over its own storages of the same documents."""
    folder = options.folder / "lightrag"
    folder.mkdir(parents=True, exist_ok=True)
    await write_light_graph(connection, folder / "graph.json")
    return {
        f"LightRAG {mode}": await stack.enter_async_context(
            Peer(
                options.peers,
                {
                    "peer": "lightrag",
                    "mode": mode,
                    "folder": str(folder),
                    "graph": str(folder / "graph.json"),
                    "embedder": str(options.socket),
                    "dimensions": embedder.dimensions,
                    "questions": [{"text": question["text"]} for question in questions],
                },
            )
        )
        for mode in ("mix", "naive")
    }
