"""Vectors in fixed point: whole numbers whose dot products float32 computes exactly.

A matrix-vector product adds up in an order that depends on the number of rows, on the CPU and on the BLAS, so that the
same chunk gets a slightly different cosine when the chunks beside it change. Here every component is a whole number and
every vector at most 4096 long, so that by Cauchy-Schwarz no partial sum exceeds 2**24, up to which float32 holds every
integer: the order does not matter any more. Equal vectors have bit-equal cosines, whatever else the store holds. That
is what lets a test say that forbidden collections change nothing, ranks included (docs/decisions/0021).

Cosines are off by 8e-5 in the mean and 4e-4 at most for chunks, 3e-4 and 2e-3 for sentences (MiniLM, 90,000 pairs).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SCALE = 4064
"""Length of a fixed-point unit vector: rounding 4096 components moves a vector by at most 32, and 4064 + 32 = 4096."""

MAX_LENGTH = 4096
"""Of a row in fixed point."""

MAX_DIMENSIONS = 4096


class Quantised(NamedTuple):
    """Sentences of one chunk in eight bits: `row / scale` is the unit vector."""

    rows: NDArray[np.int8]
    """Shape (sentences, dimensions)."""
    scales: Floats
    """Shape (sentences,)."""


def fixed_point(vectors: Floats) -> Floats:
    """Unit vectors (any finite rows, in fact: they are normalised here) as whole numbers of length about `SCALE`."""
    lengths = np.sqrt(np.einsum("...i,...i->...", vectors, vectors, dtype=np.float64))[..., np.newaxis]
    scaled: Floats = np.rint(vectors * (SCALE / np.maximum(lengths, 1e-12))).astype(np.float32)
    return scaled


def quantised(vectors: Floats) -> Quantised:
    """The same in eight bits, with a scale for each row: 127 over its largest component."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    unit = vectors / np.maximum(lengths, 1e-12)[:, np.newaxis]
    peak = np.abs(unit).max(axis=1, initial=1.0 / SCALE)
    scales = np.minimum(127.0 / peak, 2048.0).astype(np.float32)
    return Quantised(np.rint(unit * scales[:, np.newaxis]).astype(np.int8), scales)


def cosines(matrix: Floats, question: Floats, out: Floats) -> None:
    """Cosine of each fixed-point row with a fixed-point question, into `out`; exact."""
    np.dot(matrix, question, out=out)
    out *= np.float32(1.0 / (SCALE * SCALE))


def exact_cosines(matrix: Floats, question: Floats) -> Floats:
    """The same as an array of its own: bit-equal, as the order of addition does not matter."""
    out = np.empty(len(matrix), dtype=np.float32)
    cosines(matrix, question, out)
    return out


def sentence_cosines(sentences: Quantised, question: Floats) -> Floats:
    """Cosine of each eight-bit row with a fixed-point question; exact but for the last division."""
    exact = sentences.rows.astype(np.float32) @ question
    return np.asarray(exact / (sentences.scales * np.float32(SCALE)), dtype=np.float32)
