"""MiniLM's linear layers in seven bits: made at load from the published weights, for `minilm_questions.onnx`.

A layer's input is divided by a factor for each of its channels and its weights are multiplied by it (SmoothQuant,
https://arxiv.org/abs/2211.10438): what some channels are larger than the others is shared between the two, so that
neither needs more than its few bits. The few channels that are larger by far are multiplied in float32 beside them
(LLM.int8(), https://arxiv.org/abs/2208.07339). `deploy/onnx/calibrate.py` chose factors and channels;
docs/decisions/0190 has the figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

LAYERS: Final = 6
HIDDEN: Final = 384
INNER: Final = 1536
HEADS: Final = 12
LARGEST: Final = 63
"""Seven bits: CPUs without VNNI add two products of a weight and an activation (255 at most) in 16 bits."""
WIDE: Final = 32
"""Channels of the last layer's input that stay in float32. The largest of them are so much larger than all others that
these were rounded to little: "20.000.000" turned a vector by a cosine of .93."""
FILE: Final = "integers"
"""What the graph calls the content that `in_integers` makes."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """Layers that share an input, side by side."""

    name: str
    parts: tuple[str, ...]
    """What the published file calls them."""
    inputs: int
    outputs: int
    first: int
    """Where this input's factors begin in the row of its encoder layer."""
    divides: bool
    """Whether the input is divided in the graph, and not by who makes it."""
    is_split: bool = False
    """Whether the widest channels of the input stay in float32."""

    @property
    def layer(self) -> int:
        return int(self.name.split(".")[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What `minilm_questions.npz` holds."""

    factors: Floats
    """A row for each encoder layer: for the input of attention, of its output, of the inner layer and of the last."""
    wide: NDArray[np.int32]
    """A row for each encoder layer: the channels of the last one's input that stay in float32."""
    probe: NDArray[np.int32]
    """Tokens of a sentence ..."""
    vector: Floats
    """... and its vector in full precision."""


def linears() -> Iterator[Linear]:
    """All that are computed in integers, in the order of the graph."""
    for number in range(LAYERS):
        name = f"encoder.layer.{number}"
        attention = tuple(f"{name}.attention.self.{part}" for part in ("query", "key", "value"))
        yield Linear(
            name=f"{name}.attention.self", parts=attention, inputs=HIDDEN, outputs=3 * HIDDEN, first=0, divides=True
        )
        for rest, inputs, outputs, first in (
            ("attention.output", HIDDEN, HIDDEN, HIDDEN),
            ("intermediate", HIDDEN, INNER, 2 * HIDDEN),
            ("output", INNER, HIDDEN, 3 * HIDDEN),
        ):
            yield Linear(
                name=f"{name}.{rest}",
                parts=(f"{name}.{rest}.dense",),
                inputs=inputs,
                outputs=outputs,
                first=first,
                divides=rest != "attention.output",  # the values that attention mixes are divided instead
                is_split=rest == "output",
            )


def layout() -> dict[str, tuple[int, int]]:
    """Offset and length in bytes of each array."""
    found: dict[str, tuple[int, int]] = {}
    offset = 0
    for linear in linears():
        for kind, length in (
            ("weight", linear.inputs * linear.outputs),
            ("scale", 4 * linear.outputs),
            ("bias", 4 * linear.outputs),
            ("inverse", 4 * linear.inputs if linear.divides else 0),
            ("channels", 4 * WIDE if linear.is_split else 0),
            ("wide", 4 * WIDE * linear.outputs if linear.is_split else 0),
        ):
            if length:
                found[f"{linear.name}.{kind}"] = (offset, length)
                offset += length
    return found


def read_calibration() -> Calibration:
    """The calibration that comes with this package."""
    with np.load(Path(__file__).with_name("minilm_questions.npz"), allow_pickle=False) as held:
        return Calibration(
            factors=held["factors"].astype(np.float32),
            wide=held["wide"],
            probe=held["probe"],
            vector=held["vector"].astype(np.float32),
        )


def in_integers(tensors: Mapping[str, Floats], calibration: Calibration) -> NDArray[np.uint8]:
    """Content of the file `integers`: 11 MB, made in some 0.1 s a layer at a time."""
    places = layout()
    content = np.empty(sum(length for _, length in places.values()), np.uint8)

    def place(name: str, kind: type[np.generic]) -> NDArray[np.generic]:
        offset, length = places[name]
        return content[offset : offset + length].view(kind)

    for linear in linears():
        factor = calibration.factors[linear.layer, linear.first : linear.first + linear.inputs]
        inverse = 1 / factor
        matrix = np.concatenate([tensors[f"{part}.weight"] for part in linear.parts])
        if linear.is_split:
            wide = calibration.wide[linear.layer]
            place(f"{linear.name}.channels", np.int32)[:] = wide
            place(f"{linear.name}.wide", np.float32).reshape(WIDE, linear.outputs)[:] = matrix[:, wide].T
            matrix[:, wide] = 0
            inverse[wide] = 0
        matrix *= factor
        scale = np.maximum(matrix.max(1), -matrix.min(1)) / np.float32(LARGEST)
        matrix /= scale[:, np.newaxis]
        np.rint(matrix, out=matrix)
        place(f"{linear.name}.weight", np.int8).reshape(linear.inputs, linear.outputs)[:] = matrix.T.astype(np.int8)
        after = _after(linear, calibration.factors)
        place(f"{linear.name}.scale", np.float32)[:] = scale * after
        bias = np.concatenate([tensors[f"{part}.bias"] for part in linear.parts])
        place(f"{linear.name}.bias", np.float32)[:] = bias * after
        if linear.divides:
            place(f"{linear.name}.inverse", np.float32)[:] = inverse
    return content


def _after(linear: Linear, factors: Floats) -> Floats:
    """What outputs are multiplied by: queries by the scale of attention, values for the layer that takes their mix."""
    after = np.ones(linear.outputs, np.float32)
    if len(linear.parts) > 1:
        after[:HIDDEN] = (HIDDEN // HEADS) ** -0.5
        after[2 * HIDDEN :] = 1 / factors[linear.layer, HIDDEN : 2 * HIDDEN]
    return after
