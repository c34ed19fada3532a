"""What an export carries from one store to another, and what a damaged one does not."""

from __future__ import annotations

import asyncio
import io
import tempfile
from base64 import b64encode
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag.cache.faq import Faq
from rag.errors import EmbeddingMismatch, InputError, RagError, StoreTooNew
from rag.ingest.vectors import attach_pending
from rag.records import Document
from rag.retrieval.search import Search
from rag.stores.embedded import EmbeddedStore
from rag.transfer.lines import document_line, dumped_of, read_line
from rag.transfer.ports import Dumped, Embedding, StoredVectors
from rag.transfer.restore import check
from rag.types import Citation, Passage
from tests.retrieval.conftest import DIMENSIONS, WordCounts, document
from tests.transfer.conftest import Store, exported, imported, noon, without_vectors

EVERYTHING = frozenset({"public", "staff"})
WORDS = ("Maximum Overdrive", "Stephen King", "phí hủy", "biểu phí", "fee", "BT-03", "lantern", "hall 4", "phi huy")

sentences = st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(lambda words: " and ".join(words) + ".")
paragraphs = st.lists(sentences, min_size=1, max_size=4).map(" ".join)
documents = st.builds(
    lambda number, parts, title, collection, until: replace(
        document(f"d{number}", "\n\n".join(parts), title=title, collection=collection), valid_until=until
    ),
    st.integers(0, 12),
    st.lists(paragraphs, min_size=1, max_size=3),
    st.sampled_from(WORDS),
    st.sampled_from(sorted(EVERYTHING)),
    st.sampled_from([None, None, date(2026, 11, 19), date(2026, 11, 20)]),
)


def faq(identity: str, question: str = "Which number?", *, stale: bool = False, collection: str = "public") -> Faq:
    return Faq(
        id=identity,
        collection=collection,
        language="en",
        kind="warmed",
        question=question,
        paraphrases=("Hotline?",),
        answer="1900 0000 [1].",
        citations=(Citation(n=1, document="fees", title="Fees", collection=collection, passage_id="p", page=3),),
        valid_until=date(2027, 1, 1),
        is_stale=stale,
        updated_at=datetime(2026, 11, 20, 8, 30, tzinfo=UTC),
    )


async def fill(store: Store, *written: Document, embed: bool = True) -> None:
    await store.put(written)
    if embed:
        await attach_pending(store, WordCounts())
    await store.refresh()


async def answers(store: Store, *questions: str) -> list[tuple[Passage, ...]]:
    search = Search(store, WordCounts())
    found = []
    for collections in (frozenset({"public"}), EVERYTHING):
        found += [(await search.retrieve(text, collections=collections, k=20)).passages for text in questions]
    return found


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(documents, min_size=1, max_size=12),
    st.lists(documents, max_size=3),
    st.lists(paragraphs, min_size=1, max_size=3),
)
async def test_retrieval_over_an_import_is_bit_equal_to_the_original(
    early: list[Document], late: list[Document], questions: list[str]
) -> None:
    """Passages, scores and reasons are the same, whatever was replaced or still waits for its vectors"""
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            stores = [EmbeddedStore(Path(folder) / name, now=noon) for name in ("from.db", "to.db")]
            for store in stores:
                stack.push_async_callback(store.close)
            await fill(stores[0], *early)
            await fill(stores[0], *late, embed=False)
            content = await exported(stores[0])
            await imported(stores[1], content)
            await stores[1].refresh()
            assert await answers(stores[1], *questions) == await answers(stores[0], *questions)
            assert await stores[1].counts() == await stores[0].counts()
            # The header may name a model whose last vector is gone.
            assert (await exported(stores[1])).splitlines()[1:] == content.splitlines()[1:]


async def test_everything_of_a_document_and_a_faq_comes_along(store: EmbeddedStore, other: Store) -> None:
    """Metadata, validity, sentences, names, citations, staleness: what is exported again is the same file"""
    whole = document("guides/fees.md", "# Biểu phí\n\nPhí hủy là 10 đ. See [Ed Wood](wood.md).\n\nMore.", title="Fees")
    await fill(store, replace(whole, url="https://example.org/fees", valid_from=date(2026, 1, 1), file="guides/x.md"))
    for each in (faq("one"), faq("two", "Old?", stale=True)):
        await store.put_faq(each)
    content = await exported(store)
    moved = await imported(other, content)
    assert (moved.documents, moved.faqs, moved.without_vectors) == (1, 2, 0)
    assert await other.faqs() == await store.faqs()
    before, after = [await each.document("public", "guides/fees.md") for each in (store, other)]
    assert before is not None
    assert after is not None
    assert replace(after, updated_at=before.updated_at) == before
    again = await exported(other)
    assert without_vectors(again) == without_vectors(content)
    assert again == content


async def test_derived_terms_are_those_of_ingest(store: EmbeddedStore, target: EmbeddedStore) -> None:
    """Full text finds the same with the same scores, though terms are not in the file"""
    written = document("a", "# Phí hủy\n\nBT-03 được hủy trong 30 ngày.\n\nNo marks here at all.", title="Hủy hợp đồng")
    await fill(store, written, embed=False)
    await imported(target, await exported(store))
    for column in ("marked", "folded"):
        terms = [term for chunk in written.chunks for term, _ in getattr(chunk, column)]
        views = [await asyncio.to_thread(each.view, frozenset({"public"})) for each in (store, target)]
        before, after = (view.text_scores(terms, column, k1=1.2, b=0.75) for view in views)
        assert before.scores.any()
        assert np.array_equal(before.scores, after.scores)


async def test_only_the_named_collections_are_exported(store: EmbeddedStore, other: Store) -> None:
    """With --collection, neither documents nor FAQs of others are in the file; an unknown one is an error"""
    await fill(store, document("a", "Open."), document("b", "Salaries.", collection="staff"))
    await store.put_faq(faq("open"))
    await store.put_faq(faq("closed", collection="staff"))
    content = await exported(store, "public")
    assert b"Salaries" not in content
    assert b"staff" not in content
    await imported(other, content)
    assert set(await other.counts()) == {"public"}
    with pytest.raises(InputError, match=r"no collection nix; there are: public, staff"):
        await exported(store, "nix")


async def test_importing_twice_changes_nothing(store: EmbeddedStore, other: Store) -> None:
    """The second time everything is there already: no document is written, no FAQ goes stale, caches stay valid"""
    await fill(store, document("fees", "Ten euros."), document("b", "Twenty."))
    await store.put_faq(faq("one"))
    content = await exported(store)
    await imported(other, content)
    epoch, version = await other.epoch(EVERYTHING), await other.faq_version()
    again = await imported(other, content)
    assert (again.documents, again.unchanged) == (2, 2)
    assert (await other.epoch(EVERYTHING), await other.faq_version()) == (epoch, version)


async def test_an_import_completes_what_is_partly_there(store: EmbeddedStore, other: Store) -> None:
    """Documents without vectors get them, changed ones are replaced, others of the target stay"""
    await fill(store, document("a", "First."), document("b", "Second."))
    await fill(other, document("a", "First."), document("b", "Former."), document("c", "Mine."), embed=False)
    moved = await imported(other, await exported(store))
    assert moved.unchanged == 0
    counts = (await other.counts())["public"]
    assert (counts.documents, counts.pending) == (3, 1)


async def test_an_imported_answer_takes_the_place_of_another_to_the_same_question(
    store: EmbeddedStore, other: Store
) -> None:
    await store.put_faq(faq("new"))
    await other.put_faq(faq("old", "which NUMBER"))
    await imported(other, await exported(store))
    assert [each.id for each in await other.faqs()] == ["new"]


async def test_vectors_of_another_model_are_refused(store: EmbeddedStore, other: Store) -> None:
    """Nothing is written, the message names both models and the cure; without the vectors the texts come in"""
    await fill(store, document("a", "First."))
    await other.put([document("b", "Second.")])
    (waiting,) = await other.pending(1)
    await other.attach("other-model", 2, [(waiting.key, np.ones((len(waiting.texts), 2), np.float32))])
    content = await exported(store)
    with pytest.raises(EmbeddingMismatch, match=r"word-counts .*other-model.*grapevine import --re-embed"):
        await imported(other, content)
    assert (await other.counts())["public"].documents == 1
    await imported(other, content, with_vectors=False)
    counts = (await other.counts())["public"]
    assert (counts.documents, counts.pending) == (2, 1)


async def test_vectors_of_a_store_that_keeps_floats_are_taken(store: EmbeddedStore, other: Store) -> None:
    """float32 rows, of whatever length, find the same in the same order as fixed point"""
    await fill(store, *(document(f"d{at}", f"{word} is kept here.") for at, word in enumerate(WORDS)))
    embedding = Embedding("word-counts", DIMENSIONS)
    out = []
    for line in (await exported(store)).splitlines(keepends=True):
        if b'"kind":"document"' not in line[:20]:
            out.append(line)
            continue
        dumped = dumped_of(read_line(line), embedding)  # type: ignore[arg-type]  # it is one
        floats = [
            vectors and StoredVectors(chunk=vectors.as_unit() * 3, sentences=vectors.sentences)
            for vectors in dumped.vectors
        ]
        out.append(document_line(Dumped(document=dumped.document, vectors=tuple(floats))))
    await imported(other, b"".join(out))
    for before, after in zip(await answers(store, *WORDS), await answers(other, *WORDS), strict=True):
        assert [each.document for each in before] == [each.document for each in after]
        assert [each.score for each in before] == pytest.approx([each.score for each in after], abs=1e-3)


async def test_a_file_cut_anywhere_changes_nothing(store: EmbeddedStore, target: EmbeddedStore) -> None:
    """The error names the line, and the target is as empty as before"""
    await fill(store, document("a", "First."), document("b", "Second."))
    await store.put_faq(faq("one"))
    content = await exported(store)
    for end in range(0, len(content) - 1, 97):
        with pytest.raises(InputError, match=r"^a\.jsonl, line \d+: .* Nothing was imported\.$"):
            await imported(target, content[:end])
    assert await target.counts() == {}
    assert await target.faqs() == ()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("collection", "No Such!", "line 2: .*cannot be a collection"),
        ("size", "big", "line 2: size: "),
        ("unknown", 1, "line 2: unknown: "),
        ("kind", "note", "line 2: "),
        ("names", [1], r"line 2: names\.0: "),
    ],
)
async def test_a_wrong_field_is_named(
    store: EmbeddedStore, target: EmbeddedStore, field: str, value: object, message: str
) -> None:
    """Line and field of what is wrong are told, never the content beside it"""
    await fill(store, document("a", "Confidential."))
    header, first, *rest = (await exported(store)).splitlines(keepends=True)
    broken = orjson.dumps(orjson.loads(first) | {field: value}) + b"\n"
    with pytest.raises(InputError, match=message) as caught:
        await imported(target, b"".join([header, broken, *rest]))
    assert "Confidential" not in str(caught.value)
    assert await target.counts() == {}


@pytest.mark.parametrize(
    "change",
    [
        {"rows": "AAAA"},
        {"vector": "!"},
        {"vector": None},
        {"scales": None},
        {"scales": "AAAAAA=="},
        {"floats": "AADAfw=="},
        {"vector": "/38=" * 100},
        {"vector": b64encode(bytes(2 * DIMENSIONS)).decode()},
        {"sentences": [[0, 9999]]},
        {"sentences": [[3, 1]]},
        {"sentences": [["x"]]},
        {"sentences": []},
        {"page": "one"},
    ],
)
async def test_a_chunk_that_no_store_wrote_is_refused(
    store: EmbeddedStore, target: EmbeddedStore, change: dict[str, object]
) -> None:
    """Vectors of a wrong size or length and sentences outside their text do not reach the store"""
    await fill(store, document("a", "One sentence."))
    header, first, *rest = (await exported(store)).splitlines(keepends=True)
    line = orjson.loads(first)
    line["chunks"][0] |= change
    with pytest.raises(InputError, match="line 2: "):
        await imported(target, b"".join([header, orjson.dumps(line) + b"\n", *rest]))
    assert await target.counts() == {}


async def test_a_newer_format_asks_for_an_update(target: EmbeddedStore) -> None:
    """Also where its header has fields that nobody knows yet"""
    line = b'{"kind": "header", "format": 2, "what": "ever"}\n'
    with pytest.raises(StoreTooNew, match=r"line 1: .*newer version.*update Grapevine"):
        await imported(target, line)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_one_line(content: bytes) -> None:
    """Whatever is not an export is an error for its reader, not a crash"""
    with pytest.raises(RagError, match=r"^x, line \d+: "):
        check(io.BytesIO(content), "x")


async def test_lines_in_a_wrong_order_are_refused(store: EmbeddedStore, target: EmbeddedStore) -> None:
    """No header, two headers, something after the end, fewer documents than the end tells of"""
    await fill(store, document("a", "First."))
    header, first, end = (await exported(store)).splitlines(keepends=True)
    for wrong, message in [
        ([first, end], "begins with its header"),
        ([header, header, first, end], "second header"),
        ([header, first, end, first], "after the line that ends"),
        ([header, end], "tells of 1 documents"),
        ([header, first, first, end], "the file holds 2"),
    ]:
        with pytest.raises(InputError, match=message):
            await imported(target, b"".join(wrong))
    await imported(target, b"".join([header, first, end.rstrip(b"\n")]))
    assert (await target.counts())["public"].documents == 1


async def test_an_export_of_many_pages_holds_every_document_once(store: EmbeddedStore, other: Store) -> None:
    """Also beyond the first page, in the order of ingest"""
    await store.put([document(f"d{at}", f"Number {at}.") for at in range(1200)])
    content = await exported(store)
    ids = [orjson.loads(line)["id"] for line in content.splitlines() if line.startswith(b'{"kind":"document"')]
    assert ids == [f"d{at}" for at in range(1200)]
    assert (await imported(other, content)).without_vectors == 1200
    assert (await other.counts())["public"].documents == 1200
