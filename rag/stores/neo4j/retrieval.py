"""Questions to the graph: the one query, asked again only where the answer could not be whole."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np

from rag.errors import EmbeddingMismatch, StoreUnavailable
from rag.retrieval.candidates import FEW_DOCUMENTS
from rag.retrieval.question import Asked
from rag.retrieval.view import ChunkInfo
from rag.stores.neo4j.connection import Connection, ServerRefused
from rag.stores.neo4j.encoding import hashes_of
from rag.stores.neo4j.query import parameters, retrieval
from rag.stores.neo4j.schema import online_indexes, vector_index
from rag.stores.neo4j.statistics import CollectionStatistics, Delta, Totals, delta_of, few, totals
from rag.stores.neo4j.view import NOTHING, FetchedView, Found
from rag.types import Language

_TRIES = 8
_SECONDS = 30.0
"""For one query; whoever asks has less time, and bounds it."""
_ONLINE_S = 2.0
"""How long an index that was found missing is not asked for."""
_SLOW_S = 1.0
"""After which it is looked whether the vector index can be asked: 5.26 answers only when it has been built."""
_PAUSE_S = 0.005
"""Times the number of tries: about how long a commit takes to be applied."""
MAX_POOL = 800
"""Chunks searched for where most of what is found is not valid today."""

_STATISTICS = """
OPTIONAL MATCH (m:Grapevine {id: 0})
OPTIONAL MATCH (k:Collection)
WITH m, k, k.texts AS before
CALL (k) {
  MATCH (s:Statistics {collection: k.name})
  RETURN collect([s.id, CASE WHEN s.id IN $known THEN null ELSE properties(s) END]) AS deltas
}
MATCH (again:Collection {name: k.name})
RETURN m.embedder, m.dimensions, k.name, before, again.texts, k.vectors, deltas
"""
_PASSAGE = """
MATCH (c:Chunk {passage_id: $passage_id})<-[:HAS]-(d:Document)
WHERE d.collection IN $collections AND d.valid_from <= $today AND d.valid_until >= $today
RETURN c.passage_id, d.id, d.source, d.title, d.collection, c.text, c.heading, c.page, d.url, c.language LIMIT 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a process knows about the graph without asking."""

    collections: Mapping[str, CollectionStatistics]
    embedding: tuple[str, int] | None


class _NotOnline(Exception):
    """An index that a question waits for is still being built."""


class Retrieval:
    """Builds views, and keeps the statistics that they need in step with the database."""

    def __init__(
        self,
        connection: Connection,
        today: Callable[[], date],
        *,
        has_search_clause: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._connection = connection
        self._today = today
        self._has_search_clause = has_search_clause
        self._known: Known | None = None
        self._online: frozenset[str] | None = None
        """Indexes that can be asked; None: as far as is known, all that should be there."""
        self._online_until = 0.0
        self._refreshing = asyncio.Lock()
        self._totals: dict[tuple[object, ...], Totals] = {}

    async def view(self, asked: Asked, collections: frozenset[str], *, pool: int) -> FetchedView:
        """What there is for this question. Raises `StoreUnavailable`, `EmbeddingMismatch`."""
        asked = replace(asked, vector=_usable(asked))
        tries = 0
        while True:
            tries += 1
            known = self._known or await self.refresh()
            names = tuple(sorted(collections & known.collections.keys()))
            _check_dimensions(asked, known)
            try:
                found = await self._ask_in_time(asked, names, known, pool=pool)
            except (ServerRefused, _NotOnline) as error:
                # An index came or went since this process last looked, or is being made.
                if tries > 2 and isinstance(error, ServerRefused):
                    raise
                if isinstance(error, ServerRefused):
                    await self._look_for_indexes()
                await self.refresh()
                continue
            is_current = _is_current(found, known, collections)
            if not is_current:
                await self.refresh()
            view = self._viewed(found, collections)
            if tries == _TRIES:
                return view
            if not _is_whole(found, collections):
                await asyncio.sleep(tries * _PAUSE_S)
            elif found.live < min(pool, found.searched) // 2 and pool < MAX_POOL:
                pool = min(MAX_POOL, pool * 4)
            elif is_current or not self._changed(known, names):
                return view

    async def languages(self, collections: frozenset[str]) -> Mapping[Language, int]:
        """How many chunks in which language, as last known."""
        known = self._known or await self.refresh()
        return self._totals_of(known, collections).languages

    async def passage(self, passage_id: str, collections: frozenset[str]) -> ChunkInfo | None:
        """One chunk by id; None when there is none, or it is not permitted or not valid today."""
        rows = await self._connection.read(
            _PASSAGE,
            {"passage_id": passage_id, "collections": sorted(collections), "today": self._today().isoformat()},
        )
        names = (
            "passage_id",
            "document",
            "source",
            "title",
            "collection",
            "text",
            "heading",
            "page",
            "url",
            "language",
        )
        return ChunkInfo(**dict(zip(names, rows[0], strict=True))) if rows else None

    async def refresh(self) -> Known:
        """Read what other writes changed of the statistics."""
        async with self._refreshing:
            for _ in range(_TRIES):
                known = self._known.collections if self._known else {}
                ids = [name for each in known.values() for name in each.deltas]
                rows = await self._connection.read(_STATISTICS, {"known": ids}, seconds=30.0)
                if all(before == after and _is_read(deltas) for *_, before, after, _, deltas in rows):
                    break
            held = {name: delta for each in known.values() for name, delta in each.deltas.items()}
            fresh = await asyncio.to_thread(_collections, rows, held)
            embedding = (str(rows[0][0]), int(rows[0][1])) if rows and rows[0][0] is not None else None
            self._totals.clear()
            self._known = Known(collections=fresh, embedding=embedding)
            return self._known

    async def _ask_in_time(self, asked: Asked, names: tuple[str, ...], known: Known, *, pool: int) -> Found:
        """Raises `_NotOnline` where the answer waits for an index that is being built."""
        if self._online is not None and self._clock() >= self._online_until:
            await self._look_for_indexes()
        wanted = {vector_index(name) for name in names if asked.vector is not None and self._has_vectors(known, name)}
        asking = asyncio.create_task(self._ask(asked, names, known, pool=pool))
        try:
            while wanted and not (await asyncio.wait([asking], timeout=_SLOW_S))[0]:
                if self._clock() >= self._online_until:  # one question looks for all that wait
                    self._online_until = self._clock() + _ONLINE_S
                    with contextlib.suppress(StoreUnavailable):
                        await self._look_for_indexes()
                if self._online is not None and wanted - self._online:
                    raise _NotOnline
            return await asking
        finally:
            asking.cancel()

    async def _look_for_indexes(self) -> None:
        online = await online_indexes(self._connection)
        known = self._known.collections if self._known else {}
        wanted = {vector_index(name) for name, each in known.items() if each.has_vectors}
        self._online = online if wanted - online else None
        self._online_until = self._clock() + _ONLINE_S

    async def _ask(self, asked: Asked, names: tuple[str, ...], known: Known, *, pool: int) -> Found:
        if not names:
            rows = await self._connection.read(
                "MATCH (k:Collection) RETURN collect([k.name, k.epoch, k.texts, k.vectors])", seconds=_SECONDS
            )
            return NOTHING._replace(before=rows[0][0], after=rows[0][0])
        vectors = () if asked.vector is None else tuple(name for name in names if self._has_vectors(known, name))
        sums = self._totals_of(known, frozenset(names))
        hashes = hashes_of(asked.titles)
        # A title that many share names none of them, and would bring them all.
        named = sums.named(hashes).tolist()
        titles = [title for title, count in zip(asked.titles, named, strict=True) if 0 < count <= FEW_DOCUMENTS]
        rows = await self._connection.read(
            retrieval(names, vectors, has_search_clause=self._has_search_clause),
            parameters(asked, names, titles=titles, today=self._today().isoformat(), pool=pool),
            seconds=_SECONDS,
        )
        return Found(*rows[0]) if rows else NOTHING

    def _has_vectors(self, known: Known, name: str) -> bool:
        return (self._online is None or vector_index(name) in self._online) and known.collections[name].has_vectors

    def _changed(self, before: Known, names: tuple[str, ...]) -> bool:
        """Whether the same question would be put in other words now: new collections, indexes, titles."""
        now = self._known
        return now is None or any(
            name not in before.collections
            or now.collections[name].has_vectors != before.collections[name].has_vectors
            or now.collections[name].latest != before.collections[name].latest
            for name in now.collections
            if name in names or name not in before.collections
        )

    def trust_indexes(self) -> None:
        """They were just made."""
        self._online = None

    def _viewed(self, found: Found, collections: frozenset[str]) -> FetchedView:
        known = self._known
        assert known is not None
        epochs = [row[1] for row in found.before if row[0] in collections]
        return FetchedView(
            found,
            self._totals_of(known, collections),
            epoch=max(epochs, default=0),
            dimensions=known.embedding[1] if known.embedding else None,
        )

    def _totals_of(self, known: Known, collections: frozenset[str]) -> Totals:
        today = self._today().isoformat()
        names = sorted(collections & known.collections.keys())
        key = (id(known), today, *names)
        summed = self._totals.get(key)
        if summed is None:
            if len(self._totals) > 100:
                self._totals.clear()
            summed = self._totals[key] = totals([known.collections[name] for name in names], today)
        return summed


def _is_read(deltas: Sequence[tuple[str | None, Mapping[str, Any] | None]]) -> bool:
    """Whether none was summed up into another one, and so went, while they were read."""
    return all(values != {} for _, values in deltas)


def _collections(rows: Sequence[Any], held: Mapping[str, Delta]) -> dict[str, CollectionStatistics]:
    found = {}
    for _, _, name, _, texts, vectors, read in rows:
        if name is None:
            continue
        deltas = {id_: held[id_] if values is None else delta_of(values) for id_, values in read if values != {}}
        found[name] = CollectionStatistics(latest=texts, has_vectors=vectors, deltas=deltas, sums=few(deltas.values()))
    return found


def _is_current(found: Found, known: Known, collections: frozenset[str]) -> bool:
    """Whether the statistics in hand are those that the answer was found with."""
    there = {row[0]: row for row in found.before if row[0] in collections}
    return there.keys() == (collections & known.collections.keys()) and all(
        known.collections[name].latest == row[2] and known.collections[name].has_vectors == row[3]
        for name, row in there.items()
    )


def _is_whole(found: Found, collections: frozenset[str]) -> bool:
    """Whether no write came in between. Committed data shows at once, also in the middle of a query."""
    before = {row[0]: row[1] for row in found.before if row[0] in collections}
    # A node that goes in the middle of a query leaves a row of nothing.
    if any(row[0] is None for row in found.chunks):
        return False
    return before == {row[0]: row[1] for row in found.after if row[0] in collections} and not found.stale


def _check_dimensions(asked: Asked, known: Known) -> None:
    if asked.vector is not None and known.embedding is not None and len(asked.vector) != known.embedding[1]:
        raise EmbeddingMismatch(
            f"the stored vectors come from {known.embedding[0]} ({known.embedding[1]} dimensions), the question's has "
            f"{len(asked.vector)}. Set EMBEDDING_MODEL back, or run `grapevine ingest --re-embed`."
        )


def _usable(asked: Asked) -> np.ndarray | None:
    """The vector, unless the server would refuse it."""
    vector = asked.vector
    return None if vector is None or not np.isfinite(vector).all() or not vector.any() else vector
