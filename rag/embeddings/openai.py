"""Embeddings from an OpenAI-compatible endpoint: concurrent, in bounded requests, retried, with a checked width."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from openai import APIConnectionError, APIStatusError, AsyncOpenAI, OpenAIError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception
from tenacity.wait import wait_random_exponential

from rag.errors import EmbeddingError
from rag.generate.failures import endpoint, is_worth_retrying, retry_after_s
from rag.ports import Vectors
from rag.types import Language


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request may hold and how patient we are.

    Sizes are bytes of UTF-8: a byte-level vocabulary, as OpenAI's, never makes more tokens than that, so a limit in
    tokens is kept without the model's own tokenizer.
    """

    text_bytes: int = 8000
    """Of one text, which is cut there. OpenAI's models read 8,191 tokens and refuse more."""
    inputs: int = 256
    """Texts in one request. OpenAI takes 2,048; the smaller answer is parsed in some milliseconds."""
    request_bytes: int = 300_000
    """Of all texts of one request. OpenAI takes 300,000 tokens."""
    concurrency: int = 4
    """Requests for bulk work in flight; a question does not wait for one of these places."""
    attempts: int = 8
    longest_pause_s: float = 60.0
    """A server that asks for more in `Retry-After` is not asked again."""
    urgent_attempts: int = 3
    urgent_longest_pause_s: float = 2.0
    """The same two for a question that somebody waits for."""


class OpenAIEmbedder:
    """Implements `rag.ports.Embedder` over a client that belongs to the caller and does not retry by itself."""

    languages: frozenset[Language] | None = None

    def __init__(
        self,
        client: AsyncOpenAI,
        model: str,
        dimensions: int | None = None,
        *,
        limits: Limits | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`dimensions` asks the model for shorter vectors; None leaves the width to it (then use `open`)."""
        self.name = f"openai:{model}" if dimensions is None else f"openai:{model}@{dimensions}"
        self._client = client
        self._model = model
        self._limits = limits or Limits()
        self._sleep = sleep
        self._endpoint = endpoint(str(client.base_url))
        self._asked = dimensions
        self._dimensions = dimensions
        self._places = asyncio.Semaphore(self._limits.concurrency)

    @classmethod
    async def open(
        cls, client: AsyncOpenAI, model: str, dimensions: int | None = None, *, limits: Limits | None = None
    ) -> OpenAIEmbedder:
        """An embedder that knows its width: asks for one vector where `dimensions` is not given.

        Raises `EmbeddingError`.
        """
        embedder = cls(client, model, dimensions, limits=limits)
        if dimensions is None:
            await embedder.embed(["width"], urgent=True)
        return embedder

    @property
    def dimensions(self) -> int:
        """The width of the vectors. Raises `EmbeddingError` where neither `open` nor `embed` has learned it."""
        if self._dimensions is None:
            raise EmbeddingError(f"the width of {self.name} is not known before its first answer")
        return self._dimensions

    async def embed(self, texts: Sequence[str], *, urgent: bool = False) -> Vectors:
        """One unit row per text. Raises `EmbeddingError` when one request has failed for good."""
        if not texts:
            return np.empty((0, self._dimensions or 0), np.float32)
        inputs = [acceptable(text, self._limits.text_bytes) for text in texts]
        sizes = [len(text.encode()) for text in inputs]
        spans = cut(sizes, inputs=self._limits.inputs, size=self._limits.request_bytes)
        try:
            async with asyncio.TaskGroup() as group:
                parts = [group.create_task(self._part(inputs[span], urgent=urgent)) for span in spans]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return np.concatenate([part.result() for part in parts])

    async def close(self) -> None:
        """Nothing is held: the client is closed by its owner."""

    async def _part(self, inputs: list[str], *, urgent: bool) -> Vectors:
        if urgent:
            return await self._request(inputs, self._retrying(urgent=True))
        async with self._places:
            return await self._request(inputs, self._retrying(urgent=False))

    async def _request(self, inputs: list[str], retrying: AsyncRetrying) -> Vectors:
        options: dict[str, Any] = {} if self._asked is None else {"dimensions": self._asked}

        async def post() -> bytes:
            # base64 is a third of the size of numbers in text. Named by us, the client leaves decoding to us: off
            # the event loop and without a Python float per number.
            answer = await self._client.embeddings.with_raw_response.create(
                model=self._model, input=inputs, encoding_format="base64", **options
            )
            return answer.content

        try:
            content: bytes = await retrying(post)
        except OpenAIError as error:
            raise self._explained(error) from None  # the cause may repeat the key or the texts
        try:
            vectors = await asyncio.to_thread(decode, content, len(inputs))
        except (ValueError, TypeError, LookupError):
            raise EmbeddingError(
                f"{self._endpoint} answered with something that is no list of embeddings: check EMBEDDING_BASE_URL"
            ) from None
        self._check_width(vectors.shape[1])
        return vectors

    def _check_width(self, width: int) -> None:
        if self._dimensions is None:
            self._dimensions = width
        if width == self._dimensions:
            return
        cure = f": it cannot shorten them, drop `@{self._asked}` from EMBEDDING_MODEL" if self._asked else ""
        raise EmbeddingError(
            f"{self._endpoint} gave vectors of {width} dimensions for {self.name} instead of {self._dimensions}{cure}"
        )

    def _retrying(self, *, urgent: bool) -> AsyncRetrying:
        limits = self._limits
        longest = limits.urgent_longest_pause_s if urgent else limits.longest_pause_s
        attempts = limits.urgent_attempts if urgent else limits.attempts
        backoff = wait_random_exponential(multiplier=0.2 if urgent else 1.0, max=longest)

        def pause(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = retry_after_s(error) if isinstance(error, Exception) else None
            return backoff(state) if asked is None else asked

        def give_up(state: RetryCallState) -> bool:
            return state.attempt_number >= attempts or state.upcoming_sleep > longest

        return AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, Exception) and is_worth_retrying(error)),
            wait=pause,
            stop=give_up,
            sleep=self._sleep,
            reraise=True,
        )

    def _explained(self, error: OpenAIError) -> EmbeddingError:
        """What happened and the cure, without the endpoint's own words."""
        if isinstance(error, APIConnectionError):
            cause = type(error.__cause__ or error).__name__
            text = f"no embeddings from {self._endpoint} ({cause}): check EMBEDDING_BASE_URL and the network"
        elif not isinstance(error, APIStatusError):
            text = f"no embeddings from {self._endpoint} ({type(error).__name__})"
        elif error.status_code in {401, 403}:
            text = f"{self._endpoint} refused the key ({error.status_code}): check EMBEDDING_API_KEY or OPENAI_API_KEY"
        elif error.status_code == 404:
            text = f"{self._endpoint} does not know {self._model} (404): check EMBEDDING_MODEL and EMBEDDING_BASE_URL"
        elif error.status_code == 429:
            text = f"{self._endpoint} is limiting embeddings (429): too many requests, or the quota is used up"
        elif error.status_code >= 500:
            text = f"{self._endpoint} failed to embed ({error.status_code})"
        else:
            text = f"{self._endpoint} refused to embed ({error.status_code}): check EMBEDDING_MODEL ({self.name})"
        return EmbeddingError(text)


def acceptable(text: str, size: int) -> str:
    """`text` as an endpoint takes it: valid UTF-8 of at most `size` bytes, never empty."""
    return text.encode(errors="replace")[:size].decode(errors="ignore") or " "


def cut(sizes: Sequence[int], *, inputs: int, size: int) -> list[slice]:
    """Consecutive spans of at most `inputs` texts and `size` in all; a single larger text goes alone."""
    spans: list[slice] = []
    start = total = 0
    for position, own in enumerate(sizes):
        if position > start and (position - start == inputs or total + own > size):
            spans.append(slice(start, position))
            start, total = position, 0
        total += own
    return [*spans, slice(start, len(sizes))]


def decode(content: bytes, count: int) -> Vectors:
    """The unit vectors of an answer's body, in the order of the inputs.

    Raises `ValueError`, `TypeError` or `LookupError` where it does not hold `count` of them.
    """
    data = sorted(orjson.loads(content)["data"], key=lambda entry: entry["index"])
    if [entry["index"] for entry in data] != list(range(count)):
        raise ValueError("the answer's indices do not match the inputs")
    vectors = np.stack([_vector(entry["embedding"]) for entry in data])
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if vectors.ndim != 2 or not np.isfinite(lengths).all() or not lengths.all():
        raise ValueError("an embedding has no direction")
    unit: Vectors = vectors / lengths
    return unit


def _vector(embedding: str | list[float]) -> Vectors:
    """Some servers ignore `encoding_format` and send numbers."""
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding), "<f4")
    return np.asarray(embedding, np.float32)
