"""From a view to bounded `Candidates`: both searches, titles, seeds and what the seeds are linked to."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rag.retrieval.candidates import (
    FEW_DOCUMENTS,
    MAX_TARGETS,
    POOL,
    SEEDS,
    Bridge,
    Candidates,
    Ints,
    distinct,
    linked,
    top,
)
from rag.retrieval.question import Asked
from rag.retrieval.rank import Weights, base_scores, strength
from rag.retrieval.view import Floats, Near, TextScores, View

K1 = 1.2
B = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Worded:
    """What a question's words find."""

    text: TextScores
    best: Ints
    """The `POOL` best chunks by them."""
    titled: dict[int, float]
    """See `Candidates`."""


def search_words(view: View, asked: Asked) -> Worded:
    """The part of `gather` that needs no vector: it can run while the question is embedded."""
    text = view.text_scores(asked.terms, asked.column, k1=K1, b=B)
    return Worded(text=text, best=top(text.scores, POOL, 0.0), titled=_titled(view, asked))


def gather(view: View, asked: Asked, weights: Weights, *, words: Worded | None = None, pool: int = POOL) -> Candidates:
    """What ranking chooses from. Synchronous work of a few milliseconds: call it from a thread."""
    words = search_words(view, asked) if words is None else words
    text, titled = words.text, words.titled
    near = view.near(asked.vector) if asked.vector is not None else None
    found = words.best if pool == POOL else top(text.scores, pool, 0.0)
    if near is not None:
        found = distinct(found, near.best(pool))
    searched = {int(document) for document in view.document_of[found]}
    rows = _Rows(view, asked, text, near)
    first = rows.candidates(found, searched | titled.keys(), searched, titled)
    base = base_scores(first, weights)
    seeds = _seeds(first, base)
    chunks = [row for row, of in zip(first.rows.tolist(), first.document_of.tolist(), strict=True) if of in seeds]
    bridges = _worthwhile(first, linked(view, asked, seeds, chunks), base, weights)
    if bridges:
        led_to = np.asarray([bridge.row for bridge in bridges if bridge.row >= 0], np.int32)
        everything = searched | titled.keys() | {bridge.target for bridge in bridges}
        first = rows.candidates(distinct(found, led_to), everything, searched, titled)
    return replace(first, bridges=bridges, holds=view.holds(asked.terms, asked.column, first.rows))


def _seeds(candidates: Candidates, base: Floats) -> list[int]:
    return [int(document) for document in candidates.documents[np.lexsort((candidates.documents, -base))[:SEEDS]]]


def _worthwhile(candidates: Candidates, bridges: list[Bridge], scores: Floats, weights: Weights) -> tuple[Bridge, ...]:
    """The best bridge to each document, of the documents that gain most: only they are looked at more closely."""
    base = dict(zip(candidates.documents.tolist(), scores.tolist(), strict=True))
    best: dict[int, tuple[float, Bridge]] = {}
    for bridge in bridges:
        gain = max(0.0, base[bridge.source]) * strength(bridge, weights)
        if gain > best.get(bridge.target, (0.0, bridge))[0]:
            best[bridge.target] = (gain, bridge)
    ranked = sorted(best.values(), key=lambda pair: (-pair[0], pair[1].target))
    return tuple(bridge for _, bridge in ranked[:MAX_TARGETS])


class _Rows:
    """The arrays over all chunks, cut down to the rows that matter."""

    def __init__(self, view: View, asked: Asked, text: TextScores, near: Near | None) -> None:
        self._view, self._asked, self._text, self._near = view, asked, text, near
        self._sentences = np.full(view.rows, np.nan, np.float32)
        self._looked_at: set[int] = set()
        self._bests: list[Ints] = []
        """The best chunks of these documents."""
        self._chunks = sum(view.languages.values())  # a view may hold fewer rows than it counts over

    def candidates(self, rows: Ints, documents: set[int], searched: set[int], titled: dict[int, float]) -> Candidates:
        """`rows` and the best chunks of `documents`; without what they hold, which is looked up once at the end."""
        kept = sorted(documents)
        new = np.asarray([document for document in kept if document not in self._looked_at], np.int32)
        self._looked_at |= documents
        self._bests.append(self._best(new, self._text.scores))
        if self._near is not None:
            self._bests.append(self._best(new, self._near))
        rows = distinct(rows, *self._bests)
        return Candidates(
            rows=rows,
            document_of=self._view.document_of[rows],
            cosine=np.full(len(rows), -1, np.float32) if self._near is None else self._near[rows],
            sentence=self._sentences_of(rows),
            text=self._text.scores[rows],
            holds=np.zeros((0, len(rows)), np.bool_),
            idf=self._text.idf,
            is_known=self._text.idf < np.log1p((self._chunks + 0.5) / 0.5) - 1e-3,
            documents=np.asarray(kept, np.int32),
            is_found=np.asarray([document in searched for document in kept], np.bool_),
            titled=titled,
            has_vectors=self._near is not None,
        )

    def _best(self, documents: Ints, scores: Floats | Near) -> Ints:
        """The row of each document's greatest score, the first of equals."""
        starts, ends = self._view.first_row[documents], self._view.first_row[documents + 1]
        sizes = ends - starts
        if not len(documents) or not sizes.all():
            starts, sizes = starts[sizes > 0], sizes[sizes > 0]
            if not len(sizes):
                return np.empty(0, np.int32)
        offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        rows = (np.repeat(starts - offsets, sizes) + np.arange(int(sizes.sum()))).astype(np.int32)
        values = scores[rows]
        at_best = np.flatnonzero(values == np.repeat(np.maximum.reduceat(values, offsets), sizes))
        owner = np.repeat(np.arange(len(sizes)), sizes)[at_best]
        return np.asarray(rows[at_best[np.unique(owner, return_index=True)[1]]], np.int32)

    def _sentences_of(self, rows: Ints) -> Floats:
        """Their best sentences' cosines, each worked out once."""
        scores = self._sentences[rows]
        unknown = np.isnan(scores)
        if unknown.any():
            if self._asked.vector is None or self._near is None:
                scores[unknown] = -1.0
            else:
                scores[unknown] = self._view.best_sentences(self._asked.vector, rows[unknown])
            self._sentences[rows] = scores
        return scores


def _titled(view: View, asked: Asked) -> dict[int, float]:
    """Documents whose title stands in the question; a title inside a longer one that stands there counts not."""
    named = sorted(view.titled(asked.titles), key=lambda pair: -len(pair[0]))
    taken: list[str] = []
    shares: dict[int, float] = {}
    for key, documents in named:
        if len(documents) > FEW_DOCUMENTS or any(f" {key} " in f" {longer} " for longer in taken):
            continue
        if " " not in key and key not in asked.names:
            continue
        taken.append(key)
        for document in documents:
            shares[int(document)] = max(shares.get(int(document), 0.0), 1 / len(documents))
    return shares
