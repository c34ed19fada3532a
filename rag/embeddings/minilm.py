"""The offline default: all-MiniLM-L6-v2 on onnxruntime, English, 384 dimensions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime as ort

from rag.embeddings.weights import find_weights, read_weights
from rag.embeddings.wordpiece import WordPiece
from rag.errors import EmbeddingError
from rag.ports import Vectors

DIMENSIONS: Final = 384
_GRAPH = Path(__file__).with_name("minilm.onnx")
_PROVIDERS = ("CUDAExecutionProvider", "CoreMLExecutionProvider", "CPUExecutionProvider")
"""Best first; onnxruntime says which of them its build has."""


class MiniLM:
    """Embeds texts of up to 256 tokens; what is longer is cut there. Use `load` or `open`."""

    name: Final = "minilm"
    dimensions: Final = DIMENSIONS
    languages: Final = frozenset({"en"})

    def __init__(self, tokenizer: WordPiece, session: ort.InferenceSession) -> None:
        self._tokenizer = tokenizer
        self._session = session
        self._pool = ThreadPoolExecutor(1, "minilm")

    @classmethod
    def load(cls, folder: Path | None = None) -> MiniLM:
        """Verify the weights and open the model: about 0.3 s on the calling thread.

        Raises `EmbeddingError`.
        """
        weights = read_weights(folder or find_weights())
        options = ort.SessionOptions()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        names = [name for name in weights.tensors if not name.startswith("pooler.")]
        values = [ort.OrtValue.ortvalue_from_numpy(weights.tensors[name]) for name in names]
        options.add_external_initializers(names, values)
        available = ort.get_available_providers()
        session = ort.InferenceSession(
            str(_GRAPH), options, providers=[name for name in _PROVIDERS if name in available]
        )
        return cls(WordPiece.from_tokenizer_json(weights.tokenizer_json), session)

    @classmethod
    async def open(cls, folder: Path | None = None) -> MiniLM:
        """`load` in a thread."""
        return await asyncio.to_thread(cls.load, folder)

    def count_tokens(self, text: str) -> int:
        """Tokens of `text`; the model reads the first 254 of them."""
        return self._tokenizer.count(text)

    async def embed(self, texts: Sequence[str], *, urgent: bool = False) -> Vectors:
        """One row per text, computed in a worker thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self.embed_now, texts)

    def embed_now(self, texts: Sequence[str]) -> Vectors:
        """One row per text, on the calling thread: for worker processes and measurements."""
        vectors = np.empty((len(texts), DIMENSIONS), np.float32)
        ids = [self._tokenizer.encode(text) for text in texts]
        order = sorted(range(len(ids)), key=lambda number: len(ids[number]))
        batch: list[int] = []
        for number in order:
            if batch and len(ids[number]) * (len(batch) + 1) > 1024:
                self._run(batch, ids, vectors)
                batch = []
            batch.append(number)
        if batch:
            self._run(batch, ids, vectors)
        return vectors

    def _run(self, batch: list[int], ids: list[list[int]], vectors: Vectors) -> None:
        tokens = np.zeros((len(batch), max(len(ids[number]) for number in batch)), np.int32)
        for row, number in enumerate(batch):
            tokens[row, : len(ids[number])] = ids[number]
        try:
            vectors[batch] = self._session.run(None, {"tokens": tokens})[0]
        except Exception as error:
            raise EmbeddingError(f"onnxruntime could not compute an embedding: {error}") from error

    async def close(self) -> None:
        """Stop the worker thread."""
        await asyncio.to_thread(self._pool.shutdown)
