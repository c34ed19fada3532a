"""`rag.ports.Retriever` whose best passages a reranker orders; the ranking's order stays where that fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from rag.errors import RerankError
from rag.ports import Reranker, Retrieved, Retriever
from rag.resilience.deadline import Deadline
from rag.types import Mode, Passage, Timings

CANDIDATES = 30
"""Passages that are read again. A cross-encoder takes some milliseconds for each."""
LONGEST_S = 2.0
"""What a second look may take. Nobody should wait longer for the first word because of it."""
SHARE = 0.25
"""Of the time that is left until the deadline; the model needs the rest."""
REST_S = 10.0
"""After a failure nobody asks for so long: an endpoint that is away should not cost every question its timeout."""


class Reranked:
    """Ranks as `retriever` does, then orders the best of it by `reranker`. Only in mode `hybrid`.

    The relevance floor stays the ranking's: it is calibrated on that.
    """

    def __init__(
        self,
        retriever: Retriever,
        reranker: Reranker,
        *,
        on_failure: Callable[[RerankError], None],
        longest_s: float = LONGEST_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_failure` hears why an answer came in the ranking's order."""
        self._retriever = retriever
        self._reranker = reranker
        self._on_failure = on_failure
        self._longest_s = longest_s
        self._clock = clock
        self._resting_until = float("-inf")

    async def retrieve(
        self,
        text: str,
        *,
        collections: frozenset[str],
        k: int = 8,
        mode: Mode = "hybrid",
        deadline: Deadline | None = None,
    ) -> Retrieved:
        """See `rag.ports.Retriever`."""
        is_asked = mode == "hybrid" and self._clock() >= self._resting_until
        found = await self._retriever.retrieve(
            text, collections=collections, k=max(k, CANDIDATES) if is_asked else k, mode=mode, deadline=deadline
        )
        # A ranking of more passages begins with that of fewer, so cutting it is the fallback.
        if not is_asked or len(found.passages) < 2:
            return replace(found, passages=found.passages[:k])
        started = time.perf_counter()
        passages = await self._ordered(text, found.passages, deadline)
        spent_ms = (time.perf_counter() - started) * 1000
        timings = found.timings.merged(Timings(retrieve_ms=(found.timings.retrieve_ms or 0.0) + spent_ms))
        return replace(found, passages=passages[:k], timings=timings)

    async def passage(self, passage_id: str, *, collections: frozenset[str]) -> Passage | None:
        """See `rag.ports.Retriever`."""
        return await self._retriever.passage(passage_id, collections=collections)

    async def _ordered(
        self, text: str, passages: tuple[Passage, ...], deadline: Deadline | None
    ) -> tuple[Passage, ...]:
        seconds = self._longest_s if deadline is None else min(self._longest_s, SHARE * deadline.remaining_s())
        head, tail = passages[:CANDIDATES], passages[CANDIDATES:]
        try:
            try:
                async with asyncio.timeout(seconds):
                    scores = await self._reranker.rerank(text, [_shown(passage) for passage in head])
            except TimeoutError:
                raise RerankError(f"{self._reranker.name} did not answer within {seconds:.1f} s") from None
        except RerankError as error:
            self._resting_until = self._clock() + REST_S
            self._on_failure(error)
            return passages
        order = sorted(range(len(head)), key=lambda at: (-scores[at], at))
        best = tuple(replace(head[at], score=round(scores[at], 4), why=(*head[at].why, "rerank")) for at in order)
        # Scores of two kinds cannot be compared; what was not read again stays behind, and says so by a lower score.
        least = best[-1].score
        return (*best, *(replace(passage, score=min(passage.score, least)) for passage in tail))


def _shown(passage: Passage) -> str:
    return "\n".join(part for part in (passage.title, passage.heading, passage.text) if part)
