"""What a caller sees equals what they would see if the forbidden collections had never been ingested, bit for bit."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag.records import Document
from rag.retrieval.view import ChunkInfo
from rag.stores.connection import transaction
from rag.stores.embedded import EmbeddedStore
from rag.stores.file import StoreFile
from rag.stores.refresh import refreshed
from rag.stores.snapshot import Snapshot
from rag.stores.view import SegmentView
from rag.stores.writer import Writer, pending
from tests.stores.conftest import noon
from tests.support.knowledge import DIMENSIONS, EMBEDDER, embed, embed_all, make_document

COLLECTIONS = ("public", "staff", "partners")
WORDS = ("fee", "phí", "phi", "claim", "đơn", "don", "motorbike", "[Ed Wood]", "[Fees]", "[BT-03]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happens to a store."""

    collection: str
    document: Document | None = None
    """None: `id` is removed."""
    id: str = ""
    embeds: bool = False
    refreshes: bool = False


paragraphs = st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map(lambda words: " ".join(words) + ".")


@st.composite
def steps(draw: st.DrawFn) -> Step:
    collection = draw(st.sampled_from(COLLECTIONS))
    id_ = draw(st.sampled_from(["a", "b", "c"]))
    embeds, refreshes = draw(st.booleans()), draw(st.booleans())
    if draw(st.integers(0, 4)) == 0:
        return Step(collection=collection, id=id_, embeds=embeds, refreshes=refreshes)
    document = make_document(
        id_,
        *draw(st.lists(paragraphs, min_size=1, max_size=3)),
        collection=collection,
        title=draw(st.sampled_from(["Ed Wood", "Fees", "BT-03", "Other"])),
        valid_until=draw(st.sampled_from([None, None, date(2026, 11, 19), date(2026, 11, 20)])),
    )
    return Step(collection=collection, id=id_, document=document, embeds=embeds, refreshes=refreshes)


async def replay(path: Path, story: Sequence[Step]) -> EmbeddedStore:
    store = EmbeddedStore(path, now=noon, poll_s=60)
    for step in story:
        if step.document is None:
            await store.remove(step.collection, [step.id])
        else:
            await store.put([step.document])
        if step.embeds:
            await embed_all(store)
        if step.refreshes:
            await store.load()
    await store.load()
    return store


def seen(view: SegmentView) -> list[object]:
    """Everything a view tells, in a form that compares exactly."""
    rows = np.arange(view.rows, dtype=np.int32)
    documents = range(view.documents)
    words = ["fee", "phí", "claim", "don", "missing", "fee"]
    names = ["ed wood", "fees", "bt-03", "nobody", "@a"]
    question = embed(["a question"])[0]
    cosines = view.cosines(question)
    columns = [view.text_scores(words, column, k1=1.2, b=0.75) for column in ("marked", "folded")]
    return [
        (view.rows, view.documents, view.document_of.tolist(), view.first_row.tolist(), dict(view.languages)),
        None if cosines is None else cosines.tobytes(),
        [(each.scores.tobytes(), each.idf.tobytes()) for each in columns],
        [view.holds(words, column, rows).tobytes() for column in ("marked", "folded")],
        [each.tobytes() for each in view.sentence_cosines(question, rows)],
        [(key, found.tolist()) for key, found in view.titled(names)],
        view.links_from(rows.tolist(), limit=3),
        view.links_to(documents, limit=3),
        view.shared_names(rows.tolist(), degree=(2, 3), limit=4),
        view.infos(rows.tolist()),
    ]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps(), min_size=1, max_size=14), st.sets(st.sampled_from(COLLECTIONS)))
def test_forbidden_collections_change_nothing(story: list[Step], permitted: set[str]) -> None:
    """Scores, ranks, counts, links and texts are those of a store that never held anything else"""

    async def compare() -> None:
        with tempfile.TemporaryDirectory() as folder:
            # Embedding and refreshing happen all the same: they are nobody's content.
            whole = await replay(Path(folder, "whole.db"), story)
            part = await replay(Path(folder, "part.db"), without_forbidden(story, permitted))
            try:
                collections = frozenset(permitted)
                assert seen(whole.view(collections)) == seen(part.view(collections))
                assert all(whole.find(info.passage_id, collections) == info for info in infos(whole, collections))
                assert not any(whole.find(info.passage_id, collections) for info in forbidden(whole, permitted))
            finally:
                await whole.close()
                await part.close()

    asyncio.run(compare())


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps(), min_size=1, max_size=20))
def test_a_view_does_not_depend_on_how_it_came_about(story: list[Step]) -> None:
    """A running reader, refreshed step by step, sees exactly what one sees that opens the store at the end"""

    async def compare() -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "knowledge.db")
            running = await replay(path, [replace(step, refreshes=True) for step in story])
            fresh = EmbeddedStore(path, now=noon, poll_s=60)
            try:
                everything = frozenset(COLLECTIONS)
                assert seen(running.view(everything)) == seen(fresh.view(everything))
            finally:
                await running.close()
                await fresh.close()

    asyncio.run(compare())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps(), min_size=1, max_size=20))
def test_removed_and_expired_documents_change_nothing(story: list[Step]) -> None:
    """Masked documents in many small segments weigh nothing: all is as if they had never been there"""

    async def compare() -> None:
        with tempfile.TemporaryDirectory() as folder:
            masked = Snapshot()
            file = StoreFile(Path(folder, "masked.db"))
            writing = Writer(lambda: opened(file), noon)
            for step in story:
                if step.document is None:
                    writing.remove(step.collection, [step.id], None)
                else:
                    writing.put([step.document])
                if step.embeds:
                    attach_all(writing, file)
                with transaction(opened(file), "DEFERRED") as connection:
                    masked = refreshed(connection, masked, noon().date())  # never merged
            attach_all(writing, file)
            with transaction(opened(file), "DEFERRED") as connection:
                masked = refreshed(connection, masked, noon().date())
            file.close()
            clean = await replay(Path(folder, "clean.db"), [*what_is_left(story)])
            await embed_all(clean)
            await clean.refresh()
            everything = frozenset(COLLECTIONS)
            assert seen(SegmentView(masked, everything)) == seen(clean.view(everything))
            await clean.close()

    asyncio.run(compare())


def opened(file: StoreFile) -> sqlite3.Connection:
    file.reopened()
    return file.connection


def attach_all(writing: Writer, file: StoreFile) -> None:
    for each in pending(opened(file), 1000, 0):
        writing.attach(EMBEDDER, DIMENSIONS, [(each.key, embed(each.texts))])


def what_is_left(story: Sequence[Step]) -> list[Step]:
    """Only the last version of each document that is still there and valid, in order of ingest."""
    last = {(step.collection, step.id): at for at, step in enumerate(story)}
    today = noon().date()
    return [
        replace(step, embeds=False, refreshes=False)
        for at, step in enumerate(story)
        if last[step.collection, step.id] == at
        and step.document is not None
        and (step.document.valid_until or today) >= today
    ]


def without_forbidden(story: Sequence[Step], permitted: set[str]) -> list[Step]:
    """The same story, but nothing is ever written to a forbidden collection."""
    return [
        step if step.collection in permitted else replace(step, document=None, collection="nowhere") for step in story
    ]


def infos(store: EmbeddedStore, collections: frozenset[str]) -> list[ChunkInfo]:
    view = store.view(collections)
    return list(view.infos(range(view.rows)))


def forbidden(store: EmbeddedStore, permitted: set[str]) -> list[ChunkInfo]:
    return infos(store, frozenset(COLLECTIONS) - permitted)
