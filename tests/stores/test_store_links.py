"""Links begin at the chunks that were found, and cost what those hold, however long their documents are."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rag.extracted import Found, encoded
from rag.records import Document
from rag.retrieval.candidates import FEW_DOCUMENTS, MAX_PLACES
from rag.retrieval.gather import gather
from rag.retrieval.question import ask
from rag.retrieval.rank import weights_for
from rag.retrieval.view import View
from rag.stores.embedded import EmbeddedStore
from rag.stores.neo4j import Neo4jStore
from tests.support.knowledge import embed, embed_all, make_document
from tests.support.neo4j import EmptyNeo4j, empty_neo4j

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
MATCH (m:Grapevine {id: 0}) SET m.version = $version
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


Opened = Callable[[Sequence[Document], str], Awaitable[View]]
"""What a store knows of a question over these documents."""


@pytest.fixture(params=["embedded", pytest.param("neo4j", marks=pytest.mark.services)])
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opened]:
    async with AsyncExitStack() as stack:
        held: EmbeddedStore | Neo4jStore
        if request.param == "embedded":
            held = EmbeddedStore(tmp_path / "opened.db")
            stack.push_async_callback(held.close)
        else:
            held = (await stack.enter_async_context(empty_neo4j("5"))).store()

        async def view_of(documents: Sequence[Document], text: str) -> View:
            await held.put(documents)
            await embed_all(held)
            await held.load()
            if isinstance(held, EmbeddedStore):
                return held.view(PUBLIC)
            return await held.view_for(replace(ask(text), vector=embed([text])[0]), PUBLIC, pool=10)

        yield view_of


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


def shared(view: View, rows: list[int]) -> list[tuple[str, int]]:
    """The documents that rare names lead to, with the number of those that hold the name."""
    found = view.shared_names(rows, degree=(2, 4), limit=4)
    infos = view.infos([link.target_row for link in found if link.target_row is not None])
    return [(info.document, link.degree) for info, link in zip(infos, found, strict=True)]


async def test_the_rarest_name_of_a_document_comes_first(opened: Opened) -> None:
    """Whichever of its found chunks holds it: a name of two documents before those of four"""
    others = [make_document(f"o{at}", "[Alpha] and [Beta].") for at in range(3)]
    view = await opened(
        [make_document("q", "zebra [Alpha], [Beta].", "zebra [Needle]."), make_document("n", "[Needle]."), *others],
        "zebra",
    )
    rows = [row_of(view, "[Alpha], [Beta]"), row_of(view, "zebra [Needle]")]
    links = shared(view, rows)
    assert links[0] == ("n", 2)
    assert {degree for _, degree in links[1:]} == {4}
    assert len(links) == 4


async def test_written_links_leave_room_for_rare_names(opened: Opened) -> None:
    """Ten links in a chunk do not hide the name that it shares with another document"""
    links = " ".join(f"[@t{at}]" for at in range(10))
    targets = [make_document(f"t{at}", "Nothing else.") for at in range(10)]
    both = [make_document("q", f"zebra {links} [Zulu]."), make_document("z", f"{links} [Zulu].")]
    view = await opened([*both, *targets], "zebra")
    assert ("z", 2) in shared(view, [row_of(view, "zebra")])


async def test_a_name_on_every_page_is_not_rare(opened: Opened) -> None:
    """However few documents hold it; a name of few chunks is, beside it"""
    pages = [f"[Acme] page {at}." for at in range(MAX_PLACES + 1)]
    view = await opened(
        [make_document("q", "zebra [Acme] [Needle].", *pages), make_document("n", "[Needle] of [Acme].", *pages)],
        "zebra",
    )
    assert {document for document, _ in shared(view, [row_of(view, "zebra")])} == {"n"}
    assert len(shared(view, [row_of(view, "zebra")])) == 1


async def test_a_title_that_many_share_brings_none_of_them(opened: Opened) -> None:
    """A question with these words is answered from what was found, however many documents are called so"""
    notes = [make_document(f"d{at}", f"Word{at}.", title="Meeting notes") for at in range(FEW_DOCUMENTS + 1)]
    view = await opened([*notes, make_document("q", "zebra.")], "zebra meeting notes")
    asked = replace(ask("zebra meeting notes"), vector=embed(["zebra"])[0])
    assert gather(view, asked, weights_for("hybrid", understands=True)).titled == {}


@pytest.mark.services
async def test_questions_beside_removals(neo4j: EmptyNeo4j) -> None:
    """What goes in the middle of a query is not in the answer; nothing fails, and the others are found"""
    store, reader = neo4j.store(), neo4j.store()
    texts = [f"fee {at} [Name{at % 3}]." for at in range(12)]
    await store.put([make_document("stays", "fee [Name0].")])
    is_over = False

    async def read() -> int:
        count = 0
        while not is_over:
            view = await reader.view_for(replace(ask("fee"), vector=embed(["fee"])[0]), PUBLIC, pool=50)
            found = Counter(info.document for info in view.infos(range(view.rows)))
            assert found["stays"] == 1
            assert found["goes"] <= len(texts)
            count += 1
        return count

    async with asyncio.TaskGroup() as group:
        readers = [group.create_task(read()) for _ in range(3)]
        for _ in range(12):
            await store.put([make_document("goes", *texts)])
            await store.remove("public", ["goes"])
        is_over = True
    assert all(each.result() > 0 for each in readers)


@pytest.mark.services
@pytest.mark.parametrize("version", [2, 3], ids=["before", "by a process that still ran"])
async def test_a_database_of_an_earlier_format_is_brought_up(neo4j: EmptyNeo4j, version: int) -> None:
    """Its chunks learn what is shown of their documents, and its documents where they begin; none keeps what was"""
    store = neo4j.store()
    await store.put([*LIBRARY, make_document("empty")])
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
    assert await neo4j.run(AS_IN_FORMAT_2.replace("$version", str(version))) == [[len(LIBRARY)]]
    await neo4j.run("MATCH (d:Document {id: 'empty'}) SET d.card = '[]'")
    assert await seen() == before
    assert await neo4j.run("MATCH (d:Document) WHERE d.card IS NOT NULL RETURN count(d)") == [[0]]


@pytest.mark.services
async def test_a_step_that_was_cut_is_taken_up(neo4j: EmptyNeo4j) -> None:
    """What the first attempt has done stays as it is, the rest follows, and what a model found is known to be there"""
    store = neo4j.store()
    await store.put(LIBRARY)
    digest = LIBRARY[0].chunks[0].digest
    await store.keep_extracted("public", {digest: encoded(Found(sentences=2))})
    origins = await neo4j.run("MATCH (c:Chunk) RETURN c.key, c.origin ORDER BY c.key")
    firsts = await neo4j.run("MATCH (d:Document) RETURN d.id, d.first ORDER BY d.id")
    await neo4j.run(AS_IN_FORMAT_2.replace("$version", "2"))
    await neo4j.run("MATCH (k:Collection) REMOVE k.extracted")
    await neo4j.run("MATCH (d:Document {id: 'tours'})-[:HAS]->(c:Chunk {ordinal: 0}) SET c.origin = d.card")
    await neo4j.run(
        "MATCH (d:Document {id: 'ed-wood'})-[:HAS]->(c:Chunk) SET c.origin = d.card, d.first = c.key REMOVE d.card"
    )
    again = await neo4j.open_store()
    assert await neo4j.run("MATCH (c:Chunk) RETURN c.key, c.origin ORDER BY c.key") == origins
    assert await neo4j.run("MATCH (d:Document) RETURN d.id, d.first ORDER BY d.id") == firsts
    await again.put([make_document("tours", "[Marbeck] plays [Ed Wood]. Seats cost 9.", "Changed.")])
    assert set(await again.extracted("public")) == {digest}
