"""What a replaced document leaves behind is taken away in parts, and counted as one document all the same."""

from __future__ import annotations

import pytest

from rag.records import Document
from rag.stores.neo4j import writer
from tests.support.knowledge import make_document
from tests.support.neo4j import EmptyNeo4j

pytestmark = pytest.mark.services

MISCOUNTED = """
MATCH (e:Entity)
OPTIONAL MATCH (e)<-[:MENTIONS]-(c:Chunk)
WITH e, count(DISTINCT c.document) AS documents
WHERE e.documents <> documents OR NOT EXISTS { (e)--() }
RETURN e.name, e.documents, documents
"""


def long(version: int, name: str = "long") -> Document:
    """Ten chunks: all name one thing, the first, the middle and the last another."""
    parts = [f"Part {at} of {version} by [Marbeck]." for at in range(10)]
    parts[0] += " See [Early] and [Both]."
    parts[4] += " See [Middle]."
    parts[9] += " See [Late] and [Both]."
    return make_document(name, *parts)


@pytest.mark.parametrize("at_once", [1, 3, 4, 10, 1000])
async def test_names_count_documents_however_many_chunks_go_at_once(
    neo4j: EmptyNeo4j, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """After long documents were replaced, each name says how many documents hold it, and no chunk is left over"""
    monkeypatch.setattr(writer, "SWEPT_AT_ONCE", at_once)
    store = neo4j.store()
    await store.put([long(0), long(0, "longer"), make_document("other", "[Marbeck], [Early], [Middle] and [Late].")])
    await store.put([make_document("short", "Only [Marbeck].")])
    await store.put([long(1), long(1, "longer"), make_document("short", "Nobody.")])
    assert await neo4j.run(MISCOUNTED) == []
    names = ["both", "early", "late", "marbeck", "middle"]
    held = await neo4j.run("MATCH (e:Entity) WHERE e.documents > 0 RETURN e.name, e.documents ORDER BY e.name")
    assert held == [[name, 2 if name == "both" else 3] for name in names]
    assert await neo4j.run("MATCH (c:Stale) RETURN count(c)") == [[0]]
    await store.put([make_document("long", "Nothing.")])
    await store.remove("public", ["longer"])
    assert await neo4j.run(MISCOUNTED) == []
