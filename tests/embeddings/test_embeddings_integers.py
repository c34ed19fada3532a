"""Questions in integers: near the exact vectors, the same whoever else asks, and refused where they are wrong."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rag.embeddings import integers, runtime
from rag.embeddings.minilm import MiniLM
from rag.embeddings.runtime import IntegerSession, Session, open_for_questions
from rag.embeddings.weights import Weights
from rag.errors import EmbeddingError
from rag.ports import Vectors

SAMPLE = Path(__file__).parents[2] / "bot/sample"
CPU = ["CPUExecutionProvider"]
MONEY = [
    "| Tử vong hoặc thương tật vĩnh viễn toàn bộ | 20.000.000 đ | 50.000.000 đ | 100.000.000 đ |",
    "Khách có mức giảm từ 20% được gọi trước.",
    "Is 12,000,000 the most that is paid for each event, or 100,000,000?",
    "0 00 000 0000 00000",
]
"""Texts whose vectors had a cosine of down to .93 while no channel stayed in full precision."""


@pytest.fixture(scope="module")
def texts() -> list[str]:
    questions = (SAMPLE / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    faqs = (SAMPLE / "faqs.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["question"] for line in (*questions, *faqs)] + MONEY


def cosines(first: Vectors, second: Vectors) -> Vectors:
    return np.asarray((first * second).sum(axis=1), np.float32)


async def asked(model: MiniLM, texts: list[str]) -> Vectors:
    return await model.embed(texts, urgent=True)


async def test_vectors_of_questions_are_near_the_exact_ones(texts: list[str]) -> None:
    """Over the sample's questions and what was hard to round: a cosine of .995 at least, of .998 on average."""
    model = await MiniLM.open()
    try:
        found = cosines(await asked(model, texts), model.embed_now(texts))
    finally:
        await model.close()
    assert found.min() >= 0.995
    assert found.mean() >= 0.998


async def test_a_question_has_one_vector_whoever_else_asks(texts: list[str]) -> None:
    """Alone, in one call with others, or while a crowd asks: bit for bit the same."""
    model = await MiniLM.open()
    try:
        together = await asked(model, texts[:20])
        crowd = await asyncio.gather(*(asked(model, [text]) for text in texts[:20]))
        alone = [await asked(model, [text]) for text in texts[:20]]
    finally:
        await model.close()
    assert np.array_equal(together, np.concatenate(crowd))
    assert np.array_equal(together, np.concatenate(alone))


async def test_vectors_of_documents_stay_exact(texts: list[str], weights: Weights) -> None:
    """What is not urgent is computed in full precision: stored vectors do not change."""
    model = await MiniLM.open()
    try:
        stored, at_once = await model.embed(texts), model.embed_now(texts)
    finally:
        await model.close()
    exact = Session(weights, threads=1, providers=CPU)
    expected = np.concatenate([exact.run([model._tokenizer.encode(text)]) for text in texts])
    assert np.abs(stored - expected).max() < 1e-5
    assert np.abs(at_once - expected).max() < 1e-5


def test_where_integers_compute_wrong_the_cpu_computes_exactly(
    weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A known vector is computed before the first question; where it is not met, questions are exact, only slower."""
    known = integers.read_calibration()
    monkeypatch.setattr(integers, "read_calibration", lambda: replace(known, vector=-known.vector))
    with pytest.raises(EmbeddingError, match="wrong vectors in integers"):
        IntegerSession(weights)
    session = open_for_questions(weights, threads=1, providers=CPU)
    assert (session.precision, session.device) == ("full precision", "cpu")


def test_an_onnxruntime_without_the_operator_computes_exactly(
    weights: Weights, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A graph that does not open is no reason not to answer."""
    (tmp_path / "other.onnx").write_bytes(b"not a graph")
    monkeypatch.setattr(runtime, "_QUESTIONS_GRAPH", tmp_path / "other.onnx")
    assert isinstance(open_for_questions(weights, threads=1, providers=CPU), Session)


async def test_full_precision_serves_questions_and_documents(monkeypatch: pytest.MonkeyPatch, texts: list[str]) -> None:
    """After the fall-back both lanes give exact vectors, and it says how it computes."""
    known = integers.read_calibration()
    monkeypatch.setattr(integers, "read_calibration", lambda: replace(known, vector=-known.vector))
    model = await MiniLM.open()
    try:
        assert model.precision == "full precision"
        assert cosines(await asked(model, texts), model.embed_now(texts)).min() > 0.9999
    finally:
        await model.close()


def test_a_cpu_computes_questions_in_integers(minilm: MiniLM) -> None:
    """Without a GPU, that is what it says it does."""
    if minilm.device == "cpu":
        assert minilm.precision == "7-bit integers"


def test_the_known_vector_is_what_full_precision_computes(weights: Weights) -> None:
    """What integers are judged by belongs to the published weights."""
    known = integers.read_calibration()
    exact = Session(weights, threads=1, providers=CPU).run([known.probe.tolist()])[0]
    assert np.abs(exact - known.vector).max() < 1e-3


def test_weights_have_seven_bits(weights: Weights) -> None:
    """No weight is larger than 63, so that two products fit into 16 bits; every array of the graph is filled."""
    calibration = integers.read_calibration()
    made = integers.in_integers(weights.tensors(), calibration)
    for linear in integers.linears():
        offset, length = integers.layout()[f"{linear.name}.weight"]
        matrix = made[offset : offset + length].view(np.int8)
        assert np.abs(matrix.astype(np.int16)).max() == 63
        offset, length = integers.layout()[f"{linear.name}.scale"]
        assert np.isfinite(made[offset : offset + length].view(np.float32)).all()


def test_what_onnxruntime_refuses_is_an_embedding_error(weights: Weights) -> None:
    """A token id beyond the vocabulary does not end in a foreign exception."""
    with pytest.raises(EmbeddingError, match="cannot compute"):
        IntegerSession(weights).run([[99_999]])
