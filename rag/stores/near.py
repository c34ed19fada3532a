"""`rag.retrieval.view.Near` over the parts of a view: an estimate of every row, exact cosines where they matter."""

from __future__ import annotations

import numpy as np

from rag.retrieval.candidates import top
from rag.retrieval.view import Floats, Rows
from rag.stores.coarse import Estimates, estimates, possible
from rag.stores.layout import Layout
from rag.stores.snapshot import Part
from rag.stores.vectors import exact_cosines


class NearRows:
    """The cosines of one question; each is worked out once, when it is asked for."""

    def __init__(self, layout: Layout, question: Floats) -> None:
        """`question` in fixed point."""
        self._layout = layout
        self._question = question
        self._known = np.full(layout.rows, np.nan, dtype=np.float32)

    def best(self, count: int) -> Rows:
        """The `count` greatest above -1: exactly those that computing all of them would give."""
        rows = possible(self._estimates(), count).astype(np.int32)
        return np.asarray(rows[top(self[rows], count, -1.0)], dtype=np.int32)

    def __getitem__(self, rows: Rows) -> Floats:
        """Exact cosines; -1 where a row has no vector."""
        scores = self._known[rows]
        unknown = np.isnan(scores)
        if unknown.any():
            new = rows[unknown]
            self._known[new] = scores[unknown] = self._computed(new)
        return scores

    def _estimates(self) -> Estimates:
        found = Estimates(
            np.full(self._layout.rows, -np.inf, dtype=np.float32), np.zeros(self._layout.rows, dtype=np.float32)
        )
        for part, start in self._layout.with_first_rows():
            if part.vectors is None:
                continue
            own = estimates(part.vectors.coarse, part.vectors.lost, self._question)
            if not part.embedded.all():
                own.products[~part.embedded] = -np.inf
            for whole, piece in zip(found, own, strict=True):
                whole[start : start + part.rows] = piece if part.places is None else piece[part.places]
        return found

    def _computed(self, rows: Rows) -> Floats:
        if len(self._layout.parts) == 1:
            part = self._layout.parts[0]
            return self._of(part, rows if part.places is None else part.places[rows])
        scores = np.empty(len(rows), dtype=np.float32)
        parts, places = self._layout.places_of(rows)
        for at in np.flatnonzero(np.bincount(parts)).tolist():
            here = parts == at
            scores[here] = self._of(self._layout.parts[at], places[here])
        return scores

    def _of(self, part: Part, places: Rows) -> Floats:
        if part.vectors is None:
            return np.full(len(places), -1.0, dtype=np.float32)
        scores = exact_cosines(part.vectors.chunks[places], self._question)
        scores[~part.embedded[places]] = -1.0
        return scores
