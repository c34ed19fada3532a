"""EMBEDDING_MODEL: what is read, what is refused, and what a missing package says."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rag.embeddings import EmbeddingSpec, parse_model
from rag.embeddings.fastembed import FastEmbedder
from rag.errors import EmbeddingError
from rag.ports import Embedder


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("minilm", EmbeddingSpec(kind="minilm")),
        (" minilm ", EmbeddingSpec(kind="minilm")),
        ("openai:text-embedding-3-small", EmbeddingSpec(kind="openai", name="text-embedding-3-small")),
        (
            "openai:text-embedding-3-small@512",
            EmbeddingSpec(kind="openai", name="text-embedding-3-small", dimensions=512),
        ),
        ("openai:nomic-embed-text:latest", EmbeddingSpec(kind="openai", name="nomic-embed-text:latest")),
        ("openai:@cf/baai/bge-m3", EmbeddingSpec(kind="openai", name="@cf/baai/bge-m3")),
        ("openai:@cf/baai/bge-m3@256", EmbeddingSpec(kind="openai", name="@cf/baai/bge-m3", dimensions=256)),
        (
            "fastembed:intfloat/multilingual-e5-large",
            EmbeddingSpec(kind="fastembed", name="intfloat/multilingual-e5-large"),
        ),
    ],
)
def test_accepted_forms(text: str, spec: EmbeddingSpec) -> None:
    assert parse_model(text) == spec


@pytest.mark.parametrize(
    "text",
    ["", "mini", "minilm:", "minilm:x", "MiniLM", "openai", "openai:", "openai:a b", "openai:@512", "fastembed:"],
)
def test_refused_forms_name_the_accepted_ones(text: str) -> None:
    with pytest.raises(ValueError, match="use minilm, openai:NAME, openai:NAME@512 or fastembed:NAME"):
        parse_model(text)


@pytest.mark.parametrize(
    "text", ["openai:m@", "openai:m@0", "openai:m@x", "openai:m@-5", "openai:m@99999", "openai:m@５"]
)
def test_a_width_that_is_none_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"what follows @ is the number of dimensions, 1 to 8192"):
        parse_model(text)


async def test_without_the_package_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """fastembed is optional: asking for it on a machine without it gives the command."""
    monkeypatch.setitem(sys.modules, "fastembed", None)
    with pytest.raises(EmbeddingError, match=r"fastembed:some/model needs a package: pip install fastembed"):
        await FastEmbedder.open("some/model")


class TextEmbedding:
    """Stands in for the package's class: what we use of its interface, without a download."""

    def __init__(self, model_name: str, *, threads: int) -> None:
        if model_name != "some/model":
            raise ValueError(f"Model {model_name} is not supported in TextEmbedding.\nPlease check")
        assert threads >= 1

    def embed(self, documents: Sequence[str], batch_size: int = 256) -> Iterator[NDArray[np.float32]]:
        assert len(documents) <= batch_size
        for document in documents:
            yield np.array([len(document), 1, 0], np.float32)


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("fastembed")
    module.TextEmbedding = TextEmbedding
    monkeypatch.setitem(sys.modules, "fastembed", module)


async def test_a_model_of_the_package_embeds_in_order_and_normalised(package: None) -> None:
    """Questions and bulk work, unit rows, the width learned from the model."""
    embedder: Embedder = await FastEmbedder.open("some/model")
    assert (embedder.name, embedder.dimensions, embedder.languages) == ("fastembed:some/model", 3, None)
    texts = ["x" * (number % 7) for number in range(40)]
    rows = await embedder.embed(texts)
    assert (rows[:, 0] / rows[:, 1]).round(3).tolist() == [len(text) for text in texts]
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(40))
    assert (await embedder.embed(["xyz"], urgent=True))[0] == pytest.approx(rows[3])
    await embedder.close()


async def test_a_model_the_package_does_not_know_is_said(package: None) -> None:
    with pytest.raises(
        EmbeddingError, match=r"cannot load other/model \(ValueError: Model other/model is not supported"
    ):
        await FastEmbedder.open("other/model")
