"""Vectors in one byte a component, to find quickly which few thousand rows can be among the nearest at all.

A scan reads a quarter of the memory and uses the CPU's instructions for bytes (onnxruntime's `MatMulInteger`; numpy
has no fast product of integers). It is no approximation of the result: how far off each row can be is known, so that
the rows which cannot be among the nearest are left out for certain, and the others are computed exactly
(docs/decisions/0170).

With x = STEP * c + e (a row in fixed point, its bytes, what rounding and clipping took away; |x| <= MAX_LENGTH) and
q = s * r + f (the question likewise), x.q = s * STEP * c.r + STEP * c.f + e.q, so by Cauchy-Schwarz

    |x.q - s * STEP * c.r| <= (MAX_LENGTH + |e|) * |f| + |e| * |q|
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rag.stores.vectors import MAX_LENGTH, Floats

STEP = 8
"""What one unit of a byte stands for: up to 127 * 8 of 4096, a quarter; larger components are clipped, which is part of
what is known to be lost."""
ZERO = 128
_QUESTION_PEAK = 63
"""Seven bits: CPUs without VNNI add two products of a byte in 16 bits, which 255 * 63 * 2 fits into."""
_SLACK = 64.0
"""For float32, which the estimates are computed in: sums of up to 2**24 are off by a few units at most."""

Bytes = NDArray[np.uint8]

_GRAPH = Path(__file__).with_name("product.onnx")


class Estimates(NamedTuple):
    """Dot products of fixed-point rows with a question, and how far off each may be."""

    products: Floats
    margins: Floats


def coarse(rows: Floats) -> tuple[Bytes, Floats]:
    """Rows in fixed point as bytes, and the length of what that takes away from each."""
    units = np.clip(np.rint(rows * np.float32(1 / STEP)), -127, 127)
    lost = rows - units * np.float32(STEP)
    return (units + ZERO).astype(np.uint8), np.sqrt(np.einsum("ij,ij->i", lost, lost), dtype=np.float32)


def estimates(matrix: Bytes, lost: Floats, question: Floats) -> Estimates:
    """For each row about what its product with a fixed-point `question` is."""
    step = max(float(np.abs(question).max(initial=0.0)), 1.0) / _QUESTION_PEAK
    units = np.rint(question / step)
    missing = float(np.linalg.norm(question - units * step))
    products = _products(matrix, units.astype(np.int8)).astype(np.float32)
    products *= np.float32(step * STEP)
    margins = lost * np.float32(float(np.linalg.norm(question)) + missing)
    margins += np.float32(MAX_LENGTH * missing + _SLACK)
    return Estimates(products, margins)


def possible(found: Estimates, count: int) -> NDArray[np.int64]:
    """The places of all that can be among the `count` greatest, ascending; ties included, minus infinity left out."""
    if len(found.products) <= count:
        return np.flatnonzero(found.products > -np.inf)
    likely = np.argpartition(found.products, -count)[-count:]
    # `count` rows are worth at least this much, so that whatever cannot reach it is not among the greatest.
    least = (found.products[likely] - found.margins[likely]).min()
    return np.flatnonzero((found.products + found.margins >= least) & (found.products > -np.inf))


def _products(matrix: Bytes, vector: NDArray[np.int8]) -> NDArray[np.int32]:
    products: NDArray[np.int32] = _session().run(None, {"matrix": matrix, "vector": vector[:, np.newaxis]})[0]
    return products[:, 0]


@lru_cache(maxsize=1)
def _session() -> Any:
    import onnxruntime as ort  # type: ignore[import-untyped] # noqa: PLC0415 - 0.1 s that only searching needs

    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = 2  # 0.9 ms of work for 50,000 rows; 0.55 where a second core is idle
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(_GRAPH), options, providers=["CPUExecutionProvider"])
