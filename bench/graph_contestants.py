"""Who answers in this process, as the bot would: our retrieval, and a bare call with both searches in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.graph_peers import measure
from rag.embeddings.minilm import MiniLM
from rag.ports import Vectors
from rag.retrieval.search import Search
from rag.stores.neo4j import Neo4jStore
from rag.stores.neo4j.connection import Connection
from rag.stores.neo4j.schema import label, text_index, vector_index

POOL = 50
"""Of both searches, ours and the bare call's: the vector index finds .96 of the true ten at 50, .81 at 10."""
Question = dict[str, Any]
Ask = Callable[[Question], Awaitable[list[str]]]
"""The documents for a question, best first."""


@dataclass(kw_only=True)
class Here:
    """In this process."""

    ask: Ask
    questions: Sequence[Question]

    async def turn(self, clients: int, times: int) -> dict[str, Any]:
        """Ask all questions so often, so many at a time; see `bench.graph_peers.measure`."""
        return await measure(self.ask, list(self.questions) * times, clients)


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


def contestants_here(
    store: Neo4jStore,
    connection: Connection,
    collection: str,
    *,
    has_search_clause: bool,
    embedder: MiniLM,
    vectors: dict[str, Vectors],
    questions: Sequence[Question],
) -> dict[str, Here]:
    """Each without and with the embedding of the question."""
    plain = bare(connection, collection, has_search_clause=has_search_clause)
    asks = {
        "bare": plain,
        "ours": ours(Search(store, Known(embedder, vectors)), collection),
        "bare, embedding included": embedding_first(plain, embedder),
        "ours, embedding included": ours(Search(store, embedder), collection),
    }
    return {name: Here(ask=ask, questions=questions) for name, ask in asks.items()}


def ours(search: Search, collection: str) -> Ask:
    """As a turn of the bot asks."""
    permitted = frozenset({collection})

    async def retrieve(question: Question) -> list[str]:
        found = await search.retrieve(question["text"], collections=permitted, k=10)
        return [passage.document for passage in found.passages]

    return retrieve


def bare(connection: Connection, collection: str, *, has_search_clause: bool) -> Ask:
    """One call, and nothing done with what comes but the sum of reciprocal ranks."""
    query = bare_query(collection, has_search_clause=has_search_clause)
    ids: dict[str, str] = {}

    async def search(question: Question) -> list[str]:
        rows = await connection.read(
            query, {"vector": question["vector"], "words": question["words"], "pool": POOL}, seconds=60.0
        )
        numbers = fused(rows[0][0])
        # Looked up once each, in the turn that is not counted.
        missing = [int(number) for number in numbers if number not in ids]
        if missing:
            found = await connection.read(
                "UNWIND $numbers AS n MATCH (d:Document {number: n}) RETURN n, d.id", {"numbers": missing}
            )
            ids.update((str(number), str(id_)) for number, id_ in found)
        return [ids[number] for number in numbers]

    return search


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


def embedding_first(ask: Ask, embedder: MiniLM) -> Ask:
    """The same, with the question's vector computed as the bot does."""

    async def embedded(question: Question) -> list[str]:
        vector = (await embedder.embed([question["text"]], urgent=True))[0]
        return await ask(question | {"vector": vector.tolist()})

    return embedded


def fused(found: Sequence[Sequence[Any]]) -> list[str]:
    """Documents (by number) by the sum of their reciprocal ranks in both searches."""
    scores: dict[str, float] = {}
    for column in (2, 3):
        ranked = sorted((row for row in found if row[column] is not None), key=lambda row: -row[column])
        for rank, name in enumerate(dict.fromkeys(str(row[0]) for row in ranked)):
            scores[name] = scores.get(name, 0.0) + 1 / (60 + rank)
    return sorted(scores, key=lambda name: -scores[name])
