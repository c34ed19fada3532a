"""From a view to bounded `Candidates`: both searches, titles, seeds and what the seeds are linked to."""

from __future__ import annotations

import numpy as np

from rag.retrieval.candidates import POOL, SEEDS, Candidates, Ints, linked, top
from rag.retrieval.question import Asked
from rag.retrieval.rank import Weights, base_scores
from rag.retrieval.view import Floats, TextScores, View

K1 = 1.2
B = 0.75
_FEW_DOCUMENTS = 4
"""A title that more documents share than this names none of them."""


def search_text(view: View, asked: Asked) -> TextScores:
    """The full-text half of `gather`, which needs no vector: it can run while the question is embedded."""
    return view.text_scores(asked.terms, asked.column, k1=K1, b=B)


def gather(
    view: View, asked: Asked, weights: Weights, *, text: TextScores | None = None, pool: int = POOL
) -> Candidates:
    """What ranking chooses from. Synchronous work of a few milliseconds: call it from a thread."""
    text = search_text(view, asked) if text is None else text
    cosines = view.cosines(asked.vector) if asked.vector is not None else None
    found = top(text.scores, pool, 0.0)
    if cosines is not None:
        found = np.union1d(found, top(cosines, pool, -1.0))
    titled = _titled(view, asked)
    dense = _Dense(view, asked, text.scores, text.idf, cosines)
    searched = {int(d) for d in view.document_of[found]}
    first = dense.candidates(found, searched, searched | titled.keys(), titled)
    if asked.vector is None or cosines is None:
        return first
    base = base_scores(first, weights)
    order = np.lexsort((first.documents, -base))[:SEEDS]
    bridges = linked(view, asked, [int(d) for d in first.documents[order]])
    if not bridges:
        return first
    everything = searched | titled.keys() | {bridge.target for bridge in bridges}
    rows = np.union1d(found, np.asarray([b.row for b in bridges if b.row >= 0], np.int32))
    return dense.candidates(rows, searched, everything, titled, bridges=tuple(bridges))


class _Dense:
    """The arrays over all chunks, cut down to the rows that matter."""

    def __init__(self, view: View, asked: Asked, text: Floats, idf: Floats, cosines: Floats | None) -> None:
        self._view, self._asked, self._text, self._idf, self._cosines = view, asked, text, idf, cosines
        self._sentences: dict[int, float] = {}

    def candidates(
        self, rows: Ints, searched: set[int], documents: set[int], titled: dict[int, float], **more: object
    ) -> Candidates:
        view, asked = self._view, self._asked
        best: list[int] = []
        for document in documents:
            start, end = int(view.first_row[document]), int(view.first_row[document + 1])
            if end > start:
                best.append(start + int(np.argmax(self._text[start:end])))
                if self._cosines is not None:
                    best.append(start + int(np.argmax(self._cosines[start:end])))
        rows = np.union1d(rows, np.asarray(best, np.int32)).astype(np.int32)
        self._score_sentences(rows)
        kept = np.asarray(sorted(documents), np.int32)
        return Candidates(
            rows=rows,
            document_of=view.document_of[rows],
            cosine=np.full(len(rows), -1, np.float32) if self._cosines is None else self._cosines[rows],
            sentence=np.asarray([self._sentences[int(row)] for row in rows], np.float32),
            text=self._text[rows],
            holds=view.holds(asked.terms, asked.column, rows),
            idf=self._idf,
            is_known=self._idf < np.log1p((view.rows + 0.5) / 0.5) - 1e-3,
            documents=kept,
            is_found=np.isin(kept, np.asarray(sorted(searched), np.int32)),
            titled=titled,
            has_vectors=self._cosines is not None,
            **more,  # type: ignore[arg-type]  # only `bridges`
        )

    def _score_sentences(self, rows: Ints) -> None:
        new = np.asarray([row for row in rows if int(row) not in self._sentences], np.int32)
        if self._asked.vector is None or self._cosines is None:
            self._sentences.update((int(row), -1.0) for row in new)
            return
        for row, cosines in zip(new, self._view.sentence_cosines(self._asked.vector, new), strict=True):
            self._sentences[int(row)] = float(cosines.max()) if len(cosines) else -1.0


def _titled(view: View, asked: Asked) -> dict[int, float]:
    """Documents whose title stands in the question; a title inside a longer one that stands there counts not."""
    named = sorted(view.titled(asked.titles), key=lambda pair: -len(pair[0]))
    taken: list[str] = []
    shares: dict[int, float] = {}
    for key, documents in named:
        if len(documents) > _FEW_DOCUMENTS or any(f" {key} " in f" {longer} " for longer in taken):
            continue
        if " " not in key and key not in asked.names:
            continue
        taken.append(key)
        for document in documents:
            shares[int(document)] = max(shares.get(int(document), 0.0), 1 / len(documents))
    return shares
