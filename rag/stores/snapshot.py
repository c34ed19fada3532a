"""One state of the store in memory: segments, what of them is alive today, and views over chosen collections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rag.stores.loading import Loaded
from rag.stores.segment import Segment, VectorBlock
from rag.stores.textindex import Numbers

Mask = NDArray[np.bool_]


class Part:
    """A segment as one snapshot sees it. *Places* number all of it, *rows* and *documents* what is alive."""

    def __init__(
        self,
        segment: Segment,
        *,
        vectors: VectorBlock | None,
        embedded: Mask,
        gone: Mask | None,
        today: date,
        held_by: Numbers | None = None,
    ) -> None:
        """`gone`: documents removed since the segment was loaded. `held_by` saves counting names once more."""
        self.segment = segment
        self.vectors = vectors
        self.embedded = embedded
        self.gone = gone
        self.today = today
        self.live_documents = _live(segment, gone, today)
        self._known_held_by = held_by

    @classmethod
    def of(cls, loaded: Loaded, today: date) -> Part:
        """A segment just loaded."""
        return cls(loaded.segment, vectors=loaded.vectors, embedded=loaded.embedded, gone=None, today=today)

    def without(self, gone: Mask) -> Part:
        """The same without these documents (by place)."""
        gone = gone if self.gone is None else gone | self.gone
        return Part(self.segment, vectors=self.vectors, embedded=self.embedded, gone=gone, today=self.today)

    def on(self, today: date) -> Part:
        """The same on another day."""
        if today == self.today:
            return self
        return Part(
            self.segment,
            vectors=self.vectors,
            embedded=self.embedded,
            gone=self.gone,
            today=today,
            held_by=self.held_by if self.segment.validity is None else None,
        )

    def embedding(self, places: Numbers, vectors: VectorBlock) -> Part:
        """The same with vectors at these places, which the block holds already."""
        embedded = self.embedded.copy()
        embedded[places] = True
        return Part(
            self.segment,
            vectors=vectors,
            embedded=embedded,
            gone=self.gone,
            today=self.today,
            held_by=self.held_by,
        )

    @cached_property
    def live(self) -> Mask | None:
        """By place of a chunk; None: all."""
        return None if self.live_documents is None else self.live_documents[self.segment.document_of]

    @cached_property
    def places(self) -> Numbers | None:
        """By row: its place; None: the same."""
        return None if self.live is None else np.flatnonzero(self.live).astype(np.int32)

    @cached_property
    def row_at(self) -> Numbers | None:
        """By place: its row, -1 where it is not alive; None: the same."""
        return None if self.live is None else _numbered(self.live)

    @cached_property
    def document_places(self) -> Numbers | None:
        """By document: its place; None: the same."""
        return None if self.live_documents is None else np.flatnonzero(self.live_documents).astype(np.int32)

    @cached_property
    def document_at(self) -> Numbers | None:
        """By place of a document: its number, -1 where it is not alive; None: the same."""
        return None if self.live_documents is None else _numbered(self.live_documents)

    @cached_property
    def held_by(self) -> Numbers:
        """By key of `mentions`: how many live documents name it."""
        if self._known_held_by is not None:
            return self._known_held_by
        segment = self.segment
        return segment.mentions.spread(segment.document_of[segment.row_of_sentence], self.live_documents)

    @property
    def rows(self) -> int:
        return self.segment.rows if self.places is None else len(self.places)

    @property
    def documents(self) -> int:
        return self.segment.documents if self.document_places is None else len(self.document_places)

    @property
    def nbytes(self) -> int:
        return self.segment.nbytes + (0 if self.vectors is None else self.vectors.nbytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a reader knows of the store at one moment."""

    parts: Mapping[str, tuple[Part, ...]] = field(default_factory=dict)
    """By collection, in order of ingest."""
    epochs: Mapping[str, int] = field(default_factory=dict)
    today: date = date.min
    embedder: tuple[str, int] | None = None
    """Name and dimensions of the model that the vectors come from."""
    seen_document: int = 0
    """The highest number known, and likewise:"""
    seen_vector: int = 0
    seen_removal: int = 0
    vectors_generation: int = 0

    def epoch(self, collections: frozenset[str]) -> int:
        """The last change to one of these."""
        return max((self.epochs.get(name, 0) for name in collections), default=0)

    @property
    def nbytes(self) -> int:
        """Memory that the arrays take."""
        return sum(part.nbytes for parts in self.parts.values() for part in parts)


def _live(segment: Segment, gone: Mask | None, today: date) -> Mask | None:
    live: Mask | None = None if gone is None else ~gone
    if segment.validity is not None:
        day = today.toordinal()
        valid = (segment.validity[0] <= day) & (day <= segment.validity[1])
        live = valid if live is None else live & valid
    return None if live is None or live.all() else live


def _numbered(live: Mask) -> Numbers:
    return np.where(live, np.cumsum(live, dtype=np.int32) - 1, -1).astype(np.int32)
