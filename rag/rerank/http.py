"""Rerankers behind an endpoint that speaks Cohere's `rerank`: Cohere, Jina, vLLM, llama.cpp and others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from rag.errors import RerankError

if TYPE_CHECKING:
    from httpx2 import AsyncClient, Response

_MAX_CHARACTERS = 8000
"""Of one passage: chunks are shorter, a line of a table may not be."""


class _Result(BaseModel):
    model_config = ConfigDict(extra="ignore")

    index: int
    relevance_score: float


class _Answer(BaseModel):
    """What is used of https://docs.cohere.com/reference/rerank."""

    model_config = ConfigDict(extra="ignore")

    results: list[_Result]


class HttpReranker:
    """Asks `POST <url>` with `{"model", "query", "documents", "top_n"}`."""

    def __init__(self, client: AsyncClient, *, url: str, key: str | None = None, model: str | None = None) -> None:
        """`client` is closed by who made it; `url` is the whole address, e.g. `https://host/v1/rerank`."""
        self._client = client
        self._url = url
        self._key = key
        self._model = model
        parts = urlsplit(url)
        # What messages may name: an address may hold a login or a key.
        self.name = f"the reranker at {parts.hostname}{'' if parts.port is None else f':{parts.port}'}"

    async def rerank(self, question: str, texts: Sequence[str]) -> Sequence[float]:
        """See `rag.ports.Reranker`."""
        from httpx2 import HTTPError, InvalidURL  # noqa: PLC0415 - the client is imported where one is made

        documents = [text[:_MAX_CHARACTERS] for text in texts]
        body: dict[str, object] = {"query": question, "documents": documents, "top_n": len(documents)}
        if self._model:
            body["model"] = self._model
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        try:
            response = await self._client.post(self._url, json=body, headers=headers)
        except (HTTPError, InvalidURL) as error:
            raise RerankError(
                f"{self.name} cannot be reached ({type(error).__name__}): check GRAPEVINE_RERANK_URL"
            ) from None
        return self._scores(response, len(documents))

    async def close(self) -> None:
        """The client is not ours."""

    def _scores(self, response: Response, count: int) -> list[float]:
        if response.status_code in {401, 403}:
            raise RerankError(f"{self.name} refused the key ({response.status_code}): check GRAPEVINE_RERANK_KEY")
        if response.status_code != 200:
            raise RerankError(
                f"{self.name} answered {response.status_code}: check GRAPEVINE_RERANK_URL and GRAPEVINE_RERANK_MODEL"
            )
        try:
            results = _Answer.model_validate_json(response.content).results
        except ValidationError:
            raise RerankError(
                f"{self.name} answered something else than results with index and relevance_score"
            ) from None
        scores = {result.index: result.relevance_score for result in results}
        if sorted(scores) != list(range(count)) or not all(map(math.isfinite, scores.values())):
            raise RerankError(f"{self.name} did not score each of {count} passages once")
        return [scores[at] for at in range(count)]
