"""The offline default: all-MiniLM-L6-v2 on onnxruntime, English, 384 dimensions."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Final

import numpy as np

from rag.embeddings.batching import Lane, MicroBatcher, batches
from rag.embeddings.runtime import (
    DIMENSIONS,
    IntegerSession,
    Session,
    available_providers,
    cores,
    open_for_questions,
    open_session,
    yield_to_others,
)
from rag.embeddings.weights import Weights, find_weights, read_weights
from rag.embeddings.wordpiece import WordPiece
from rag.errors import EmbeddingError
from rag.ports import Vectors
from rag.types import Language

_URGENT_THREADS = 4
"""Finer than this, the work of one question is not worth handing out; more questions at once would leave the others no
core."""
_BATCH_TOKENS = 256
"""Padded tokens of one batch on one core: the best measured between 128 and 2048, and only 45 ms of work."""
_DEVICE_BATCH_TOKENS = 4096
"""The same on a GPU, which computes rows side by side."""
_INLINE_CHARACTERS = 4000
"""What is cut into tokens on the event loop: 0.1 ms of work at most."""
_TEXTS_AT_A_TIME = 8
"""Texts cut into tokens, some 0.1 ms each, before other threads get a turn at the interpreter."""


class MiniLM:
    """Embeds the first 254 tokens of each text. Made by `load` or `open`.

    On a CPU urgent texts are computed in integers: three times as fast, with a cosine of .998 to the exact vector on
    average. All others are exact.

    `embed` belongs to one event loop; `embed_now` and `count_tokens` may be called from any thread.
    """

    name: Final = "minilm"
    dimensions: Final = DIMENSIONS
    languages: Final[frozenset[Language] | None] = frozenset({"en"})

    def __init__(self, weights: Weights, *, threads: int, providers: Sequence[str]) -> None:
        """Open the session that answers questions: some 0.1 s. Raises `EmbeddingError`."""
        self._weights = weights
        self._threads = threads
        self._tokenizer = WordPiece.from_tokenizer_json(weights.tokenizer_json)
        urgent_threads = min(threads, _URGENT_THREADS)
        self._urgent = open_for_questions(weights, threads=urgent_threads, providers=providers)
        self._bulk: Session | None = None
        self._opening = Lock()
        is_cpu = self.device == "cpu"
        self._workers = threads if is_cpu else 1
        self._batch_tokens = _BATCH_TOKENS if is_cpu else _DEVICE_BATCH_TOKENS
        self._is_closed = False
        self._tokenizing = ThreadPoolExecutor(1, "tokenize")
        self._batcher = MicroBatcher(urgent=self._urgent_lane(urgent_threads), bulk=self._bulk_lane())

    @classmethod
    def load(
        cls, folder: Path | None = None, *, threads: int | None = None, providers: Sequence[str] | None = None
    ) -> MiniLM:
        """Verify the weights and open the model: about 0.2 s on the calling thread.

        `folder` holds `model.safetensors` and `tokenizer.json` (default: the installed distribution); `threads` is
        the number of cores to use (default: all); `providers` are onnxruntime's (default: the best there are).
        Raises `EmbeddingError`.
        """
        weights = read_weights(folder or find_weights())
        return cls(weights, threads=threads or cores(), providers=providers or available_providers())

    @classmethod
    async def open(cls, folder: Path | None = None) -> MiniLM:
        """`load` in a thread."""
        return await asyncio.to_thread(cls.load, folder)

    @property
    def device(self) -> str:
        """Where it computes: `cpu`, `cuda` or `coreml`."""
        return self._urgent.device

    @property
    def precision(self) -> str:
        """How it computes questions: `full precision` or `7-bit integers`."""
        return self._urgent.precision

    def count_tokens(self, text: str) -> int:
        """Tokens of `text`; the model reads the first 254 of them."""
        return self._tokenizer.count(text)

    async def embed(self, texts: Sequence[str], *, urgent: bool = False) -> Vectors:
        """One row per text. With `urgent` it goes before all work without, which yields the cores to it."""
        self._check_open()
        if urgent and sum(map(len, texts)) <= _INLINE_CHARACTERS:
            tokens = [self._tokenizer.encode(text) for text in texts]
        else:
            # One thread for bulk work, so that several jobs do not fight over the interpreter; a question has its own.
            threads = None if urgent else self._tokenizing
            tokens = await asyncio.get_running_loop().run_in_executor(threads, self._tokenize, texts)
        return await self._batcher.embed(tokens, urgent=urgent)

    def embed_now(self, texts: Sequence[str]) -> Vectors:
        """One row per text, while the calling thread waits: for worker processes and measurements."""
        tokens = [self._tokenizer.encode(text) for text in texts]
        vectors = np.empty((len(texts), DIMENSIONS), np.float32)
        cut = batches([len(ids) for ids in tokens], self._batch_tokens)
        session = self._bulk_session()

        def run(batch: list[int]) -> None:
            vectors[batch] = session.run([tokens[position] for position in batch])

        if self._workers == 1 or len(cut) <= 1:
            deque(map(run, cut), maxlen=0)
        else:
            with ThreadPoolExecutor(self._workers, "embed") as threads:
                deque(threads.map(run, cut), maxlen=0)
        return vectors

    async def close(self) -> None:
        """Let running batches finish, fail what waits, end the threads."""
        self._is_closed = True
        await self._batcher.close()
        await asyncio.to_thread(self._tokenizing.shutdown)

    def _check_open(self) -> None:
        if self._is_closed:
            raise EmbeddingError("the embedder is closed")

    def _urgent_lane(self, threads: int) -> Lane[list[int]]:
        """In integers, a text at a time on each thread; else all threads on what came meanwhile."""
        by_itself = isinstance(self._urgent, IntegerSession)
        return Lane(
            self._urgent.run,
            length=len,
            dimensions=DIMENSIONS,
            budget=1 if by_itself else self._batch_tokens,
            workers=threads if by_itself else 1,
        )

    def _bulk_lane(self) -> Lane[list[int]]:
        return Lane(
            self._run_bulk,
            length=len,
            dimensions=DIMENSIONS,
            budget=self._batch_tokens,
            workers=self._workers,
            initializer=yield_to_others,
        )

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        tokens = []
        for number, text in enumerate(texts, start=1):
            tokens.append(self._tokenizer.encode(text))
            if number % _TEXTS_AT_A_TIME == 0:
                self._check_open()
                time.sleep(0.00005)  # a sleep of 0 would take the interpreter back before anybody woke up
        return tokens

    def _run_bulk(self, batch: Sequence[list[int]]) -> Vectors:
        return self._bulk_session().run(batch)

    def _bulk_session(self) -> Session:
        """A session of single-threaded batches, one per core: some 10 % faster than all cores on each batch.

        It keeps 43 MB of weights rearranged for itself, so it opens with the first bulk work.
        """
        if isinstance(self._urgent, Session) and (self.device != "cpu" or self._threads == 1):
            return self._urgent
        with self._opening:
            if self._bulk is None:
                self._bulk = open_session(self._weights, threads=1, providers=["CPUExecutionProvider"])
            return self._bulk
