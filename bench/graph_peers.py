"""The other ways to search a graph, each in a process and with packages of its own: `neo4j-graphrag` and LightRAG.

Run by `bench.graph` with the Python of the peers' environment (bench/graph_peers.txt says what is in it), never by
hand. One JSON object a line comes in and one goes out, so that the bench decides whose turn it is. It imports nothing
of Grapevine's; the question's vector, and every other one, is computed by the bench, which serves them on a socket.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import re
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Found = list[list[str]]
Question = dict[str, Any]

_SYNTAX = re.compile(r'[+\-&|!(){}\[\]^"~*?:\\/]')
"""Of Lucene's query parser. The library hands a question on as it is, which fails for some."""

NEIGHBOURS = """
MATCH (node)<-[:HAS]-(d:Document)
OPTIONAL CALL (node) {
  MATCH (node)-[:MENTIONS]->(:Entity)<-[:ANSWERS]-(t:Document)-[:HAS]->(n:Chunk)
  WHERE t.number <> node.document
  RETURN DISTINCT t, n LIMIT 5
}
RETURN d.id AS document, node.text AS text, score, collect([t.id, n.text]) AS neighbours
"""
"""What its documentation shows: from each passage found to those it is linked with."""


class GraphRag:
    """HybridCypherRetriever, a synchronous library: clients are threads."""

    def __init__(self, task: dict[str, Any]) -> None:
        from neo4j import GraphDatabase  # noqa: PLC0415 - each peer has its own imports
        from neo4j_graphrag.retrievers import (  # type: ignore[import-not-found]  # noqa: PLC0415 - not installed here
            HybridCypherRetriever,
        )
        from neo4j_graphrag.types import (  # type: ignore[import-not-found]  # noqa: PLC0415 - likewise
            RetrieverResultItem,
        )

        def formatted(record: Any) -> Any:
            content = {"text": record["text"], "neighbours": record["neighbours"]}
            return RetrieverResultItem(
                content=content, metadata={"document": record["document"], "score": record["score"]}
            )

        driver = GraphDatabase.driver(
            os.environ["NEO4J_URI"],
            auth=(os.environ["NEO4J_USERNAME"], os.environ["NEO4J_PASSWORD"]),
            notifications_min_severity="OFF",
        )
        self._retriever = HybridCypherRetriever(
            driver, task["vector_index"], task["text_index"], NEIGHBOURS, result_formatter=formatted
        )
        self._top_k = int(task["top_k"])
        self._threads = ThreadPoolExecutor(64)

    def _ask(self, question: Question) -> list[str]:
        result = self._retriever.search(
            query_text=_SYNTAX.sub(" ", question["text"]), query_vector=question["vector"], top_k=self._top_k
        )
        # Its own query keeps no order once something is appended to it.
        best = sorted(result.items, key=lambda item: -item.metadata["score"])
        return [str(item.metadata["document"]) for item in best]

    async def ask(self, question: Question) -> list[str]:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._ask, question)


class LightRag:
    """LightRAG with its defaults. Its model is a script: keywords are the words of the question.

    By default its storages are in this process (networkx, nano-vectordb, JSON): no server has a part in its answers,
    which is the quickest it can be. With a label its graph is in Neo4j; for vectors it has no storage there.
    """

    def __init__(self, task: dict[str, Any]) -> None:
        self._task = task
        self._known: dict[str, Any] = {}
        with open(os.path.join(task["folder"], "graph.json"), encoding="utf-8") as file:  # noqa: PTH118, PTH123 - as it is
            self._graph = json.load(file)
        self._documents: list[str] = self._graph["documents"]
        self._rag: Any = None

    async def open(self) -> None:
        """Build the storages unless they are there; about a minute of embedding for HotpotQA."""
        if self._task["label"]:
            os.environ["NEO4J_WORKSPACE"] = self._task["label"]
        from lightrag import LightRAG  # type: ignore[import-not-found]  # noqa: PLC0415 - each peer has its own imports
        from lightrag.utils import (  # type: ignore[import-not-found]  # noqa: PLC0415 - likewise
            EmbeddingFunc,
            Tokenizer,
        )

        for chatty in ("lightrag", "nano-vectordb"):  # or there are twelve lines for a question, at its expense
            logging.getLogger(chatty).setLevel(logging.WARNING)

        async def model(prompt: str, **_: object) -> str:
            return json.dumps(keywords(prompt.rsplit("User Query:", 1)[-1]))

        self._rag = LightRAG(
            working_dir=self._task["folder"],
            graph_storage="Neo4JStorage" if self._task["label"] else "NetworkXStorage",
            llm_model_func=model,
            embedding_func=EmbeddingFunc(
                embedding_dim=self._task["dimensions"],
                max_token_size=8192,
                func=self._embed,
                supports_asymmetric=True,
            ),
            tokenizer=Tokenizer("words", _Words()),
            embedding_batch_num=64,
            default_embedding_timeout=600,  # 60 s are too few on a busy machine
        )
        await self._rag.initialize_storages()
        self._know_vectors()
        built = os.path.join(self._task["folder"], "built")  # noqa: PTH118 - as the library has it
        if not os.path.exists(built):  # noqa: ASYNC240, PTH110 - once
            await self._rag.ainsert_custom_kg({name: part for name, part in self._graph.items() if name != "documents"})
            with open(built, "w"):  # noqa: ASYNC230, PTH123 - once
                pass
        if self._task["label"]:
            await self._copy_graph()

    def _know_vectors(self) -> None:
        """Of passages whose vectors come with them."""
        import numpy as np  # noqa: PLC0415 - each peer has its own imports

        path = os.path.join(self._task["folder"], "vectors.npy")  # noqa: PTH118 - as the library has it
        if os.path.exists(path):  # noqa: PTH110 - likewise
            self._known = {
                chunk["content"]: row for chunk, row in zip(self._graph["chunks"], np.load(path), strict=True)
            }

    async def _copy_graph(self) -> None:
        """The graph that was built, into Neo4j."""
        import networkx as nx  # type: ignore[import-untyped]  # noqa: PLC0415 - each peer has its own imports

        graph = nx.read_graphml(
            os.path.join(self._task["folder"], "graph_chunk_entity_relation.graphml")  # noqa: PTH118 - its own name for it
        )
        storage = self._rag.chunk_entity_relation_graph
        await storage.upsert_nodes_batch(list(graph.nodes(data=True)))
        await storage.upsert_edges_batch(list(graph.edges(data=True)))

    async def _embed(self, texts: list[str], context: str = "document", **_: object) -> Any:
        """Vectors of the bench's; each text is embedded once, so that the questions' are known when it counts."""
        import numpy as np  # noqa: PLC0415 - each peer has its own imports

        missing = [text for text in dict.fromkeys(texts) if text not in self._known]
        if missing:
            vectors = await _vectors(self._task["embedder"], missing, is_question=context == "query")
            self._known.update(zip(missing, np.frombuffer(vectors, np.float32).reshape(len(missing), -1), strict=True))
        return np.stack([self._known[text] for text in texts])

    async def ask(self, question: Question) -> list[str]:
        from lightrag import QueryParam  # noqa: PLC0415 - each peer has its own imports

        found = keywords(question["text"])
        param = QueryParam(
            mode=self._task["mode"],
            enable_rerank=False,
            hl_keywords=found["high_level_keywords"],
            ll_keywords=found["low_level_keywords"],
        )
        result = await self._rag.aquery_data(question["text"], param)
        return [self._documents[int(chunk["file_path"])] for chunk in result.get("data", {}).get("chunks", [])]


class _Words:
    """A tokenizer that needs no download: a word is a token."""

    def encode(self, content: str) -> list[int]:
        return [0] * len(content.split())

    def decode(self, tokens: list[int]) -> str:
        return " " * len(tokens)


def keywords(question: str) -> dict[str, list[str]]:
    """What a model would name: names are the concrete keywords, the other long words the general ones."""
    names = re.findall(r"[A-Z][\w'.-]*(?: (?:of |the |and |in )?[A-Z][\w'.-]*)*", question)
    words: list[str] = re.findall(r"[a-z]{5,}", question)
    return {"high_level_keywords": words[:6] or [question], "low_level_keywords": names[:6] or [question]}


async def _vectors(path: str, texts: Sequence[str], *, is_question: bool) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path, limit=2**26)
    writer.write(json.dumps({"texts": list(texts), "is_question": is_question}).encode() + b"\n")
    answer = await reader.readline()
    writer.close()
    return base64.b64decode(answer)


async def measure(
    ask: Callable[[Question], Awaitable[list[str]]], questions: Sequence[Question], clients: int
) -> dict[str, Any]:
    """All questions once, so many at a time: milliseconds of each, what was found, processor seconds."""
    waiting = list(enumerate(questions))[::-1]
    taken, found = [0.0] * len(questions), [[""]] * len(questions)
    began = resource.getrusage(resource.RUSAGE_SELF)

    async def client() -> None:
        while waiting:
            at, question = waiting.pop()
            started = time.perf_counter()
            found[at] = await ask(question)
            taken[at] = (time.perf_counter() - started) * 1000

    await asyncio.gather(*(client() for _ in range(clients)))
    ended = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "ms": taken,
        "found": found,
        "cpu_s": ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime,
    }


async def main() -> None:
    task = json.loads(sys.stdin.readline())
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print
    peer: GraphRag | LightRag = GraphRag(task) if task["peer"] == "graphrag" else LightRag(task)
    if isinstance(peer, LightRag):
        await peer.open()
    print(json.dumps({"is_ready": True}), file=answers, flush=True)
    questions: list[Question] = task["questions"]
    while line := await asyncio.to_thread(sys.stdin.readline):
        turn = json.loads(line)
        asked = questions * turn["times"]
        print(json.dumps(await measure(peer.ask, asked, turn["clients"])), file=answers, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
