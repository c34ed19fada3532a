"""Where the rows and documents of a view lie: parts one after the other, with what is not alive left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rag.stores.snapshot import Part
from rag.stores.textindex import Numbers


class Layout:
    """Rows and documents count through all parts; a place counts within one part (see `Part`)."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = tuple(parts)
        self.row_starts = _starts([part.rows for part in parts])
        self.document_starts = _starts([part.documents for part in parts])
        self.rows = int(self.row_starts[-1])
        self.documents = int(self.document_starts[-1])

    @cached_property
    def document_of(self) -> Numbers:
        """By row."""
        return _joined([self.documents_at(at, part.segment.document_of, rows=True) for at, part in self._numbered()])

    @cached_property
    def first_row(self) -> Numbers:
        """By document, and the number of rows at the end."""
        return np.searchsorted(self.document_of, np.arange(self.documents + 1, dtype=np.int32)).astype(np.int32)

    def with_first_rows(self) -> Iterator[tuple[Part, int]]:
        """Each part and the number of its first row."""
        return zip(self.parts, self.row_starts[:-1].tolist(), strict=True)

    def places_of(self, rows: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each row its part and its place there."""
        return self._split(rows, self.row_starts, [part.places for part in self.parts])

    def document_places_of(self, documents: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each document its part and its place there."""
        return self._split(documents, self.document_starts, [part.document_places for part in self.parts])

    def rows_at(self, at: int, places: Numbers) -> Numbers:
        """Rows of the chunks at these places of part `at`; -1 where one is not alive."""
        return _shifted(self.parts[at].row_at, places, int(self.row_starts[at]))

    def documents_at(self, at: int, places: Numbers, *, rows: bool = False) -> Numbers:
        """Numbers of the documents at these places; -1 where one is not alive. `rows`: by row, the living only."""
        part = self.parts[at]
        if rows and part.places is not None:
            places = places[part.places]
        return _shifted(part.document_at, places, int(self.document_starts[at]))

    def _numbered(self) -> Iterator[tuple[int, Part]]:
        return enumerate(self.parts)

    @staticmethod
    def _split(
        numbers: NDArray[np.integer], starts: NDArray[np.int64], placed: Sequence[Numbers | None]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        parts = np.searchsorted(starts, numbers, side="right") - 1
        places = numbers - starts[parts]
        for at, known in enumerate(placed):
            if known is not None:
                here = parts == at
                places[here] = known[places[here]]
        return parts.astype(np.int64), places.astype(np.int64)


def _shifted(known: Numbers | None, places: Numbers, by: int) -> Numbers:
    if known is None:
        return (places + by).astype(np.int32)
    numbers = known[places]
    return np.where(numbers < 0, -1, numbers + by).astype(np.int32)


def _starts(sizes: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.array(sizes, dtype=np.int64))]).astype(np.int64)


def _joined(arrays: Sequence[Numbers]) -> Numbers:
    return np.concatenate(arrays) if arrays else np.zeros(0, dtype=np.int32)
