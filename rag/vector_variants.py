"""Smaller vectors: fewer dimensions, fewer bits. What `grapevine eval --vectors` holds side by side.

Pure numpy on purpose: it is what the embedded store searches with, so its speed is the one a change would bring.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Kind = Literal["float32", "int8", "bits"]

RESCORED = 200
"""Rows that a search over bits hands on to exact cosines: four times what ranking takes from the vector search."""

_BLOCK = 4096
"""Rows of int8 that are made floats at once: they stay in the cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A way to keep vectors, made for one corpus."""

    name: str
    kind: Kind
    project: Callable[[Floats], Floats]
    """Unit rows to unit rows, of fewer dimensions or the same."""
    dimensions: int

    @property
    def bytes_per_vector(self) -> float:
        """In memory, for the search. Bits need the floats too, but those may lie on disk."""
        return self.dimensions * {"float32": 4.0, "int8": 1.0, "bits": 0.125}[self.kind]

    def as_found(self, rows: Floats) -> Floats:
        """The rows as a ranking would see them: projected, and rounded if their kind rounds."""
        projected = self.project(rows)
        if self.kind != "int8" or not len(rows):
            return projected
        whole, scales = _eight_bits(projected)
        return _unit(whole.astype(np.float32) / scales[:, np.newaxis])

    def index(self, rows: Floats) -> Index:
        """Ready to be searched."""
        projected = self.project(rows)
        match self.kind:
            case "float32":
                return _Floats(projected)
            case "int8":
                return _EightBits(projected)
            case "bits":
                return _Bits(projected)


class Index(Protocol):
    """Rows that can be searched."""

    def best(self, question: Floats, count: int, allowed: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """The `count` nearest of the allowed rows, nearest first. `question`: projected."""
        ...


def variants(rows: Floats) -> tuple[Variant, ...]:
    """What is worth looking at for these vectors (unit rows); the first one is what stores hold now."""
    dimensions = rows.shape[1]
    half, quarter = max(1, dimensions // 2), max(1, dimensions // 4)
    found = [
        Variant(name=f"float32 {dimensions}", kind="float32", project=_same, dimensions=dimensions),
        Variant(name=f"int8 {dimensions}", kind="int8", project=_same, dimensions=dimensions),
        Variant(name=f"bits {dimensions}", kind="bits", project=_same, dimensions=dimensions),
    ]
    for fewer in (half, quarter):
        found.append(Variant(name=f"float32 {fewer} cut", kind="float32", project=cut(fewer), dimensions=fewer))
        learned = principal(rows, fewer)
        found.append(Variant(name=f"float32 {fewer} learned", kind="float32", project=learned, dimensions=fewer))
        found.append(Variant(name=f"int8 {fewer} learned", kind="int8", project=learned, dimensions=fewer))
    return tuple(found)


def cut(dimensions: int) -> Callable[[Floats], Floats]:
    """The first dimensions only: what models trained for it (Matryoshka) allow, and others do not."""
    return lambda rows: _unit(rows[:, :dimensions])


def principal(rows: Floats, dimensions: int) -> Callable[[Floats], Floats]:
    """The directions that hold most of what the corpus' vectors say; without centring, as cosines are from the origin.

    Learned from the documents alone, so another corpus has another one.
    """
    moments = rows.T.astype(np.float64) @ rows.astype(np.float64)
    _, directions = np.linalg.eigh(moments)
    matrix = np.ascontiguousarray(directions[:, ::-1][:, :dimensions], dtype=np.float32)
    return lambda vectors: _unit(vectors @ matrix)


class _Floats:
    def __init__(self, rows: Floats) -> None:
        self._rows = rows

    def best(self, question: Floats, count: int, allowed: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        return _best(self._rows @ question, count, allowed)


class _EightBits:
    def __init__(self, rows: Floats) -> None:
        self._rows, self._scales = _eight_bits(rows)

    def best(self, question: Floats, count: int, allowed: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        scores = np.empty(len(self._rows), np.float32)
        for start in range(0, len(scores), _BLOCK):
            scores[start : start + _BLOCK] = self._rows[start : start + _BLOCK].astype(np.float32) @ question
        return _best(scores / self._scales, count, allowed)


class _Bits:
    """The sign of each dimension. What is nearest by differing bits is scored exactly."""

    def __init__(self, rows: Floats) -> None:
        self._rows = rows
        self._bits = _signs(rows)

    def best(self, question: Floats, count: int, allowed: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        differing = np.bitwise_count(self._bits ^ _signs(question[np.newaxis])).sum(axis=1, dtype=np.int32)
        near = _best(-differing.astype(np.float32), max(RESCORED, count), allowed)
        return near[_best(self._rows[near] @ question, count, None)]


def _best(scores: Floats, count: int, allowed: NDArray[np.bool_] | None) -> NDArray[np.int64]:
    """The places of the greatest, ties by place."""
    if allowed is not None:
        scores = np.where(allowed, scores, -np.inf)
    count = min(count, len(scores) if allowed is None else int(np.count_nonzero(allowed)))
    if count == 0:
        return np.zeros(0, np.int64)
    least = np.partition(scores, len(scores) - count)[len(scores) - count]
    places = np.flatnonzero(scores >= least)
    return places[np.argsort(-scores[places], kind="stable")[:count]]


def _eight_bits(rows: Floats) -> tuple[NDArray[np.int8], Floats]:
    scales = (127.0 / np.maximum(np.abs(rows).max(axis=1, initial=0.0), 1e-12)).astype(np.float32)
    return np.rint(rows * scales[:, np.newaxis]).astype(np.int8), scales


def _signs(rows: Floats) -> NDArray[np.uint64]:
    bits = np.packbits(rows > 0, axis=1)
    padded = np.zeros((len(rows), -(-bits.shape[1] // 8) * 8), np.uint8)
    padded[:, : bits.shape[1]] = bits
    return padded.view(np.uint64)


def _same(rows: Floats) -> Floats:
    return rows


def _unit(rows: Floats) -> Floats:
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    return np.asarray(rows / np.maximum(lengths, 1e-12)[:, np.newaxis], dtype=np.float32)


def repeated(rows: Floats, count: int) -> Floats:
    """At least as many rows, the same ones again and again: for measuring how long a search takes."""
    return rows if len(rows) >= count else np.tile(rows, (-(-count // len(rows)), 1))[:count]


def overlap(first: Sequence[int], second: Sequence[int]) -> float:
    """The share of `first` that `second` has too."""
    return len(set(first) & set(second)) / max(1, len(set(first)))
