"""What every knowledge store must do, as one class of tests: subclass it and give it the two fixtures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Protocol, cast

import numpy as np
import pytest

from rag.errors import EmbeddingMismatch, InputError
from rag.extracted import Found, encoded
from rag.ingest.llm_extract.ports import ExtractionStore
from rag.ports import KnowledgeStore, Vectors
from rag.transfer.ports import TransferStore
from tests.support.knowledge import DIMENSIONS, EMBEDDER, embed, embed_all, make_document

PUBLIC, STAFF = frozenset({"public"}), frozenset({"staff"})
BOTH = PUBLIC | STAFF
TODAY = date(2026, 11, 20)

OpenStore = Callable[[], Awaitable[KnowledgeStore]]
"""Another handle on the same data, as another process would have; closed after the test."""


class _Movable(ExtractionStore, TransferStore, Protocol):
    """What a knowledge store can do beside its port."""


class Probe(Protocol):
    """How a test looks at what a store would find; documents by id, best first."""

    async def by_words(self, store: KnowledgeStore, word: str, collections: frozenset[str]) -> list[str]: ...

    async def by_meaning(self, store: KnowledgeStore, vector: Vectors, collections: frozenset[str]) -> list[str]: ...

    async def named_by(self, store: KnowledgeStore, document: str, collections: frozenset[str]) -> set[str]:
        """Documents that the sentences of this one name."""
        ...

    async def texts(self, store: KnowledgeStore, word: str, collections: frozenset[str]) -> set[str]:
        """Texts of all chunks that hold the word, seen at one moment."""
        ...


class StoreContract:
    """Fixtures wanted: `open_store` and `probe`; the store's clock must stand at `TODAY`."""

    async def test_text_is_found_before_vectors_are_there(self, open_store: OpenStore, probe: Probe) -> None:
        """A document is found by its words as soon as it is written"""
        store = await open_store()
        await store.put([make_document("fees", "Cancellation costs ten euros.")])
        await store.refresh()
        assert await probe.by_words(store, "cancellation", PUBLIC) == ["fees"]
        assert (await store.counts())["public"].pending == 1

    async def test_vectors_make_it_found_by_meaning(self, open_store: OpenStore, probe: Probe) -> None:
        """Once vectors are attached, the nearest chunk comes first and nothing is pending"""
        store = await open_store()
        await store.put([make_document(f"d{at}", f"Paragraph number {at}.") for at in range(5)])
        await embed_all(store)
        await store.refresh()
        nearest = await probe.by_meaning(store, embed(["note: Paragraph number 3."])[0], PUBLIC)
        assert nearest[0] == "d3"
        assert (await store.counts())["public"].pending == 0

    async def test_replacing_leaves_only_the_new_version(self, open_store: OpenStore, probe: Probe) -> None:
        """A changed document is found by its new words only"""
        store = await open_store()
        await store.put([make_document("fees", "Old tariff applies.", "Shared part.")])
        await store.put([make_document("fees", "New charges apply.", "Shared part.")])
        await store.refresh()
        assert await probe.by_words(store, "tariff", PUBLIC) == []
        assert await probe.by_words(store, "charges", PUBLIC) == ["fees"]
        assert (await store.counts())["public"].documents == 1

    async def test_unchanged_chunks_keep_their_vectors(self, open_store: OpenStore) -> None:
        """Only what changed in a document is embedded again"""
        store = await open_store()
        await store.put([make_document("fees", "Old tariff applies.", "Shared part.")])
        await embed_all(store)
        await store.put([make_document("fees", "New charges apply.", "Shared part.")])
        assert [each.texts[0] for each in await store.pending(10)] == ["note: New charges apply."]

    async def test_equal_chunks_are_embedded_once(self, open_store: OpenStore) -> None:
        """The same text in two documents waits once and gets its vectors in both"""
        store = await open_store()
        await store.put([make_document("a", "Same words."), make_document("b", "Same words.")])
        (waiting,) = await store.pending(10)
        assert await store.attach(EMBEDDER, DIMENSIONS, [(waiting.key, embed(waiting.texts))]) == 2
        assert await store.pending(10) == ()

    async def test_two_sources_may_use_one_id(self, open_store: OpenStore) -> None:
        """A document belongs to its source: the same id from elsewhere is another document"""
        store = await open_store()
        await store.put([make_document("fees", "One."), make_document("fees", "Two.", source="upload")])
        assert (await store.counts())["public"].documents == 2
        assert set(await store.ingested("public", "upload")) == {"fees"}
        assert await store.remove("public", ["fees"], source="upload") == 1
        assert (await store.counts())["public"].documents == 1

    async def test_removing_leaves_nothing(self, open_store: OpenStore, probe: Probe) -> None:
        """A removed document is not found, not listed, not named, not waited for"""
        store = await open_store()
        await store.put([make_document("a", "See [Ed Wood] for more."), make_document("x", "Film.", title="Ed Wood")])
        await store.refresh()
        assert await probe.named_by(store, "a", PUBLIC) == {"x"}
        assert await store.remove("public", ["x", "unknown"]) == 1
        await store.refresh()
        assert await probe.named_by(store, "a", PUBLIC) == set()
        assert await probe.by_words(store, "film", PUBLIC) == []
        assert await store.document("public", "x") is None
        assert [each.texts[0] for each in await store.pending(10)] == ["note: See [Ed Wood] for more."]
        assert await store.remove("public", ["a"]) == 1
        assert await store.counts() == {}

    async def test_links_do_not_depend_on_the_order_of_ingest(self, open_store: OpenStore, probe: Probe) -> None:
        """A document names another that came later"""
        store = await open_store()
        await store.put([make_document("a", "See [Ed Wood] for more.")])
        await store.put([make_document("x", "Film.", title="Ed Wood")])
        await store.refresh()
        assert await probe.named_by(store, "a", PUBLIC) == {"x"}

    async def test_only_permitted_collections_are_seen(self, open_store: OpenStore, probe: Probe) -> None:
        """Words, meaning and names of a forbidden collection find nothing; an unknown one is like an empty one"""
        store = await open_store()
        await store.put(
            [
                make_document("a", "See [Ed Wood] about salaries."),
                make_document("x", "Salaries of directors.", title="Ed Wood", collection="staff"),
            ]
        )
        await embed_all(store)
        await store.refresh()
        question = embed(["note: Salaries of directors."])[0]
        assert await probe.by_words(store, "salaries", PUBLIC) == ["a"]
        assert await probe.by_meaning(store, question, PUBLIC) == ["a"]
        assert await probe.named_by(store, "a", PUBLIC) == set()
        assert await probe.by_words(store, "salaries", frozenset({"unknown"})) == []
        assert (await probe.by_meaning(store, question, BOTH))[0] == "x"
        assert await probe.named_by(store, "a", BOTH) == {"x"}

    async def test_expired_documents_are_listed_but_not_found(self, open_store: OpenStore, probe: Probe) -> None:
        """What is not valid today is not retrieved; its last and first day count as valid"""
        store = await open_store()
        day = timedelta(days=1)
        await store.put(
            [
                make_document("over", "A tariff.", valid_until=TODAY - day),
                make_document("last", "A tariff.", valid_until=TODAY),
                make_document("first", "A tariff.", valid_from=TODAY),
                make_document("soon", "A tariff.", valid_from=TODAY + day),
            ]
        )
        await store.refresh()
        assert sorted(await probe.by_words(store, "tariff", PUBLIC)) == ["first", "last"]
        listed = (await store.documents(PUBLIC)).documents
        assert [each.id for each in listed] == ["first", "last", "over", "soon"]
        assert listed[2].valid_until == TODAY - day

    async def test_pages_hold_every_document_once(self, open_store: OpenStore) -> None:
        """Paging lists everything in order, and an invented `after` is refused"""
        store = await open_store()
        await store.put([make_document(f"d{at}", "Text.", source=f"s{at % 2}") for at in range(7)])
        await store.put([make_document("z", "Text.", collection="staff")])
        seen: list[tuple[str, str]] = []
        after: str | None = None
        while True:
            page = await store.documents(PUBLIC, after=after, limit=3)
            seen += [(each.source, each.id) for each in page.documents]
            if (after := page.after) is None:
                break
        assert seen == sorted(seen)
        assert len(seen) == len(set(seen)) == 7
        assert len((await store.documents(BOTH, source="s1")).documents) == 3
        assert (await store.documents(frozenset())).documents == ()
        with pytest.raises(InputError, match="after"):
            await store.documents(PUBLIC, after="!")

    async def test_a_listed_document_says_what_was_ingested(self, open_store: OpenStore) -> None:
        """Listing gives size, chunks and what is pending, and ingest learns what it need not do again"""
        store = await open_store()
        written = make_document("guides/a", "One.", "Two.", url="https://example.org/a")
        await store.put([written])
        found = await store.document("public", "guides/a")
        assert found is not None
        assert (found.chunks, found.pending, found.size, found.url) == (2, 2, written.size, written.url)
        assert await store.document("staff", "guides/a") is None
        known = await store.ingested("public", "folder")
        assert (known["guides/a"].content_hash, known["guides/a"].file) == (written.content_hash, written.file)

    async def test_another_model_is_refused(self, open_store: OpenStore) -> None:
        """Vectors of two models never mix; the error names the command that computes them anew"""
        store = await open_store()
        await store.put([make_document("a", "One."), make_document("b", "Two.")])
        await store.check_embedding("anything", 7)
        await embed_all(store, batch=1, limit=1)
        await store.check_embedding(EMBEDDER, DIMENSIONS)
        for name, dimensions in [("other", DIMENSIONS), (EMBEDDER, 7)]:
            with pytest.raises(EmbeddingMismatch, match="grapevine ingest --re-embed"):
                await store.check_embedding(name, dimensions)
        (waiting,) = await store.pending(10)
        with pytest.raises(EmbeddingMismatch):
            await store.attach("other", 4, [(waiting.key, np.ones((2, 4), dtype=np.float32))])
        assert len(await store.pending(10)) == 1

    async def test_another_model_can_take_over(self, open_store: OpenStore, probe: Probe) -> None:
        """After a reset everything is pending for the new model, and text is found all the while"""
        store = await open_store()
        await store.put([make_document("a", "One."), make_document("b", "Two.")])
        await embed_all(store)
        await store.refresh()
        assert await store.reset_vectors("other", 4) == 2
        await store.refresh()
        assert await probe.by_words(store, "one", PUBLIC) == ["a"]
        waiting = await store.pending(10)
        rows = np.eye(4, dtype=np.float32)[[0, 1]]
        await store.attach("other", 4, [(waiting[0].key, rows), (waiting[1].key, rows[::-1])])
        await store.refresh()
        assert await probe.by_meaning(store, rows[1], PUBLIC) == ["b", "a"]

    async def test_vectors_of_a_vanished_chunk_are_passed_over(self, open_store: OpenStore) -> None:
        """A document removed while its texts were being embedded stays removed"""
        store = await open_store()
        await store.put([make_document("a", "One.")])
        (waiting,) = await store.pending(1)
        await store.remove("public", ["a"])
        assert await store.attach(EMBEDDER, DIMENSIONS, [(waiting.key, embed(waiting.texts))]) == 0

    async def test_vectors_that_do_not_fit_change_nothing(self, open_store: OpenStore) -> None:
        """Wrong shapes and numbers that are none are refused, and the chunk goes on waiting"""
        store = await open_store()
        await store.put([make_document("a", "One. Two."), make_document("b", "Three.")])
        first, second = await store.pending(2)
        good = embed(second.texts)
        for bad in (embed(first.texts)[:2], embed(first.texts)[:, :5], np.full((3, DIMENSIONS), np.nan, np.float32)):
            with pytest.raises(InputError):
                await store.attach(EMBEDDER, DIMENSIONS, [(second.key, good), (first.key, bad)])
        assert len(await store.pending(2)) == 2

    async def test_one_sentence_too_many_writes_nothing_at_all(self, open_store: OpenStore) -> None:
        """Where one of several chunks gets a wrong number of vectors, none gets any, and no model is remembered"""
        store = await open_store()
        await store.put([make_document("a", "One.", "Two. Three."), make_document("b", "Four.")])
        waiting = await store.pending(3)
        epoch = await store.epoch(PUBLIC)
        for wrong in (embed([*waiting[1].texts, "More."]), embed(waiting[1].texts)[:-1]):
            given = [(each.key, embed(each.texts)) for each in waiting]
            given[1] = (waiting[1].key, wrong)
            with pytest.raises(InputError):
                await store.attach(EMBEDDER, DIMENSIONS, given)
        assert await store.pending(3) == waiting
        assert await store.epoch(PUBLIC) == epoch
        await store.check_embedding("anything", 7)
        page = await cast(_Movable, store).dump(PUBLIC)
        assert [vectors for each in page.documents for vectors in each.vectors] == [None] * 3

    async def test_another_model_takes_over_an_emptied_collection_too(
        self, open_store: OpenStore, probe: Probe
    ) -> None:
        """A collection that was empty when models changed is searched as any other, empty still and filled again"""
        store = await open_store()
        await store.put([make_document("a", "One."), make_document("z", "Two.", collection="staff")])
        await embed_all(store)
        await store.remove("staff", ["z"])
        assert await store.reset_vectors("other", 4) == 1
        rows = np.eye(4, dtype=np.float32)[[0, 1]]
        (waiting,) = await store.pending(10)
        await store.attach("other", 4, [(waiting.key, rows)])
        await store.refresh()
        assert await probe.by_meaning(store, rows[0], BOTH) == ["a"]
        await store.put([make_document("z", "Three.", collection="staff")])
        (waiting,) = await store.pending(10)
        await store.attach("other", 4, [(waiting.key, rows[::-1])])
        await store.refresh()
        assert await probe.by_meaning(store, rows[1], BOTH) == ["z", "a"]

    async def test_what_a_model_found_is_kept_after_a_move(self, open_store: OpenStore) -> None:
        """What came with an import stays with the chunks that did not change when their document is ingested again"""
        store = await open_store()
        written = make_document("a", "One.", "Two.")
        await store.put([written])
        movable = cast(_Movable, store)
        found = {written.chunks[0].digest: encoded(Found(sentences=1))}
        await movable.keep_extracted("public", found)
        (dumped,) = (await movable.dump(PUBLIC)).documents
        chunks = tuple(
            new._replace(extracted=old.extracted)
            for new, old in zip(written.chunks, dumped.document.chunks, strict=True)
        )
        await movable.restore(
            [replace(dumped, document=replace(written, collection="staff", chunks=chunks))], embedding=None
        )
        assert await movable.extracted("staff") == found
        await store.put([make_document("a", "One.", "Other.", collection="staff")])
        assert await movable.extracted("staff") == found

    async def test_the_epoch_tells_which_collections_changed(self, open_store: OpenStore) -> None:
        """Every change to a collection raises its epoch, also the removal of its last document, and no other's"""
        store = await open_store()
        seen = [await store.epoch(PUBLIC)]
        await store.put([make_document("a", "One.")])
        seen.append(await store.epoch(PUBLIC))
        await embed_all(store)
        seen.append(await store.epoch(PUBLIC))
        await store.put([make_document("z", "Staff.", collection="staff")])
        assert await store.epoch(PUBLIC) == seen[-1]
        assert await store.epoch(BOTH) > seen[-1]
        await store.remove("public", ["a"])
        seen.append(await store.epoch(PUBLIC))
        assert seen == sorted(set(seen))
        assert await store.remove("public", ["a"]) == 0
        assert await store.epoch(PUBLIC) == seen[-1]

    async def test_two_writers_lose_nothing(self, open_store: OpenStore) -> None:
        """Two ingests at once leave all documents of both"""
        stores = [await open_store(), await open_store()]

        async def write(at: int) -> None:
            for number in range(20):
                await stores[at].put([make_document(f"{at}-{number}", f"Text {at} {number}.")])

        await asyncio.gather(write(0), write(1))
        assert (await stores[0].counts())["public"].documents == 40

    async def test_a_reader_sees_one_version_at_a_time(self, open_store: OpenStore, probe: Probe) -> None:
        """While a document is replaced again and again, a reader elsewhere always sees one whole version of it"""
        writing, reading = await open_store(), await open_store()
        versions = [make_document("a", *(f"Common part {part} of {at}." for part in range(4))) for at in range(30)]
        await writing.put([versions[0]])
        await reading.refresh()
        done = asyncio.Event()

        async def write() -> None:
            for version in versions[1:]:
                await writing.put([version])
            done.set()

        task = asyncio.create_task(write())
        while not done.is_set():
            texts = await probe.texts(reading, "common", PUBLIC)
            assert texts in [{chunk.text for chunk in version.chunks} for version in versions]
            await reading.refresh()
        await task

    async def test_other_handles_see_changes_by_themselves(self, open_store: OpenStore, probe: Probe) -> None:
        """What one process writes or removes, a running other one notices without being told"""
        writing, reading = await open_store(), await open_store()
        await reading.load()
        await writing.put([make_document("a", "Something new.")])
        async with asyncio.timeout(20):
            while await probe.by_words(reading, "something", PUBLIC) != ["a"]:
                await asyncio.sleep(0.01)
            await writing.remove("public", ["a"])
            while await probe.by_words(reading, "something", PUBLIC):
                await asyncio.sleep(0.01)

    async def test_ids_may_be_anything(self, open_store: OpenStore) -> None:
        """Slashes, quotes, spaces and other scripts in an id, a source and a title come back as they were"""
        store = await open_store()
        odd = "a/b c'd\"e;--%_đơn 漢字"
        await store.put([replace(make_document("x", "Text."), id=odd, source=odd, title=odd)])
        found = await store.document("public", odd, source=odd)
        assert found is not None
        assert (found.id, found.source, found.title) == (odd, odd, odd)
        assert await store.remove("public", [odd]) == 1
