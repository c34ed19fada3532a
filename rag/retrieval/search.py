"""`rag.ports.Retriever` over any store that gives views: embed, search, rank, judge, fetch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial

from rag.errors import EmbeddingError, InputError
from rag.ports import Embedder, Retrieved, Vectors
from rag.resilience.deadline import Deadline
from rag.retrieval.candidates import POOL
from rag.retrieval.gather import Worded, gather
from rag.retrieval.question import MAX_CHARACTERS, Asked
from rag.retrieval.rank import RankedPassage, rank_documents, rank_passages, weights_for
from rag.retrieval.relevance import floor_for, is_relevant
from rag.retrieval.sources import source_of
from rag.retrieval.view import ChunkInfo, Knowledge, QueriedKnowledge, View
from rag.types import Mode, Passage, Timings

MAX_K = 100
_FEW_ROWS = 200
"""Ranking so few takes 2 ms: beside fifty others a thread waits longer than that for its turn at the interpreter."""
_SHARE_OF_TIME = 0.9
_UNDERSTOOD_SHARE = 0.2
"""If the embedder understands less of the documents than this, its vectors weigh little whatever the question's
language."""


class Search:
    """Finds passages. More than a little CPU work runs in threads; the embedding and the full-text search overlap."""

    def __init__(self, knowledge: Knowledge | QueriedKnowledge, embedder: Embedder | None) -> None:
        """`embedder` None: words, titles and names alone."""
        self._source = source_of(knowledge)
        self._embedder = embedder

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
        if not text.strip():
            raise InputError("The question is empty: ask in words.")
        if not 1 <= k <= MAX_K:
            raise InputError(f"k is {k}: it must be between 1 and {MAX_K}.")
        started = time.perf_counter()
        opening = asyncio.create_task(self._source.open(text, collections))
        try:
            vectors, embed_ms = await self._embed(text, mode, deadline)
        except BaseException:
            opening.cancel()
            raise
        opened = await opening
        # Less than there is, so that a store that does not answer is what is told, and not that the time was up.
        left_s = None if deadline is None else _SHARE_OF_TIME * deadline.remaining_s()
        view, asked, words = await opened.view(vectors, pool=max(POOL, k), seconds=left_s)
        finish = partial(self._finish, view, asked, words, k, mode)
        passages, relevant = finish() if view.rows <= _FEW_ROWS else await asyncio.to_thread(finish)
        total_ms = (time.perf_counter() - started) * 1000
        return Retrieved(
            passages=passages,
            is_relevant=relevant,
            language=asked.language,
            timings=Timings(embed_ms=embed_ms, retrieve_ms=total_ms - (embed_ms or 0.0)),
            epoch=view.epoch,
        )

    async def passage(self, passage_id: str, *, collections: frozenset[str]) -> Passage | None:
        """See `rag.ports.Retriever`."""
        info = await self._source.passage(passage_id, collections)
        return None if info is None else _shown(info, score=0.0)

    async def _embed(self, text: str, mode: Mode, deadline: Deadline | None) -> tuple[Vectors | None, float | None]:
        if self._embedder is None or mode == "text":
            return None, None
        started = time.perf_counter()
        try:
            async with asyncio.timeout(None if deadline is None else deadline.remaining_s()):
                vectors = await self._embedder.embed([text[:MAX_CHARACTERS]], urgent=True)
        except TimeoutError as error:
            raise EmbeddingError(f"{self._embedder.name} did not embed the question before the deadline.") from error
        return vectors, (time.perf_counter() - started) * 1000

    def _finish(
        self, view: View, asked: Asked, words: Worded | None, k: int, mode: Mode
    ) -> tuple[tuple[Passage, ...], bool]:
        if view.rows == 0:
            return (), False
        understands = self._understands(view, asked)
        weights = weights_for(mode, understands=understands)
        candidates = gather(view, asked, weights, words=words, pool=max(POOL, k))
        ranked = rank_passages(candidates, rank_documents(candidates, weights), weights, k)
        floor = floor_for(
            None if self._embedder is None else self._embedder.name,
            language=asked.language,
            understands=understands,
            has_vectors=candidates.has_vectors,
        )
        return _passages(view, ranked), is_relevant(candidates, asked, floor, partial(_texts, view))

    def _understands(self, view: View, asked: Asked) -> bool:
        """Whether the embedder's cosines mean something here."""
        known = None if self._embedder is None else self._embedder.languages
        if known is None:
            return True
        chunks = sum(view.languages.values())
        understood = sum(count for language, count in view.languages.items() if language in known)
        return asked.language in known and understood >= _UNDERSTOOD_SHARE * chunks


def _texts(view: View, rows: Sequence[int]) -> list[str]:
    return [f"{info.title}\n{info.heading}\n{info.text}" for info in view.infos(rows)]


def _passages(view: View, ranked: list[RankedPassage]) -> tuple[Passage, ...]:
    infos = view.infos([passage.row for passage in ranked])
    sources = sorted({p.bridge.source for p in ranked if p.bridge is not None})
    titles = dict(
        zip(sources, (info.title for info in view.infos([int(view.first_row[d]) for d in sources])), strict=True)
    )
    return tuple(
        _shown(
            info,
            score=passage.score,
            why=tuple(
                f"link: {titles[passage.bridge.source]}" if reason == "link" and passage.bridge else reason
                for reason in passage.why
            ),
            words_held=passage.words_held,
            cosine=passage.cosine,
        )
        for passage, info in zip(ranked, infos, strict=True)
    )


def _shown(
    info: ChunkInfo,
    *,
    score: float,
    why: tuple[str, ...] = (),
    words_held: float | None = None,
    cosine: float | None = None,
) -> Passage:
    return Passage(
        passage_id=info.passage_id,
        document=info.document,
        title=info.title,
        collection=info.collection,
        text=info.text,
        score=round(score, 4),
        why=why,
        heading=info.heading,
        page=info.page,
        url=info.url,
        words_held=words_held,
        cosine=cosine,
    )
