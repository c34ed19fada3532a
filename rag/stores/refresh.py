"""From one snapshot to the next: load what is new, mask what is gone, merge what is small. One read transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from rag.stores.loading import VectorRow, fill, load, ranges
from rag.stores.reader import vectors_generation
from rag.stores.schema import embedding, meta
from rag.stores.segment import MAX_ROWS, VectorBlock
from rag.stores.snapshot import Part, Snapshot

_Parts = dict[str, tuple[Part, ...]]

Numbers64 = NDArray[np.int64]

_VECTOR_PAGE = 4096
_OF_A_KIND = 8


def refreshed(connection: sqlite3.Connection, known: Snapshot, today: date) -> Snapshot:
    """The store as it is now, sharing with `known` whatever did not change. Inside a transaction."""
    generation = vectors_generation(connection)
    floor = int(meta(connection, "removed_floor") or 0)
    if known.vectors_generation != generation or known.seen_removal < floor:
        known = Snapshot(vectors_generation=generation)
    embedder = embedding(connection)
    parts: _Parts = {name: tuple(part.on(today) for part in each) for name, each in known.parts.items()}
    parts, seen_removal = _without_removed(connection, parts, known.seen_removal)
    parts, seen_vector = _with_vectors(connection, parts, known.seen_vector, embedder)
    parts, seen_document = _with_new(connection, parts, known.seen_document, embedder, today)
    return replace(
        known,
        parts={name: each for name, each in parts.items() if each},
        epochs=dict(connection.execute("SELECT name, epoch FROM collections").fetchall()),
        today=today,
        embedder=embedder,
        seen_document=seen_document,
        seen_vector=seen_vector,
        seen_removal=seen_removal,
    )


def merged(connection: sqlite3.Connection, known: Snapshot, *, is_at_rest: bool) -> Snapshot:
    """The same state in fewer segments. In the same transaction as `refreshed`: it loads anew what it merges."""
    run = merge_run if is_at_rest else hurried_run
    parts = {name: _merged(connection, each, known, run) for name, each in known.parts.items()}
    return replace(known, parts={name: each for name, each in parts.items() if each})


def merge_run(sizes: Sequence[int], largest: int = MAX_ROWS) -> int:
    """How many of the last segments to make one: each is taken in that is at most twice what follows it."""
    total, taken = 0, 0
    for size in reversed(sizes):
        if taken and (size > 2 * total or size + total > largest):
            break
        total += size
        taken += 1
    return taken


def hurried_run(sizes: Sequence[int], largest: int = MAX_ROWS) -> int:
    """The same while changes come in: eight of a kind at once, so that a chunk is loaded again two or three times.

    A segment costs a question some 0.05 ms; loading one chunk again costs 0.02 ms of a core that questions need too.
    """
    best = 0
    for bound in (256, 2048, 16_384):
        total, taken = 0, 0
        for size in reversed(sizes):
            if size > bound or total + size > largest:
                break
            total += size
            taken += 1
        best = taken if taken >= _OF_A_KIND else best
    return best


def _without_removed(connection: sqlite3.Connection, parts: _Parts, seen: int) -> tuple[_Parts, int]:
    rows = connection.execute("SELECT seq, doc FROM removed WHERE seq > ? ORDER BY seq", (seen,)).fetchall()
    if not rows:
        return parts, seen
    removed = np.array(sorted(doc for _, doc in rows), dtype=np.int64)

    def masked(part: Part) -> Part | None:
        gone = np.isin(part.segment.document_numbers, removed)
        if not gone.any():
            return part
        rest = part.without(gone)
        return None if rest.gone is not None and rest.gone.all() else rest

    return _mapped(parts, masked), rows[-1][0]


def _with_vectors(
    connection: sqlite3.Connection, parts: _Parts, seen: int, embedder: tuple[str, int] | None
) -> tuple[_Parts, int]:
    latest = connection.execute("SELECT seq FROM vectors ORDER BY seq DESC LIMIT 1").fetchone()
    if embedder is None or latest is None or latest[0] <= seen:
        return parts, seen
    query = "SELECT chunk, vector, sentences, scales, seq FROM vectors WHERE seq > ? ORDER BY seq LIMIT ?"
    while parts and (rows := connection.execute(query, (seen, _VECTOR_PAGE)).fetchall()):
        seen = rows[-1][4]
        arrived = {row[0]: row[:4] for row in rows}
        numbers = np.array(sorted(arrived), dtype=np.int64)

        def with_arrived(part: Part, numbers: Numbers64 = numbers, arrived: dict[int, VectorRow] = arrived) -> Part:
            places = np.flatnonzero(np.isin(part.segment.chunk_numbers, numbers)).astype(np.int32)
            places = places[~part.embedded[places]]  # the others may be in use: never write to them
            if not len(places):
                return part
            segment = part.segment
            block = part.vectors or VectorBlock.empty(segment.rows, len(segment.row_of_sentence), embedder[1])
            fill(block, segment, places, [arrived[number] for number in segment.chunk_numbers[places].tolist()])
            return part.embedding(places, block)

        parts = _mapped(parts, with_arrived)
    return parts, latest[0]


def _with_new(
    connection: sqlite3.Connection, parts: _Parts, seen: int, embedder: tuple[str, int] | None, today: date
) -> tuple[_Parts, int]:
    new = connection.execute(
        "SELECT collection, max(doc) FROM documents WHERE doc > ? GROUP BY collection", (seen,)
    ).fetchall()
    dimensions = None if embedder is None else embedder[1]
    for name, _ in new:
        loaded = [
            Part.of(load(connection, name, first, last, dimensions), today)
            for first, last in ranges(connection, name, seen)
        ]
        parts = {**parts, name: (*parts.get(name, ()), *loaded)}
    return parts, max((last for _, last in new), default=seen)


def _merged(
    connection: sqlite3.Connection, parts: tuple[Part, ...], known: Snapshot, run_of: Callable[[Sequence[int]], int]
) -> tuple[Part, ...]:
    dimensions = None if known.embedder is None else known.embedder[1]

    def anew(run: tuple[Part, ...]) -> tuple[Part, ...]:
        first, last = run[0].segment.document_numbers[0], run[-1].segment.document_numbers[-1]
        loaded = load(connection, run[0].segment.collection, int(first), int(last), dimensions)
        return (Part.of(loaded, known.today),) if loaded.segment.documents else ()

    kept: tuple[Part, ...] = ()
    for part in parts:
        is_hollow = part.gone is not None and part.gone.mean() > 0.3
        kept += anew((part,)) if is_hollow else (part,)
    taken = run_of([part.segment.rows for part in kept])
    return (*kept[:-taken], *anew(kept[-taken:])) if taken > 1 else kept


def _mapped(parts: Mapping[str, tuple[Part, ...]], change: Callable[[Part], Part | None]) -> _Parts:
    changed = {name: [change(part) for part in each] for name, each in parts.items()}
    return {name: tuple(part for part in each if part is not None) for name, each in changed.items()}
