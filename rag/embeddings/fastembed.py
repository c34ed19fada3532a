"""Any text model of the optional package fastembed, many of them multilingual, on this machine.

The model is downloaded once, at `open`, into fastembed's cache (`FASTEMBED_CACHE_PATH`). Texts go in as they are: take
a model that needs no prefixes, such as `sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2`.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from rag.embeddings.batching import Lane, MicroBatcher
from rag.embeddings.runtime import cores
from rag.errors import EmbeddingError
from rag.ports import Vectors
from rag.types import Language

_BATCH_CHARACTERS = 2000
"""Of one batch, padding included: some 500 tokens, so that a question waits little."""


class TextModel(Protocol):
    """What we use of `fastembed.TextEmbedding`."""

    def embed(self, documents: Sequence[str], batch_size: int = ...) -> Any: ...


class FastEmbedder:
    """Implements `rag.ports.Embedder`. Made by `open`; belongs to one event loop."""

    languages: frozenset[Language] | None = None

    def __init__(self, model: TextModel, name: str, dimensions: int) -> None:
        self._model = model
        self.name = f"fastembed:{name}"
        self.dimensions = dimensions
        self._batcher = MicroBatcher(urgent=self._lane(), bulk=self._lane())

    @classmethod
    async def open(cls, name: str, **options: Any) -> FastEmbedder:
        """Load the model, downloading it if need be; `options` go to `fastembed.TextEmbedding`.

        Raises `EmbeddingError` where the package is missing, or the model is unknown or cannot be fetched.
        """
        model = await asyncio.to_thread(_load, name, options)
        probe = await asyncio.to_thread(_unit, model, ["width"], name)
        return cls(model, name, probe.shape[1])

    async def embed(self, texts: Sequence[str], *, urgent: bool = False) -> Vectors:
        """One row per text; a question has a thread of its own."""
        return await self._batcher.embed(texts, urgent=urgent)

    async def close(self) -> None:
        """Let running batches finish, fail what waits, end the threads."""
        await self._batcher.close()

    def _lane(self) -> Lane[str]:
        return Lane(
            lambda texts: _unit(self._model, texts, self.name),
            length=lambda text: len(text) + 1,
            dimensions=self.dimensions,
            budget=_BATCH_CHARACTERS,
            workers=1,
        )


def _load(name: str, options: dict[str, Any]) -> TextModel:
    try:
        fastembed = importlib.import_module("fastembed")
    except ImportError:
        raise EmbeddingError(f"EMBEDDING_MODEL=fastembed:{name} needs a package: pip install fastembed") from None
    try:
        model: TextModel = fastembed.TextEmbedding(name, **{"threads": cores(), **options})
    except Exception as error:  # the network, the cache's disk and onnxruntime have no class in common
        cause = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
        raise EmbeddingError(
            f"fastembed cannot load {name} ({cause}): check the name and, for its first download, the network"
        ) from error
    return model


def _unit(model: TextModel, texts: Sequence[str], name: str) -> Vectors:
    try:
        vectors = np.stack(list(model.embed(texts, batch_size=len(texts)))).astype(np.float32)
    except Exception as error:  # tokenizers and onnxruntime have no class in common
        raise EmbeddingError(f"{name} cannot compute an embedding ({type(error).__name__})") from error
    unit: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit
