"""Claims about smaller vectors, and about the table that compares them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.compare_vectors import compare_vectors
from rag.errors import InputError
from rag.evaluate import AskedQuestion, read_questions
from rag.retrieval.search import Search
from rag.stores.embedded import EmbeddedStore
from rag.vector_variants import Floats, cut, principal, repeated, variants
from tests.retrieval.conftest import DIMENSIONS, Library, WordCounts, document


def unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def corpus(count: int = 400, dimensions: int = 64, seed: int = 1) -> Floats:
    """Vectors that mostly lie in few directions, as those of texts do."""
    chance = np.random.default_rng(seed)
    spread = np.asarray(1.0 / (1 + np.arange(dimensions)), np.float32)
    turned, _ = np.linalg.qr(chance.normal(size=(dimensions, dimensions)))
    return unit(np.asarray((chance.normal(size=(count, dimensions)) * spread) @ turned, np.float32))


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 70), st.integers(1, 12), st.integers(0, 99))
def test_the_exact_search_is_a_full_sort(count: int, dimensions: int, wanted: int, seed: int) -> None:
    """Nearest first, equal ones by place, never one that is not allowed"""
    chance = np.random.default_rng(seed)
    rows = unit(np.asarray(chance.integers(-2, 3, size=(count, dimensions)) + 0.01, np.float32))
    question, allowed = rows[0], chance.random(count) < 0.7
    found = variants(rows)[0].index(rows).best(question, wanted, allowed)
    scores = rows @ question
    expected = sorted(np.flatnonzero(allowed).tolist(), key=lambda row: (-scores[row], row))[:wanted]
    assert found.tolist() == expected


def test_every_variant_finds_a_row_by_itself() -> None:
    """Whatever is kept of a vector, its own row comes first"""
    rows = corpus()
    for variant in variants(rows):
        index = variant.index(rows)
        found = [index.best(question, 1)[0] for question in variant.project(rows)[:50]]
        assert found == list(range(50)), variant.name


def test_sizes_are_those_of_the_bits() -> None:
    """Bytes of one vector: four a dimension, one, or an eighth"""
    sizes = {variant.name: variant.bytes_per_vector for variant in variants(corpus())}
    assert (sizes["float32 64"], sizes["int8 64"], sizes["bits 64"]) == (256, 64, 8)
    assert (sizes["float32 32 cut"], sizes["int8 16 learned"]) == (128, 16)


def test_learned_directions_keep_more_than_the_first_ones() -> None:
    """With the same number of dimensions, cosines after a learned projection are nearer to the true ones"""
    rows = corpus()
    true = rows @ rows.T
    errors = [float(np.abs(made(rows) @ made(rows).T - true).mean()) for made in (principal(rows, 16), cut(16))]
    assert errors[0] < errors[1] / 2


def test_rounding_to_eight_bits_moves_cosines_by_less_than_a_hundredth() -> None:
    rows = corpus()
    int8 = variants(rows)[1]
    rounded = int8.as_found(rows)
    assert float(np.abs(rounded @ rows.T - rows @ rows.T).max()) < 0.01
    assert np.allclose(np.linalg.norm(rounded, axis=1), 1, atol=1e-5)


def test_timing_rows_are_the_corpus_again_and_again() -> None:
    rows = corpus(3)
    assert np.array_equal(repeated(rows, 7), rows[[0, 1, 2, 0, 1, 2, 0]])
    assert repeated(rows, 2) is rows


async def test_the_table_has_a_line_for_every_variant(tmp_path: Path, library: Library, store: EmbeddedStore) -> None:
    """Recall of vectors alone and of the whole retrieval, size and time; access is kept; questions are embedded once"""
    things = ["lamp", "chair", "carpet", "mirror", "clock", "vase"]
    await library(
        *(document(thing, f"The {thing} costs {n} coins.") for n, thing in enumerate(things)),
        document("secret", "The lamp costs what a lamp costs, what does the lamp cost?", collection="staff"),
    )
    lines = [{"question": f"What does the {thing} cost?", "relevant": [thing], "type": "one"} for thing in things]
    lines.append({"question": "Who is king of Mars?", "relevant": [], "type": "null"})
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    embedder = WordCounts()
    questions = read_questions(tmp_path, ["public"])
    results = await compare_vectors(
        store, questions, embedder=embedder, search=lambda made: Search(store, made), timed_rows=500
    )
    assert [each.name for each in results[:3]] == [f"{kind} {DIMENSIONS}" for kind in ("float32", "int8", "bits")]
    assert len(results) == 9
    first = results[0]
    assert (first.agreement, first.vector_recall, first.recall, first.all_evidence) == (1, 1, 1, 1)
    assert results[2].recall is None
    assert all(each.search_ms > 0 and each.timed_rows == 500 for each in results)
    assert embedder.asked < 1 + 2 * len(things) + 20


async def test_nothing_to_compare_is_said(store: EmbeddedStore) -> None:
    """No documents, or no question that they answer"""
    question = AskedQuestion(text="?", relevant=(), type="null", language=None, collections=frozenset({"public"}))
    with pytest.raises(InputError, match="nothing to compare"):
        await compare_vectors(store, [question], embedder=WordCounts(), search=lambda made: Search(store, made))
