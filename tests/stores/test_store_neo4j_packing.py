"""What is packed for Neo4j comes out as it went in, and sums of changes are what a recount would give."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.errors import InputError
from rag.records import Chunk
from rag.retrieval.question import ask
from rag.stores.encoding import Hasher
from rag.stores.neo4j.attaching import parts
from rag.stores.neo4j.encoding import (
    Card,
    hashes_of,
    pack_card,
    pack_stored,
    pack_vectors,
    unpack_card,
    unpack_shown,
    unpack_vectors,
)
from rag.stores.neo4j.query import lucene
from rag.stores.neo4j.statistics import (
    ALWAYS_FROM,
    ALWAYS_UNTIL,
    CollectionStatistics,
    Delta,
    Tally,
    delta_of,
    few,
    merged,
    totals,
)
from rag.stores.vectors import Quantised
from rag.transfer.ports import StoredVectors
from tests.support.knowledge import embed, make_document

WORDS = ("fee", "phí", "đơn", "claim", "bt-03", "the")
SPANS = ((ALWAYS_FROM, ALWAYS_UNTIL), (ALWAYS_FROM, "2026-11-19"), ("2026-11-21", ALWAYS_UNTIL))
TODAY = "2026-11-20"
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(lambda words: " ".join(words) + ".")


def chunk_of(text: str) -> Chunk:
    return make_document("a", text).chunks[0]


def card_of(text: str) -> Card:
    return unpack_card(pack_card(chunk_of(text), key=2**40, document=7, passage_id="p", hasher=Hasher()))


@given(texts)
def test_a_card_holds_what_was_packed(text: str) -> None:
    """Numbers, terms with their counts in both columns, and what is shown"""
    chunk, card = chunk_of(text), card_of(text)
    assert (card.key, card.document, card.length) == (2**40, 7, chunk.length)
    marked = hashes_of([term for term, _ in chunk.marked])
    assert card.marked.tolist() == marked.tolist()
    assert card.marked_counts.tolist() == [count for _, count in chunk.marked]
    if chunk.folded != chunk.marked:
        assert card.folded is not None
        assert card.folded.tolist() == hashes_of([term for term, _ in chunk.folded]).tolist()
    else:
        assert card.folded is None
    shown = unpack_shown(card.shown)
    assert (shown.text, shown.heading, shown.page, shown.language) == (text, "", None, "en")


@given(st.lists(texts, min_size=1, max_size=5))
def test_vectors_come_back_within_rounding(sentences: list[str]) -> None:
    """Eight bits a component keep every cosine within a hundredth"""
    matrix = embed(sentences)
    rows, scales = unpack_vectors(pack_vectors(matrix, matrix.shape[1]).vectors, matrix.shape[1])
    assert np.abs(rows / scales[:, np.newaxis] - matrix).max() < 0.01


@given(st.lists(texts, min_size=1, max_size=5), st.sampled_from([1.0, 3.0, 1e-3]))
def test_vectors_that_moved_are_packed_as_before(sentences: list[str], length: float) -> None:
    """Exported and packed again every byte is the same, so that an import finds what the original found"""
    matrix = embed(sentences) * np.float32(length)
    packed = pack_vectors(matrix, matrix.shape[1])
    rows, scales = unpack_vectors(packed.vectors, matrix.shape[1])
    moved = StoredVectors(chunk=np.frombuffer(packed.fixed, "<i2"), sentences=Quantised(rows[1:], scales[1:]))
    moved.check(matrix.shape[1], len(sentences) - 1)
    assert pack_stored(moved) == packed


@pytest.mark.parametrize(
    "chunk", [np.zeros(4, np.int16), np.zeros(4, np.float32), np.full(4, 1e-30, np.float32)], ids=["whole", "0", "tiny"]
)
def test_vectors_without_length_are_refused(chunk: np.ndarray) -> None:
    """The server would take them in silence and never find them"""
    stored = StoredVectors(chunk=chunk, sentences=Quantised(np.zeros((0, 4), np.int8), np.zeros(0, np.float32)))
    with pytest.raises(InputError, match="length 0"):
        stored.check(4, 0)
    with pytest.raises(InputError, match="zero"):
        pack_stored(stored)
    with pytest.raises(InputError, match="zero"):
        pack_vectors(chunk[np.newaxis].astype(np.float32), 4)


@given(st.lists(st.integers(0, 2_500_000), max_size=12))
def test_an_attach_is_cut_into_statements(sizes: list[int]) -> None:
    """Every row comes once and in order, and a statement ends with the row that fills it"""
    rows = [[key, b"", bytes(size // 2), bytes(size - size // 2), 3] for key, size in enumerate(sizes)]
    cut = list(parts(rows))
    assert [row for part in cut for row in part] == rows
    for at, part in enumerate(cut):
        filled = sum(len(row[2]) + len(row[3]) for row in part)
        assert filled >= 4_000_000 or at == len(cut) - 1
        assert filled - len(part[-1][2]) - len(part[-1][3]) < 4_000_000


@settings(deadline=None)
@given(st.lists(st.tuples(texts, st.sampled_from(SPANS), st.booleans()), max_size=12), st.integers(1, 5))
def test_sums_of_changes_are_a_recount(story: list[tuple[str, tuple[str, str], bool]], per_write: int) -> None:
    """However writes were cut and summed up, each term stands in as many chunks as a count of what is left says"""
    deltas: list[Delta] = []
    for start in range(0, len(story), per_write):
        tally = Tally()
        for text, span, is_removed in story[start : start + per_write]:
            tally.chunk(span, card_of(text), "en", 1)
            if is_removed:
                tally.chunk(span, card_of(text), "en", -1)
        deltas += [delta_of(delta.properties()) for delta in tally.deltas()]
        if start % 2:
            deltas = merged(deltas)
    left = [chunk_of(text) for text, span, is_removed in story if span == SPANS[0] and not is_removed]
    known = CollectionStatistics(sums=few(deltas))
    found = totals([known], TODAY)
    assert found.chunks == len(left)
    assert found.length == sum(chunk.length for chunk in left)
    assert found.languages == ({"en": len(left)} if left else {})
    held = Counter(term for chunk in left for term, _ in chunk.marked)
    folded = Counter(term for chunk in left for term, _ in chunk.folded)
    for counted, column in ((held, "marked"), (folded, "folded")):
        terms = [*sorted(counted), "absent"]
        assert found.frequencies(hashes_of(terms), column).tolist() == [counted[term] for term in terms]  # type: ignore[arg-type]  # one of two


@given(st.text(max_size=60))
def test_a_query_for_lucene_holds_no_syntax(text: str) -> None:
    """Every term stands between quotes, with quotes and backslashes in it escaped"""
    query = lucene(ask(text))
    inside = query.removeprefix("marked:(").replace(") folded:(", " ").removesuffix(")")
    quotes = inside.replace("\\\\", "").replace('\\"', "").count('"')
    assert quotes % 2 == 0
