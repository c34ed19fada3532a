"""Links begin at the chunks that were found, and cost what those hold, however long their documents are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np
import pytest

from rag.records import Document
from rag.retrieval.question import ask
from rag.retrieval.view import View
from rag.stores.embedded import EmbeddedStore
from tests.support.knowledge import embed, embed_all, make_document
from tests.support.neo4j import EmptyNeo4j

PUBLIC = frozenset({"public"})
LIBRARY = (
    make_document("tours", "[Marbeck] plays [Ed Wood]. Seats cost 9.", "And [Big Eyes]. Doors open at eight."),
    make_document("ed-wood", "A film of 1994.", title="Ed Wood"),
    make_document("big-eyes", "A film of 2014.", title="Big Eyes"),
    make_document("interview", "[Marbeck] speaks about the stage.", title="An interview"),
)
AS_IN_FORMAT_2 = """
MATCH (d:Document)-[:HAS]->(c:Chunk)
WITH d, head(collect(c.origin)) AS origin, collect(c) AS chunks
SET d.card = origin REMOVE d.first
FOREACH (c IN chunks | REMOVE c.origin)
WITH count(d) AS changed
MATCH (m:Grapevine {id: 0}) SET m.version = 2
RETURN changed
"""


@pytest.fixture
async def store(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path_factory.mktemp("links") / "knowledge.db")
    await store.load()
    yield store
    await store.close()


async def filled(store: EmbeddedStore, documents: tuple[Document, ...] = LIBRARY) -> View:
    await store.put(documents)
    await embed_all(store)
    await store.load()
    return store.view(PUBLIC)


def row_of(view: View, text: str) -> int:
    infos = view.infos(range(view.rows))
    return next(row for row, info in enumerate(infos) if text in info.text)


def named(view: View, rows: list[int]) -> set[str]:
    documents = [info.document for info in view.infos(view.first_row[:-1].tolist())]
    return {documents[link.target] for link in view.links_from(rows, limit=12)}


async def test_a_link_begins_at_the_chunk_that_was_found(store: EmbeddedStore) -> None:
    """What another chunk of the same document names is not followed"""
    view = await filled(store)
    first, second = row_of(view, "Seats cost"), row_of(view, "Doors open")
    assert named(view, [first]) == {"ed-wood"}
    assert named(view, [second]) == {"big-eyes"}
    assert named(view, [second, first]) == {"ed-wood", "big-eyes"}


async def test_a_rare_name_is_shared_by_the_chunk_that_holds_it(store: EmbeddedStore) -> None:
    """Of two documents that name one person, each chunk leads to the other document; one without the name does not"""
    view = await filled(store)
    interview = row_of(view, "speaks about")
    for row, targets in ((row_of(view, "Seats cost"), {interview}), (row_of(view, "1994"), set())):
        links = view.shared_names([row], degree=(2, 4), limit=4)
        assert {link.target_row for link in links} == targets


async def test_the_best_sentence_is_the_greatest(store: EmbeddedStore) -> None:
    """Its cosine by itself equals the greatest of all of them; -1 where a chunk has no vectors yet"""
    view = await filled(store)
    await store.put([make_document("late", "Not embedded yet.")])
    await store.load()
    view = store.view(PUBLIC)
    vector, rows = embed(["a film"])[0], np.arange(view.rows, dtype=np.int32)
    greatest = [max(each.tolist(), default=-1.0) for each in view.sentence_cosines(vector, rows)]
    assert view.best_sentences(vector, rows).tolist() == greatest
    assert greatest.count(-1.0) == 1


@pytest.mark.services
async def test_a_database_of_an_earlier_format_is_brought_up(neo4j: EmptyNeo4j) -> None:
    """Its chunks learn what is shown of their documents, and its documents where they begin"""
    store = neo4j.store()
    await store.put(LIBRARY)
    await embed_all(store)
    question = replace(ask("Which seats are there?"), vector=embed(["a stage"])[0])

    async def seen() -> list[object]:
        view = await neo4j.store().view_for(question, PUBLIC, pool=2)
        rows = np.arange(view.rows, dtype=np.int32)
        assert question.vector is not None
        best = view.best_sentences(question.vector, rows).tolist()
        assert best == [max(each.tolist()) for each in view.sentence_cosines(question.vector, rows)]
        return [view.infos(rows.tolist()), best, named(view, rows.tolist())]

    before = await seen()
    assert "ed-wood" in {info.document for info in before[0]}  # type: ignore[attr-defined]  # that of `infos`
    assert await neo4j.run(AS_IN_FORMAT_2) == [[len(LIBRARY)]]
    assert await seen() == before
    assert await neo4j.run("MATCH (d:Document) WHERE d.card IS NOT NULL RETURN count(d)") == [[0]]
