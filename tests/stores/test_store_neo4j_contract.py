"""Neo4j keeps the contract, on 5.26 LTS and on 2026.x."""

from __future__ import annotations

import numpy as np
import pytest

from rag.ports import KnowledgeStore, Vectors
from rag.retrieval.gather import search_words
from rag.retrieval.question import Asked, ask
from rag.retrieval.view import View
from rag.stores.neo4j import Neo4jStore
from tests.stores.contract import OpenStore, Probe, StoreContract
from tests.support.neo4j import EmptyNeo4j


class Neo4jProbe:
    """Looks through what a question brings."""

    async def by_words(self, store: KnowledgeStore, word: str, collections: frozenset[str]) -> list[str]:
        view, asked = await _asked(store, word, collections)
        return _documents(view, search_words(view, asked).text.scores, above=0.0)

    async def by_meaning(self, store: KnowledgeStore, vector: Vectors, collections: frozenset[str]) -> list[str]:
        view, _ = await _asked(store, "meaning", collections, vector)
        scores = view.cosines(vector)
        return [] if scores is None else _documents(view, scores, above=-1.0)

    async def named_by(self, store: KnowledgeStore, document: str, collections: frozenset[str]) -> set[str]:
        view, _ = await _asked(store, "see more about", collections)
        ids = [info.document for info in view.infos(view.first_row[:-1].tolist())]
        rows = np.flatnonzero(view.document_of == ids.index(document)).tolist()
        return {ids[link.target] for link in view.links_from(rows, limit=100)}

    async def texts(self, store: KnowledgeStore, word: str, collections: frozenset[str]) -> set[str]:
        view, asked = await _asked(store, word, collections)
        rows = np.flatnonzero(search_words(view, asked).text.scores)
        return {info.text for info in view.infos(rows.tolist())}


async def _asked(
    store: KnowledgeStore, text: str, collections: frozenset[str], vector: Vectors | None = None
) -> tuple[View, Asked]:
    assert isinstance(store, Neo4jStore)
    # The contract's documents are indexed by their plain words, not by stems.
    words = tuple(text.split())
    asked = ask(text, vector)
    asked = Asked(
        text=text,
        language="en",
        terms=words,
        column="marked",
        folded=words,
        names=(),
        titles=asked.titles,
        vector=vector,
        content=np.ones(len(words), np.bool_),
        focus=(),
        named=(),
    )
    return await store.view_for(asked, collections, pool=50), asked


def _documents(view: View, scores: Vectors, *, above: float) -> list[str]:
    rows = [row for row in np.argsort(-scores, kind="stable").tolist() if scores[row] > above]
    return list(dict.fromkeys(info.document for info in view.infos(rows)))


@pytest.mark.services
class TestNeo4jStore(StoreContract):
    """All of it, on both servers."""

    @pytest.fixture
    def open_store(self, neo4j: EmptyNeo4j) -> OpenStore:
        return neo4j.open_store

    @pytest.fixture
    def probe(self) -> Probe:
        return Neo4jProbe()
