"""Vectors in Neo4j: bytes for the index, beside the lists of floats that earlier versions wrote."""

from __future__ import annotations

import numpy as np
import pytest

from rag.errors import InputError
from rag.retrieval.question import ask
from rag.stores.neo4j import Neo4jStore, attaching
from rag.stores.neo4j.ledger import State
from rag.stores.neo4j.upkeep import REBUILD_FROM, is_due
from tests.support.knowledge import DIMENSIONS, EMBEDDER, embed, embed_all, make_document
from tests.support.neo4j import EmptyNeo4j

PUBLIC = frozenset({"public"})
AS_BEFORE = """
MATCH (c:Chunk)<-[:HAS]-(d:Document {id: 'old'})
SET c.embedding = [x IN c.embedding | x / 127.0] REMOVE c.fixed
RETURN valueType(c.embedding)
"""


async def nearest(store: Neo4jStore, text: str) -> list[str]:
    """By meaning alone: no document holds the words of the question."""
    vector = np.asarray(embed([f"note: {text}"])[0])
    view = await store.view_for(ask("zzz", vector), PUBLIC, pool=50)
    cosines = view.cosines(vector)
    assert cosines is not None
    order = np.argsort(-cosines, kind="stable").tolist()
    return [info.document for info in view.infos(order)]


@pytest.mark.services
async def test_vectors_of_an_earlier_version_are_found_beside_new_ones(neo4j: EmptyNeo4j) -> None:
    """Lists of floats stay in the index, are exported, and go over to a new version of their document"""
    store = neo4j.store()
    await store.put([make_document("old", "One."), make_document("new", "Two.")])
    await embed_all(store)
    assert await neo4j.run(AS_BEFORE) == [["LIST<FLOAT NOT NULL> NOT NULL"]]
    for text, expected in (("One.", ["old", "new"]), ("Two.", ["new", "old"])):
        assert await nearest(store, text) == expected
    page = await store.dump(PUBLIC)
    for dumped, text in zip(page.documents, ("One.", "Two."), strict=True):
        (vectors,) = dumped.vectors
        assert vectors is not None
        assert vectors.as_unit() == pytest.approx(embed([f"note: {text}"])[0], abs=0.02)
    await store.put([make_document("old", "One.", title="Renamed")])
    assert (await store.counts())["public"].pending == 0
    assert await nearest(store, "One.") == ["old", "new"]


@pytest.mark.services
async def test_what_is_indexed_is_a_byte_a_dimension(neo4j: EmptyNeo4j) -> None:
    """A list of floats would be eight times as large, and take the driver a millisecond"""
    store = neo4j.store()
    await store.put([make_document("a", "One.")])
    await embed_all(store)
    expected = "LIST<INTEGER NOT NULL> NOT NULL"
    assert await neo4j.run("MATCH (c:Chunk) RETURN valueType(c.embedding)") == [[expected]]
    assert len((await neo4j.run("MATCH (c:Chunk) RETURN c.embedding"))[0][0]) == len(embed(["x"])[0])  # type: ignore[arg-type]  # bytes


@pytest.mark.services
async def test_vectors_that_fill_several_statements(neo4j: EmptyNeo4j, monkeypatch: pytest.MonkeyPatch) -> None:
    """All chunks get theirs, equal ones too; what does not fit in the last statement takes the first ones back"""
    monkeypatch.setattr(attaching, "_BYTES_AT_ONCE", 1)
    store = neo4j.store()
    await store.put([make_document("a", "One.", "Two. Three."), make_document("b", "One.", "Four.")])
    waiting = await store.pending(10)
    given = [(each.key, embed(each.texts)) for each in waiting]
    with pytest.raises(InputError, match="sentences"):
        await store.attach(EMBEDDER, DIMENSIONS, [*given[:-1], (given[-1][0], embed(["x"]))])
    assert await neo4j.run("MATCH (c:Chunk) WHERE c.embedding IS NOT NULL RETURN count(c)") == [[0]]
    assert await store.attach(EMBEDDER, DIMENSIONS, given) == 4
    assert (await store.counts())["public"].pending == 0
    assert (await nearest(store, "Four."))[0] == "b"


def test_when_an_index_is_made() -> None:
    """At the first vectors; anew when nothing waits and enough of the collection came since, so that it is whole"""
    assert is_due(State(has_index=False, pending=9, chunks=10), attached=1)
    assert not is_due(State(has_index=True, pending=1, chunks=1000), attached=1000)
    assert is_due(State(has_index=True, pending=0, chunks=1000), attached=REBUILD_FROM)
    assert not is_due(State(has_index=True, pending=0, chunks=1000), attached=REBUILD_FROM - 1)
    assert not is_due(State(has_index=True, pending=0, chunks=10_000), attached=2499)
    assert is_due(State(has_index=True, pending=0, chunks=10_000), attached=2500)
