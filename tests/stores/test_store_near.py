"""The nearest chunks are found by estimates, and are exactly those that computing every cosine would give."""

from __future__ import annotations

import asyncio
import importlib.util
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag.retrieval.candidates import Dense
from rag.stores.coarse import coarse, estimates, possible
from rag.stores.embedded import EmbeddedStore
from rag.stores.near import NearRows
from rag.stores.vectors import exact_cosines, fixed_point
from rag.stores.view import ESTIMATED_FROM
from tests.stores.test_store_access import COLLECTIONS, Step, replay, steps
from tests.support.knowledge import DIMENSIONS, EMBEDDER, embed, make_document

ROOT = Path(__file__).parents[2]


def rows_of(kind: str, count: int, dimensions: int, seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Vectors in all directions, along few axes (components far beyond a byte), or much alike."""
    chance = np.random.default_rng(seed)
    rows = chance.normal(size=(count, dimensions))
    if kind == "spiky":
        rows = rows**7
    elif kind == "alike":
        rows = rows * 0.05 + rows[0]
    return fixed_point(np.asarray(rows, np.float32))


kinds = st.sampled_from(["even", "spiky", "alike"])


@settings(deadline=None)
@given(kinds, kinds, st.integers(1, 60), st.sampled_from([3, 384, 1536, 4096]), st.integers(0, 1000))
def test_an_estimate_is_off_by_no_more_than_it_says(
    kind: str, asked: str, count: int, dimensions: int, seed: int
) -> None:
    """Whatever the vectors, the exact product lies within the margin around its estimate"""
    rows = rows_of(kind, count, dimensions, seed)
    question = rows_of(asked, 2, dimensions, seed + 1)[1]
    found = estimates(*coarse(rows), question)
    exact = rows.astype(np.float64) @ question.astype(np.float64)
    assert (np.abs(exact - found.products) <= found.margins).all()


@settings(deadline=None)
@given(st.integers(0, 200))
def test_rows_along_what_rounding_takes_away_stay_within_the_margin(seed: int) -> None:
    """The worst there can be: a chunk that points exactly where the question, or the chunk itself, was rounded"""
    question = rows_of("even", 2, 384, seed)[1]
    step = np.abs(question).max() / 63
    row = fixed_point((question - np.rint(question / step) * step)[np.newaxis])
    lost = row - np.clip(np.rint(row / 8), -127, 127) * 8
    for rows, asked in ((row, question), (row, fixed_point(lost[0]))):
        found = estimates(*coarse(rows), asked)
        exact = rows.astype(np.float64) @ asked.astype(np.float64)
        assert (np.abs(exact - found.products) <= found.margins).all()


@settings(deadline=None)
@given(kinds, st.integers(1, 300), st.integers(1, 50), st.integers(0, 1000))
def test_what_is_left_out_cannot_be_among_the_nearest(kind: str, count: int, wanted: int, seed: int) -> None:
    """All rows that tie with the last of the nearest, or beat it, stay in"""
    rows = rows_of(kind, count, 64, seed)
    rows[count // 2 :] = rows[: count - count // 2]  # ties
    question = rows_of(kind, 2, 64, seed + 1)[1]
    exact = exact_cosines(rows, question)
    least = np.sort(exact)[-min(wanted, count)]
    assert set(np.flatnonzero(exact >= least)) <= set(possible(estimates(*coarse(rows), question), wanted))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps(), min_size=1, max_size=14), st.sets(st.sampled_from(COLLECTIONS)), st.integers(1, 12))
def test_the_nearest_are_those_of_all_cosines(story: list[Step], permitted: set[str], count: int) -> None:
    """Whatever was replaced, removed, expired or waits for vectors: the same chunks with bit-equal cosines"""

    async def compare() -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = await replay(Path(folder) / "knowledge.db", story)
            view = store.view(frozenset(permitted))
            question = embed(["a question"])[0]
            cosines = view.cosines(question)
            if cosines is not None:
                near = NearRows(view._layout, fixed_point(question))
                assert near.best(count).tolist() == Dense(cosines).best(count).tolist()
                assert near[np.arange(view.rows, dtype=np.int32)].tobytes() == cosines.tobytes()
            await store.close()

    asyncio.run(compare())


async def test_a_large_store_answers_by_estimates(tmp_path: Path) -> None:
    """Above some thousand chunks the nearest are the same as by all cosines, which are not worked out any more"""
    store = EmbeddedStore(tmp_path / "knowledge.db")
    paragraphs = [f"Paragraph {number} says something." for number in range(ESTIMATED_FROM + 8)]
    await store.put([make_document("book", *paragraphs)])
    chance = np.random.default_rng(1)
    after = 0
    while waiting := await store.pending(2000, after=after):
        after = waiting[-1].key
        vectors = [(each.key, chance.normal(size=(len(each.texts), DIMENSIONS)).astype(np.float32)) for each in waiting]
        await store.attach(EMBEDDER, DIMENSIONS, vectors)
    await store.load()
    view = store.view(frozenset({"public"}))
    question = chance.normal(size=DIMENSIONS).astype(np.float32)
    near, cosines = view.near(question), view.cosines(question)
    assert isinstance(near, NearRows)
    assert cosines is not None
    assert near.best(50).tolist() == Dense(cosines).best(50).tolist()
    await store.close()


def test_the_committed_product_is_what_its_script_writes() -> None:
    """`deploy/onnx/make_product.py` makes `product.onnx` byte for byte."""
    spec = importlib.util.spec_from_file_location("make_product", ROOT / "deploy/onnx/make_product.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = module.build().SerializeToString(deterministic=True)
    assert written == (ROOT / "rag/stores/product.onnx").read_bytes()
