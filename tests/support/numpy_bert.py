"""The forward pass of all-MiniLM-L6-v2 in plain numpy, one text at a time: what the ONNX graph is checked against."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def tensors(content: bytes) -> dict[str, NDArray[np.float32]]:
    """The float32 tensors of a safetensors file: eight bytes of header length, a JSON header, then the data."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    found = {}
    for name, entry in header.items():
        if entry.get("dtype") == "F32":
            begin, end = entry["data_offsets"]
            found[name] = np.frombuffer(content[start + begin : start + end], "<f4").reshape(entry["shape"])
    return found


_erf = np.vectorize(math.erf, otypes=[np.float64])


def embed(weights: Mapping[str, NDArray[np.float32]], ids: Sequence[int]) -> Floats:
    """The unit vector of one text's token ids, markers included, in double precision."""

    def weight(name: str) -> Floats:
        values: Floats = weights[name].astype(np.float64)
        return values

    def linear(x: Floats, name: str) -> Floats:
        rows: Floats = x @ weight(f"{name}.weight").T + weight(f"{name}.bias")
        return rows

    def norm(x: Floats, name: str) -> Floats:
        centred = x - x.mean(axis=-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
        rows: Floats = centred / deviation * weight(f"{name}.weight") + weight(f"{name}.bias")
        return rows

    def heads(x: Floats) -> Floats:
        return x.reshape(len(ids), 12, 32).transpose(1, 0, 2)

    words = weight("embeddings.word_embeddings.weight")[list(ids)]
    positions = weight("embeddings.position_embeddings.weight")[: len(ids)]
    x = norm(words + positions + weight("embeddings.token_type_embeddings.weight")[0], "embeddings.LayerNorm")
    for number in range(6):
        layer = f"encoder.layer.{number}"
        query, key, value = (heads(linear(x, f"{layer}.attention.self.{part}")) for part in ("query", "key", "value"))
        scores = np.exp(query @ key.transpose(0, 2, 1) / math.sqrt(32))
        mixed = (scores / scores.sum(axis=-1, keepdims=True)) @ value
        rows = mixed.transpose(1, 0, 2).reshape(len(ids), 384)
        x = norm(x + linear(rows, f"{layer}.attention.output.dense"), f"{layer}.attention.output.LayerNorm")
        inner = linear(x, f"{layer}.intermediate.dense")
        gelu = inner * 0.5 * (1 + _erf(inner / math.sqrt(2)))
        x = norm(x + linear(gelu, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    mean = x.mean(axis=0)
    unit: Floats = mean / np.linalg.norm(mean)
    return unit
