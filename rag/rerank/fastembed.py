"""Cross-encoders with the optional package `fastembed`, in a thread of their own."""

from __future__ import annotations

import asyncio
import importlib
import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from rag.embeddings.runtime import cores
from rag.errors import RerankError


class CrossEncoder(Protocol):
    """What is used of `fastembed.rerank.cross_encoder.TextCrossEncoder`."""

    def rerank(self, query: str, documents: Iterable[str], batch_size: int = 64) -> Iterable[float]: ...


class FastReranker:
    """A cross-encoder that runs here. Made by `open`."""

    def __init__(self, model: CrossEncoder, name: str) -> None:
        self._model = model
        self.name = f"fastembed:{name}"
        # One question at a time: the model uses all cores for each.
        self._thread = ThreadPoolExecutor(1, "rerank")

    @classmethod
    async def open(cls, name: str, **options: Any) -> FastReranker:
        """Load the model, downloading it if need be; `options` go to `TextCrossEncoder`.

        Raises `RerankError` where the package is missing, or the model is unknown or cannot be fetched.
        """
        return cls(await asyncio.to_thread(_load, name, options), name)

    async def rerank(self, question: str, texts: Sequence[str]) -> Sequence[float]:
        """See `rag.ports.Reranker`. What nobody waits for any more is not begun."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._now, question, list(texts))

    async def close(self) -> None:
        """Let what runs finish, end the thread."""
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)

    def _now(self, question: str, texts: list[str]) -> list[float]:
        try:
            scores = [float(score) for score in self._model.rerank(question, texts, batch_size=len(texts))]
        except Exception as error:  # tokenizers and onnxruntime have no class in common
            raise RerankError(f"{self.name} cannot score passages ({type(error).__name__})") from error
        if len(scores) != len(texts) or not all(map(math.isfinite, scores)):
            raise RerankError(f"{self.name} did not score each of {len(texts)} passages")
        return scores


def _load(name: str, options: dict[str, Any]) -> CrossEncoder:
    try:
        package = importlib.import_module("fastembed.rerank.cross_encoder")
    except ImportError:
        raise RerankError(f"GRAPEVINE_RERANK=fastembed:{name} needs a package: pip install fastembed") from None
    try:
        model: CrossEncoder = package.TextCrossEncoder(name, **{"threads": cores(), **options})
    except Exception as error:  # the network, the cache's disk and onnxruntime have no class in common
        cause = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
        raise RerankError(
            f"fastembed cannot load {name} ({cause}): check the name and, for its first download, the network"
        ) from error
    return model
