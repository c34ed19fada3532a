"""The bounded set of chunks and documents that ranking chooses from, and what is known of each.

This is all that ranking sees, so any store that fills it (from arrays in memory, or from one database query) ranks
alike. `gather` fills it from a `View`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rag.retrieval.question import Asked
from rag.retrieval.view import Floats, Link, View

Ints = NDArray[np.int32]

POOL = 30
"""Chunks taken from each of the two searches. Neither 25 nor 100 is better (docs/decisions/0010 and 0195)."""
SEEDS = 6
"""Documents whose links are followed."""
MAX_LINKS = 12
"""Links followed of one document, each way and kind."""
MAX_TARGETS = 30
"""Linked documents looked at closely: those that gain most."""
FEW_DOCUMENTS = 4
"""A title that more documents share than this names none of them."""
MAX_SHARED = 4
"""Rare names followed of one document: the rarest. Twelve found the same documents (docs/decisions/0195)."""
MAX_PLACES = 64
"""A name that stands in more chunks is none of those, however few documents hold it: a manual names its product on
every page."""
SHARED_DEGREE = (2, 4)
"""A name is a bridge if so many documents hold it: one bridges nothing, and of more of them none is worth much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """A path of one step from a seed to another document."""

    source: int
    """The seed (document)."""
    target: int
    row: int
    """The chunk of `target` that the path leads to, -1 if to the document as a whole."""
    kind: str
    """`forward` (the seed names the target), `backward` (the target names the seed), `shared` (a rare name)."""
    similarity: float
    """Cosine of the question and the seed's sentence (of the target's, if it is backward)."""
    other_similarity: float
    """Cosine of the question and the target's sentence (`shared` only, else 1)."""
    degree: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Chunks (arrays of equal length) and documents (likewise)."""

    rows: Ints
    """Ascending."""
    document_of: Ints
    """The document of each chunk."""
    cosine: Floats
    """-1 where there is no vector."""
    sentence: Floats
    """The best cosine of one of its sentences; -1 where unknown."""
    text: Floats
    """BM25."""
    holds: NDArray[np.bool_]
    """Shape (terms, rows)."""
    idf: Floats
    """Shape (terms,)."""
    is_known: NDArray[np.bool_]
    """Shape (terms,): whether any permitted chunk holds it."""
    documents: Ints
    """Ascending."""
    is_found: NDArray[np.bool_]
    """Shape (documents,): found by a search, not only brought in by a link or title."""
    titled: dict[int, float] = field(default_factory=dict)
    """Documents whose title the question names, with the share of it that falls to them (1 / how many share it),
    longer titles counting before the shorter ones inside them."""
    bridges: tuple[Bridge, ...] = ()
    has_vectors: bool = True


def top(scores: Floats, count: int, above: float) -> Ints:
    """The places of the `count` greatest scores greater than `above`, ties by place."""
    places = np.flatnonzero(scores > above)
    if len(places) > count:
        part = scores[places]
        limit = np.partition(part, len(part) - count)[len(part) - count]
        places = places[part >= limit]
        order = np.lexsort((places, -scores[places]))[:count]
        places = places[order]
    return np.asarray(np.sort(places), np.int32)


def distinct(*arrays: Ints) -> Ints:
    """All their values, ascending, each once: for few of them several times as fast as `np.unique`."""
    values = np.sort(np.concatenate(arrays))
    is_new = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=is_new[1:])
    return np.asarray(values[is_new], np.int32)


class Dense:
    """`rag.retrieval.view.Near` over cosines that are all there."""

    def __init__(self, cosines: Floats) -> None:
        self._cosines = cosines

    def best(self, count: int) -> Ints:
        """The places of the `count` greatest."""
        return top(self._cosines, count, -1.0)

    def __getitem__(self, rows: Ints) -> Floats:
        return self._cosines[rows]


def linked(view: View, asked: Asked, seeds: list[int], chunks: list[int]) -> list[Bridge]:
    """Every one-step path from the seeds, scored by its sentences.

    `chunks`: rows of the seeds that were found. What the rest of a long document names has little to do with the
    question, and looking through it all would cost the more the longer it is.
    """
    if asked.vector is None or not seeds:
        return []
    found: list[tuple[str, Link]] = [("forward", link) for link in view.links_from(chunks, limit=MAX_LINKS)]
    found += [("backward", link) for link in view.links_to(seeds, limit=MAX_LINKS)]
    found += [("shared", link) for link in view.shared_names(chunks, degree=SHARED_DEGREE, limit=MAX_SHARED)]
    rows = sorted(
        {link.row for _, link in found} | {link.target_row for _, link in found if link.target_row is not None}
    )
    cosines = dict(zip(rows, view.sentence_cosines(asked.vector, np.asarray(rows, np.int32)), strict=True))

    def similarity(row: int | None, sentence: int | None) -> float:
        if row is None or sentence is None or sentence >= len(cosines[row]):
            return 0.0
        return max(0.0, float(cosines[row][sentence]))

    bridges: list[Bridge] = []
    for kind, link in found:
        is_backward = kind == "backward"
        bridges.append(
            Bridge(
                source=link.target if is_backward else link.source,
                target=link.source if is_backward else link.target,
                row=link.row if is_backward else -1 if link.target_row is None else link.target_row,
                kind=kind,
                similarity=similarity(link.row, link.sentence),
                other_similarity=similarity(link.target_row, link.target_sentence) if kind == "shared" else 1.0,
                degree=link.degree,
            )
        )
    return bridges
