"""Writes `rag/embeddings/minilm_questions.npz`: what each channel is divided by before it is rounded, and which stay.

    python deploy/onnx/calibrate.py

In full precision it takes down what enters each linear layer for the texts of `calibration.txt` (our own words, and
sentences of `bot/sample`). Of what makes up the factors - how large a channel gets, against how large its weights are,
to which powers - the choice with the least error of the layer's output is kept, each token's error being measured
against its own length: otherwise the few tokens with outputs a hundred times as long decide everything. Takes some
minutes; the last digits depend on the processor. docs/decisions/0190 has what it gains.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper

from rag.embeddings.integers import HIDDEN, INNER, LARGEST, LAYERS, WIDE, Linear, linears
from rag.embeddings.weights import Weights, find_weights, read_weights
from rag.embeddings.wordpiece import WordPiece

TEXTS = Path(__file__).with_name("calibration.txt")
FOLDER = Path(__file__).parents[2] / "rag" / "embeddings"
PROBE = "How much does the motorbike insurance cost for a young driver who lives outside of the city?"

POWERS = (0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7)
SHARES = (1.0, 0.9, 0.5)
"""A channel is as large as in this share of the texts."""
SMALLEST = 1e-5

Floats = NDArray[np.float32]


def inputs_of(weights: Weights, texts: Sequence[Sequence[int]]) -> tuple[dict[str, list[Floats]], Floats]:
    """What enters each linear layer, a matrix for each text; and the vector of the last text."""
    model = onnx.load(FOLDER / "minilm.onnx", load_external_data=False)
    taken = {
        node.input[1].removesuffix(".weight"): node.input[0] for node in model.graph.node if node.op_type == "Gemm"
    }
    wanted = {linear.name: taken[linear.parts[0]] for linear in linears()}
    model.graph.output.extend(helper.make_tensor_value_info(name, 1, None) for name in wanted.values())
    options = ort.SessionOptions()
    options.add_external_initializers_from_files_in_memory(
        ["model.safetensors"], [weights.model], [weights.model.nbytes]
    )
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: dict[str, list[Floats]] = {name: [] for name in wanted}
    for ids in texts:
        vectors, *rows = session.run(["vectors", *wanted.values()], {"tokens": np.array([ids], np.int32)})
        for name, matrix in zip(wanted, rows, strict=True):
            found[name].append(matrix)
    return found, vectors[0]


def rounded_input(rows: Floats) -> Floats:
    """Eight bits between the smallest and the largest value and zero, as DynamicQuantizeMatMul rounds."""
    low, high = min(0.0, float(rows.min())), max(0.0, float(rows.max()))
    step = (high - low) / 255
    zero = np.rint(-low / step)
    return np.asarray((np.clip(np.rint(rows / step) + zero, 0, 255) - zero) * step, np.float32)


def rounded_weights(matrix: Floats) -> Floats:
    """As many bits as there are, by each output's largest weight."""
    step = np.abs(matrix).max(1, keepdims=True) / LARGEST
    return np.asarray(np.rint(matrix / step) * step, np.float32)


def widest(matrix: Floats, texts: Sequence[Floats]) -> NDArray[np.int32]:
    """The channels that add most to the output, at their largest."""
    largest = np.abs(np.concatenate(texts)).max(0) * np.sqrt((matrix**2).mean(0))
    return np.sort(np.argsort(-largest)[:WIDE]).astype(np.int32)


def choose(linear: Linear, matrix: Floats, texts: Sequence[Floats], wide: NDArray[np.int32]) -> Floats:
    """The factors with the least error."""
    whole = np.concatenate(texts) @ matrix.T
    length = (whole**2).sum(1)
    length = np.maximum(length, 0.1 * np.median(length))
    matrix = matrix.copy()
    matrix[:, wide] = 0
    texts = [rows.copy() for rows in texts]
    for rows in texts:
        rows[:, wide] = 0
    exact = np.concatenate(texts) @ matrix.T
    largest = np.stack([np.abs(rows).max(0) for rows in texts])
    sizes = {"max": np.abs(matrix).max(0), "rms": np.sqrt((matrix**2).mean(0))}
    best, least, how = np.ones(linear.inputs, np.float32), np.inf, ""
    for share, (kind, size), power in itertools.product(SHARES, sizes.items(), POWERS):
        channel = np.maximum(np.quantile(largest, share, axis=0), SMALLEST)
        factors = (channel**power / np.maximum(size, SMALLEST) ** (1 - power)).astype(np.float16).astype(np.float32)
        given = np.concatenate([rounded_input(rows / factors) for rows in texts])
        error = float((((given @ rounded_weights(matrix * factors).T - exact) ** 2).sum(1) / length).mean())
        if error < least:
            best, least, how = factors, error, f"share {share}, {kind}, power {power}"
    print(f"{linear.name}: error {least:.6f} ({how})")
    return best


def main() -> None:
    """Choose, and write."""
    weights = read_weights(find_weights())
    tokenizer = WordPiece.from_tokenizer_json(weights.tokenizer_json)
    texts = TEXTS.read_text(encoding="utf-8").splitlines()
    probe = tokenizer.encode(PROBE)
    inputs, vector = inputs_of(weights, [*(tokenizer.encode(text) for text in texts), probe])
    tensors = weights.tensors()
    factors = np.ones((LAYERS, 3 * HIDDEN + INNER), np.float16)
    split = np.zeros((LAYERS, WIDE), np.int32)
    for linear in linears():
        matrix = np.concatenate([tensors[f"{part}.weight"] for part in linear.parts])
        wide = np.empty(0, np.int32)
        if linear.is_split:
            wide = split[linear.layer] = widest(matrix, inputs[linear.name])
        chosen = choose(linear, matrix, inputs[linear.name], wide)
        factors[linear.layer, linear.first : linear.first + linear.inputs] = chosen
    np.savez_compressed(
        FOLDER / "minilm_questions.npz",
        factors=factors,
        wide=split,
        probe=np.array(probe, np.int32),
        vector=vector.astype(np.float16),
    )


if __name__ == "__main__":
    main()
