"""What is wrong with a Neo4j is said in one line, and when it is mended, nothing has to be restarted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import numpy as np
import pytest

from rag.errors import EmbeddingMismatch, InputError, LoginRefused, StoreTooNew, StoreUnavailable
from rag.retrieval.question import ask
from rag.stores.neo4j import Neo4jStore
from rag.stores.neo4j.schema import server_of
from tests.support.knowledge import DIMENSIONS, EMBEDDER, embed, embed_all, make_document
from tests.support.neo4j import EmptyNeo4j
from tests.support.proxy import Proxy

pytestmark = pytest.mark.services

PUBLIC = frozenset({"public"})


@pytest.fixture
async def proxy(neo4j: EmptyNeo4j) -> AsyncIterator[Proxy]:
    """Between the store and its server; nobody listens yet."""
    address = urlsplit(neo4j.server.uri)
    proxy = Proxy(address.hostname or "", address.port or 0)
    yield proxy
    proxy.thaw()
    await proxy.down()


def store_through(proxy: Proxy, neo4j: EmptyNeo4j, *, pool_size: int = 8) -> Neo4jStore:
    return neo4j.store(driver=neo4j.driver(uri=proxy.uri, pool_size=pool_size))


async def found(store: Neo4jStore, text: str) -> set[str]:
    view = await store.view_for(ask(text), PUBLIC, pool=50)
    return {info.document for info in view.infos(range(view.rows))}


async def test_a_server_that_comes_later_is_used_then(proxy: Proxy, neo4j: EmptyNeo4j) -> None:
    """While nobody listens every call says so at once; as soon as the server is there, the same store works"""
    store = store_through(proxy, neo4j)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="is it running"):
            await store.put([make_document("a", "Text.")])
    await proxy.up()
    await store.put([make_document("a", "Text.")])
    assert await found(store, "text") == {"a"}


async def test_cut_connections_cost_one_question(proxy: Proxy, neo4j: EmptyNeo4j) -> None:
    """When the server dies under a question, that one fails, and the next one after its return is answered"""
    await proxy.up()
    store = store_through(proxy, neo4j)
    await store.put([make_document("a", "Text.")])
    await proxy.down()
    with pytest.raises(StoreUnavailable):
        await found(store, "text")
    await proxy.up()
    assert await found(store, "text") == {"a"}


async def test_a_frozen_server_is_given_up_in_time(proxy: Proxy, neo4j: EmptyNeo4j) -> None:
    """A server that accepts and never answers costs no more than the time there is, and answers again when it can"""
    await proxy.up()
    store = store_through(proxy, neo4j)
    await store.put([make_document("a", "Text.")])
    proxy.freeze()
    with pytest.raises(StoreUnavailable, match=r"did not answer within 0\.2 s"):
        await store.view_for(ask("text"), PUBLIC, pool=50, seconds=0.2)
    proxy.thaw()
    assert await found(store, "text") == {"a"}


async def test_a_write_that_was_cut_has_written_nothing_or_all(proxy: Proxy, neo4j: EmptyNeo4j) -> None:
    """Whenever the connection breaks, a document is there with all its chunks, or not at all"""
    await proxy.up()
    broken, other = store_through(proxy, neo4j), neo4j.store()
    for at in range(6):
        writing = asyncio.create_task(broken.put([make_document(f"d{at}", "One.", "Two.", "Three.")]))
        for _ in range(at * 12):
            await asyncio.sleep(0)
        proxy.cut()
        await asyncio.gather(writing, return_exceptions=True)
        document = await other.document("public", f"d{at}")
        assert len(await found(other, "three")) == (await other.counts()).get("public", _NONE).documents
        assert document is None or (document.chunks, document.pending) == (3, 3)


class _None:
    documents = 0


_NONE = _None()


async def test_no_connection_free(neo4j: EmptyNeo4j) -> None:
    """When all connections are taken the message names the setting, and the store goes on when one is given back"""
    driver = neo4j.driver(pool_size=1, acquisition_s=0.1)
    store = neo4j.store(driver=driver)
    await store.open()
    async with driver.session(database="neo4j") as session:
        transaction = await session.begin_transaction()
        with pytest.raises(StoreUnavailable, match="NEO4J_POOL_SIZE"):
            await store.counts()
        await transaction.rollback()
    assert await store.counts() == {}


async def test_a_wrong_password(neo4j: EmptyNeo4j) -> None:
    """A refused login names the settings and never the password"""
    store = neo4j.store(driver=neo4j.driver(password="not the password"))
    with pytest.raises(LoginRefused, match="NEO4J_PASSWORD") as caught:
        await store.open()
    assert "not the password" not in str(caught.value)


async def test_a_database_that_is_not_there(neo4j: EmptyNeo4j) -> None:
    """An unknown database names its setting"""
    store = Neo4jStore(neo4j.driver(), address=neo4j.server.uri, database="elsewhere", pool_size=8)
    with pytest.raises(StoreUnavailable, match="NEO4J_DATABASE"):
        await store.open()


async def test_a_newer_format_is_not_touched(neo4j: EmptyNeo4j) -> None:
    """A database that a newer version wrote is refused with what to do"""
    await neo4j.run("MERGE (m:Grapevine {id: 0}) SET m.version = 99")
    with pytest.raises(StoreTooNew, match="format is 99"):
        await neo4j.store().put([make_document("a", "Text.")])


async def test_a_question_of_another_model(neo4j: EmptyNeo4j) -> None:
    """A question with other dimensions than the stored vectors is refused with the command that mends it"""
    store = neo4j.store()
    await store.put([make_document("a", "Text.")])
    await embed_all(store)
    with pytest.raises(EmbeddingMismatch, match="--re-embed"):
        await store.view_for(ask("text", np.ones(7, np.float32)), PUBLIC, pool=50)


async def test_vectors_that_the_server_would_lose(neo4j: EmptyNeo4j) -> None:
    """A vector of zeros is refused on writing and not searched for on asking"""
    store = neo4j.store()
    await store.put([make_document("a", "One.")])
    (waiting,) = await store.pending(1)
    with pytest.raises(InputError, match="zero"):
        await store.attach(EMBEDDER, DIMENSIONS, [(waiting.key, np.zeros((2, DIMENSIONS), np.float32))])
    await embed_all(store)
    view = await store.view_for(ask("one", np.zeros(DIMENSIONS, np.float32)), PUBLIC, pool=50)
    assert view.rows == 1


@pytest.mark.parametrize(
    "text", ["AND (", "a/b", 'say "', "\\", "~ * ? [x TO y}", "OR OR", "+-!", "q" * 3000, "word " * 2000, "đơn: hàng^2"]
)
async def test_any_text_may_be_asked(neo4j: EmptyNeo4j, text: str) -> None:
    """What is syntax to a search engine is only text in a question"""
    store = neo4j.store()
    await store.put([make_document("a", "One word.")])
    await store.view_for(ask(text, embed([text])[0]), PUBLIC, pool=50)


async def test_removal_leaves_no_node_behind(neo4j: EmptyNeo4j) -> None:
    """After the last document is gone there is neither a chunk nor a name nor a link of it"""
    store = neo4j.store()
    for at in range(3):
        await store.put([make_document("a", f"See [Ed Wood] and [Fee List {at}].", "More.", title="Ed Wood")])
        await store.put([make_document("b", "About [Ed Wood].", title="Fees")])
    await embed_all(store)
    await store.remove("public", ["a", "b"])
    rows = await neo4j.run("MATCH (n) UNWIND labels(n) AS label RETURN DISTINCT label ORDER BY label")
    assert [row[0] for row in rows] == ["Collection", "Grapevine", "Statistics"]
    assert await neo4j.run("MATCH ()-[r]->() RETURN count(r)") == [[0]]


async def test_an_index_that_was_dropped_is_made_again(neo4j: EmptyNeo4j) -> None:
    """Without its vector index a question is answered from words; a check names what is lost, a start makes it anew"""
    store, other = neo4j.store(), neo4j.store()
    await store.put([make_document("a", "One."), make_document("b", "Two.")])
    await embed_all(store)
    nearest = ask("one", embed(["note: Two."])[0])
    assert (await other.view_for(nearest, PUBLIC, pool=50)).documents == 2
    await neo4j.run("DROP INDEX grapevine_vector_public")
    for each in (store, other):
        assert (await each.view_for(nearest, PUBLIC, pool=50)).documents == 1
    with pytest.raises(StoreUnavailable, match="lacks the index grapevine_vector_public"):
        await store.check()
    await store.load()
    await store.check()
    assert (await store.view_for(nearest, PUBLIC, pool=50)).documents == 2


def test_old_servers_are_refused() -> None:
    """A server older than 5.26 is named with what is needed; newer ones say what they can do"""
    with pytest.raises(StoreUnavailable, match=r"4\.4\.38 is too old: 5\.26"):
        server_of("4.4.38")
    assert not server_of("5.26.12").has_search_clause
    assert server_of("2026.08.1").has_search_clause
