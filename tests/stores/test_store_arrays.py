"""The arrays that searching rests on: exact vectors, inverted lists, merging."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rag.stores.encoding import hash64, hash_all, is_explicit
from rag.stores.refresh import hurried_run, merge_run
from rag.stores.textindex import build
from rag.stores.vectors import SCALE, cosines, fixed_point, quantised, sentence_cosines


def unit_rows(count: int, dimensions: int, seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    rows = np.random.default_rng(seed).normal(size=(count, dimensions))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


@given(st.integers(1, 60), st.sampled_from([3, 384, 1536, 4096]), st.integers(0, 1000))
def test_a_cosine_does_not_depend_on_its_neighbours(count: int, dimensions: int, seed: int) -> None:
    """Each row alone, and all rows in one product, give the very same bits"""
    rows = fixed_point(unit_rows(count, dimensions, seed))
    question = fixed_point(unit_rows(1, dimensions, seed + 1)[0])
    together = np.empty(count, dtype=np.float32)
    cosines(rows, question, together)
    alone = np.empty(count, dtype=np.float32)
    for at in range(count):
        cosines(rows[at : at + 1], question, alone[at : at + 1])
    whole = rows.astype(np.int64) @ question.astype(np.int64)
    assert together.tobytes() == alone.tobytes()
    assert np.array_equal(together, whole.astype(np.float32) * np.float32(1 / SCALE**2))


@given(st.integers(0, 1000))
def test_fixed_point_is_close(seed: int) -> None:
    """With 384 dimensions cosines are off by less than 0.0005 for chunks and 0.003 for sentences"""
    rows, question = unit_rows(50, 384, seed), unit_rows(1, 384, seed + 1)[0]
    exact = rows @ question
    approximate = np.empty(50, dtype=np.float32)
    cosines(fixed_point(rows), fixed_point(question), approximate)
    assert np.abs(approximate - exact).max() < 5e-4
    assert np.abs(sentence_cosines(quantised(rows), fixed_point(question)) - exact).max() < 3e-3


def test_extreme_vectors_stay_in_range() -> None:
    """A vector along one axis, a flat one and one of zeros survive eight bits"""
    dimensions = 384
    axis = np.eye(1, dimensions, dtype=np.float32)
    flat = np.full((1, dimensions), dimensions**-0.5, dtype=np.float32)
    rows = np.concatenate([axis, flat, np.zeros_like(axis)])
    found = sentence_cosines(quantised(rows), fixed_point(flat[0]))
    assert np.allclose(found, [dimensions**-0.5, 1.0, 0.0], atol=0.01)


@given(st.lists(st.lists(st.integers(0, 8), unique=True), max_size=30))
def test_postings_hold_what_they_were_built_from(held: list[list[int]]) -> None:
    """Every key gives exactly the numbers that hold it, ascending; also where keys agree in their upper bits"""
    pairs = [(key, number) for number, keys in enumerate(held) for key in keys]
    keys = np.array([key for key, _ in pairs], dtype=np.uint64) + np.uint64(1 << 60)
    numbers = np.array([number for _, number in pairs], dtype=np.int32)
    counts = np.arange(len(pairs), dtype=np.uint16)
    postings = build(keys, numbers, counts)
    assert postings.counts is not None
    for key in range(10):
        (start,), (end,) = postings.slices(np.array([key + (1 << 60)], dtype=np.uint64))
        expected = [(number, at) for at, (other, number) in enumerate(pairs) if other == key]
        assert list(zip(postings.numbers[start:end], postings.counts[start:end], strict=True)) == expected


@given(st.lists(st.lists(st.integers(0, 5), unique=True), min_size=1, max_size=20), st.data())
def test_spread_counts_groups(held: list[list[int]], data: st.DataObject) -> None:
    """A key's spread is the number of living groups that hold it"""
    groups = sorted(data.draw(st.lists(st.integers(0, 4), min_size=len(held), max_size=len(held))))
    live = data.draw(st.lists(st.booleans(), min_size=5, max_size=5))
    pairs = [(key, number) for number, keys in enumerate(held) for key in keys]
    postings = build(
        np.array([key for key, _ in pairs], dtype=np.uint64), np.array([at for _, at in pairs], dtype=np.int32)
    )
    spread = postings.spread(np.array(groups, dtype=np.int32), np.array(live))
    for key, count in zip(postings.keys.tolist(), spread.tolist(), strict=True):
        assert count == len({groups[number] for other, number in pairs if other == key and live[groups[number]]})


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=200))
def test_segments_stay_few_and_are_rarely_loaded_again(arrivals: list[int]) -> None:
    """However documents arrive, segments stay some dozens and few at rest, and a chunk is loaded three times more"""
    sizes: list[int] = []
    loaded = 0
    for arrival in arrivals:
        sizes.append(arrival)
        if (taken := hurried_run(sizes)) > 1:
            sizes[-taken:] = [sum(sizes[-taken:])]
            loaded += sizes[-1]
        assert len(sizes) <= 4 * 8 + sum(sizes) / 16_384
    assert sum(sizes) == sum(arrivals)
    assert loaded <= 3 * sum(arrivals)
    while (taken := merge_run(sizes)) > 1:
        sizes[-taken:] = [sum(sizes[-taken:])]
    assert len(sizes) <= 2 + np.log2(sum(arrivals)) + sum(arrivals) / 16_384


def test_a_hash_says_whether_a_link_was_written() -> None:
    """`@guides/a` is told from `guides/a`, and equal keys have equal hashes everywhere"""
    hashes = hash_all(["@guides/a", "guides/a", "\ud800"])
    assert is_explicit(hashes).tolist() == [True, False, False]
    assert hash64("guides/a") == int(hashes[1])
