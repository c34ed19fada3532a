"""Properties of the pure ranking functions over random candidates."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rag.retrieval.candidates import Bridge, Candidates, top
from rag.retrieval.rank import (
    HYBRID,
    PICKS,
    base_scores,
    bridged,
    covering,
    rank_documents,
    rank_passages,
    standardised,
    weights_for,
)

UNIT = st.floats(0, 1, width=32)


@st.composite
def candidates(draw: st.DrawFn, *, terms: int = 4) -> Candidates:
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=14))
    document_of = np.repeat(np.arange(len(sizes), dtype=np.int32) * 2, sizes)
    rows = len(document_of)

    def values() -> np.ndarray:
        return np.asarray(draw(st.lists(UNIT, min_size=rows, max_size=rows)), np.float32)

    documents = np.unique(document_of)
    pick = st.sampled_from([int(document) for document in documents])
    bridges = draw(
        st.lists(
            st.builds(
                Bridge,
                source=pick,
                target=pick,
                row=st.just(-1),
                kind=st.sampled_from(["forward", "backward", "shared"]),
                similarity=UNIT,
                other_similarity=UNIT,
                degree=st.integers(1, 8),
            ),
            max_size=6,
        )
    )
    return Candidates(
        rows=np.arange(rows, dtype=np.int32) * 3,
        document_of=document_of,
        cosine=values(),
        sentence=values(),
        text=values() * 20,
        holds=np.asarray(draw(st.lists(st.booleans(), min_size=terms * rows, max_size=terms * rows))).reshape(
            terms, rows
        ),
        idf=np.asarray([1, 2, 3, 4][:terms], np.float32),
        is_known=np.ones(terms, np.bool_),
        documents=documents,
        is_found=np.ones(len(documents), np.bool_),
        titled={draw(pick): draw(st.floats(0.25, 1))} if draw(st.booleans()) else {},
        bridges=tuple(bridge for bridge in bridges if bridge.source != bridge.target),
    )


@given(candidates())
def test_every_candidate_document_is_ranked_exactly_once(found: Candidates) -> None:
    ranking = rank_documents(found, HYBRID)
    assert sorted(r.document for r in ranking) == [int(d) for d in found.documents]


@given(candidates(), st.integers(1, 30))
def test_passages_are_distinct_fall_in_score_and_are_as_many_as_asked_or_all(found: Candidates, k: int) -> None:
    passages = rank_passages(found, rank_documents(found, HYBRID), HYBRID, k)
    assert len(passages) == min(k, len(found.rows))
    assert len({p.row for p in passages}) == len(passages)
    assert all(a.score >= b.score for a, b in itertools.pairwise(passages))
    assert all(0 <= p.words_held <= 1.0001 for p in passages)


@given(candidates())
def test_the_first_passages_come_from_different_documents_while_there_are_some(found: Candidates) -> None:
    passages = rank_passages(found, rank_documents(found, HYBRID), HYBRID, 5)
    document_of = dict(zip(found.rows.tolist(), found.document_of.tolist(), strict=True))
    first = [document_of[p.row] for p in passages[: len(found.documents)]]
    assert len(set(first)) == len(first)


@given(candidates())
def test_a_link_never_lowers_a_document(found: Candidates) -> None:
    base = base_scores(found, HYBRID)
    scores, _ = bridged(found, base, HYBRID)
    assert (scores >= base - 1e-4).all()


@given(candidates())
def test_a_second_link_that_is_weaker_changes_nothing(found: Candidates) -> None:
    base = base_scores(found, HYBRID)
    weaker = tuple(replace(b, similarity=b.similarity / 2, degree=b.degree + 1) for b in found.bridges)
    once, _ = bridged(found, base, HYBRID)
    twice, _ = bridged(replace(found, bridges=found.bridges + weaker), base, HYBRID)
    assert np.allclose(once, twice)


@given(candidates())
def test_without_weight_for_words_added_the_order_is_that_of_the_scores(found: Candidates) -> None:
    scores = base_scores(found, HYBRID).astype(np.float64)
    order = covering(found, scores, 0)
    assert all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))


@given(candidates())
def test_picking_for_words_only_reorders_the_best_candidates(found: Candidates) -> None:
    scores = base_scores(found, HYBRID).astype(np.float64)
    order = covering(found, scores, HYBRID.cover)
    assert sorted(order) == list(range(len(found.documents)))
    best = np.lexsort((found.documents, -scores))[: 3 * PICKS]
    assert set(order[:PICKS]) <= {int(at) for at in best}


@given(candidates(), st.floats(0.125, 8, width=32), st.floats(-4, 4, width=32))
def test_standard_scores_do_not_depend_on_the_scale(found: Candidates, factor: float, shift: float) -> None:
    changed = np.asarray(found.cosine * np.float32(factor) + np.float32(shift), np.float32)
    if found.cosine.std() > 0.05:
        assert np.allclose(standardised(changed), standardised(found.cosine), atol=1e-2)


@given(st.lists(UNIT, max_size=50), st.integers(1, 10))
def test_the_top_scores_are_the_greatest_and_ties_go_to_the_first(values: list[float], count: int) -> None:
    scores = np.asarray(values, np.float32)
    expected = sorted([i for i in range(len(values)) if scores[i] > 0.2], key=lambda i: (-scores[i], i))[:count]
    assert top(scores, count, 0.2).tolist() == sorted(expected)


def test_vectors_weigh_less_in_a_language_the_embedder_does_not_understand() -> None:
    foreign, own = weights_for("hybrid", understands=False), weights_for("hybrid", understands=True)
    assert foreign.cosine < own.cosine
    assert foreign.text == own.text
