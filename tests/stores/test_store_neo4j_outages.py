"""A Neo4j that dies, pauses or builds an index under a question: said in one line, nothing lost, no restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import numpy as np
import pytest

from rag.errors import StoreUnavailable
from rag.retrieval.question import ask
from rag.stores.neo4j import Neo4jStore
from tests.support.knowledge import embed, embed_all, make_document
from tests.support.neo4j import EmptyNeo4j
from tests.support.proxy import Proxy

pytestmark = pytest.mark.services

PUBLIC = frozenset({"public"})
ASKED = 12


@pytest.fixture
async def proxy(neo4j: EmptyNeo4j) -> AsyncIterator[Proxy]:
    """Between the store and its server, and up."""
    address = urlsplit(neo4j.server.uri)
    proxy = Proxy(address.hostname or "", address.port or 0)
    await proxy.up()
    yield proxy
    proxy.thaw()
    await proxy.down()


async def found(store: Neo4jStore, text: str, *, seconds: float | None = None) -> set[str]:
    view = await store.view_for(ask(text), PUBLIC, pool=50, seconds=seconds)
    return {info.document for info in view.infos(range(view.rows))}


async def test_a_server_that_dies_in_the_middle_of_a_question(proxy: Proxy, neo4j: EmptyNeo4j) -> None:
    """A question that is under way when the server dies fails in one line; the next one after its return is answered"""
    store = neo4j.store(driver=neo4j.driver(uri=proxy.uri))
    await store.put([make_document("a", "Text.")])
    proxy.freeze()
    asking = asyncio.create_task(found(store, "text"))
    while not store.gauges.in_use:
        await asyncio.sleep(0)
    await proxy.down()
    with pytest.raises(StoreUnavailable) as caught:
        await asking
    assert "\n" not in str(caught.value)
    proxy.thaw()
    await proxy.up()
    assert await found(store, "text") == {"a"}


async def test_a_pause_takes_no_connection_for_good(proxy: Proxy, neo4j: EmptyNeo4j) -> None:
    """More questions than there are connections, all given up while the server was paused, leave none of them taken"""
    store = neo4j.store(driver=neo4j.driver(uri=proxy.uri, pool_size=4, acquisition_s=5.0))
    await store.put([make_document("a", "Text.")])
    proxy.freeze()
    asked = [found(store, "text", seconds=0.2) for _ in range(ASKED)]
    given_up = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(each, StoreUnavailable) for each in given_up)
    proxy.thaw()
    answers = await asyncio.gather(*(found(store, "text") for _ in range(ASKED)))
    assert answers == [{"a"}] * ASKED
    assert store.gauges.in_use == 0


async def test_a_write_outlasts_a_pause(proxy: Proxy, neo4j: EmptyNeo4j) -> None:
    """A document that was being written when the server paused is there as a whole afterwards, and once"""
    store = neo4j.store(driver=neo4j.driver(uri=proxy.uri))
    await store.open()
    writing = asyncio.create_task(store.put([make_document("a", "One.", "Two.", "Three.")]))
    while not store.gauges.in_use:
        await asyncio.sleep(0)
    proxy.freeze()
    other = neo4j.store()
    assert (await other.counts()).get("public") is None or (await other.counts())["public"].chunks == 3
    proxy.thaw()
    await writing
    assert (await other.counts())["public"].chunks == 3
    assert await found(other, "three") == {"a"}


@pytest.mark.slow
async def test_an_index_that_is_still_being_built(neo4j: EmptyNeo4j) -> None:
    """While the vector index is built a check says how far it is, and questions are answered from words"""
    store = neo4j.store()
    await store.put([make_document("a", "One."), make_document("b", "Two.")])
    await embed_all(store)
    await neo4j.run("DROP INDEX grapevine_vector_public")
    # Enough work to still be at it: on an idle machine this index takes a few seconds.
    await neo4j.run(
        "UNWIND range(1, 4000) AS i CREATE (n:In_public:Stale)"
        f" SET n.embedding = [x IN range(1, {len(embed(['x'])[0])}) | rand() - 0.5]"
    )
    await neo4j.run(
        "CREATE VECTOR INDEX grapevine_vector_public FOR (n:In_public) ON (n.embedding) OPTIONS {indexConfig: {"
        f"`vector.dimensions`: {len(embed(['x'])[0])}, `vector.similarity_function`: 'cosine',"
        " `vector.hnsw.m`: 512, `vector.hnsw.ef_construction`: 3200}}"
    )
    with pytest.raises(StoreUnavailable, match="still building the index grapevine_vector_public"):
        await store.check()
    nearest = ask("one", np.asarray(embed(["note: Two."])[0]))
    view = await store.view_for(nearest, PUBLIC, pool=50)
    assert {info.document for info in view.infos(range(view.rows))} == {"a"}
    await neo4j.run("DROP INDEX grapevine_vector_public")
