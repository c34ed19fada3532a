"""Writes `minilm.onnx` and `minilm_questions.onnx` in `rag/embeddings`: all-MiniLM-L6-v2 without its weights.

    python deploy/onnx/make_graph.py

`minilm.onnx` computes batches in full precision.

In:  `tokens`, int32 (texts, tokens), each row `[CLS] ... [SEP]` and then padded with 0, which no text contains.
Out: `vectors`, float32 (texts, 384), mean over the tokens that are not padding, of unit length.

Every weight is an external initializer that says where it lies in the published safetensors file (the installed one
is read for it); the program lends that file's mapping to the session (`rag/embeddings/runtime.py`). Standard
operators only, so that every execution provider can take the graph: onnxruntime's own fused operators (Attention,
SkipLayerNormalization) were up to 12 % slower on a CPU with AVX-512 (docs/decisions/0003).

`minilm_questions.onnx` computes one text, `tokens` being of one dimension, with linear layers in integers: an operator
of onnxruntime's CPU provider rounds each input to eight bits by its own smallest and largest value, and multiplies it
with the weights that `rag/embeddings/integers.py` makes (docs/decisions/0190). Nothing is padded, so nothing is masked.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from rag.embeddings import integers
from rag.embeddings.integers import HEADS, HIDDEN, INNER, LAYERS, WIDE, Linear
from rag.embeddings.weights import find_weights, places

POSITIONS, WORDS = 512, 30522
EPSILON = 1e-12
OPSET = 20
MICROSOFT = "com.microsoft"
FOLDER = Path(__file__).parents[2] / "rag" / "embeddings"


class Graph:
    """Nodes, constants and weights, named as they come."""

    def __init__(self) -> None:
        content = np.fromfile(find_weights() / "model.safetensors", np.uint8)
        self.places = {name: (place.start, place.length) for name, place in places(content).items()}
        self.integers = integers.layout()
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, TensorProto] = {}

    def op(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Append one node and return the name of its output."""
        output = output or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """A small value kept in the graph itself."""
        self.initializers.setdefault(name, numpy_helper.from_array(value, name))
        return name

    def ints(self, *values: int) -> str:
        """A one-dimensional constant."""
        return self.constant("ints_" + "_".join(map(str, values)), np.array(values, np.int64))

    def weight(self, name: str, *shape: int) -> str:
        """A published tensor."""
        return self._external(name, "model.safetensors", self.places, TensorProto.FLOAT, shape)

    def made(self, name: str, *shape: int, kind: int = TensorProto.FLOAT) -> str:
        """A tensor made at load."""
        return self._external(name, integers.FILE, self.integers, kind, shape)

    def _external(
        self, name: str, file: str, places: Mapping[str, tuple[int, int]], kind: int, shape: tuple[int, ...]
    ) -> str:
        offset, length = places[name]
        tensor = TensorProto(name=name, data_type=kind, dims=shape, data_location=TensorProto.EXTERNAL)
        for key, value in (("location", file), ("offset", str(offset)), ("length", str(length))):
            tensor.external_data.add(key=key, value=value)
        self.initializers[name] = tensor
        return name

    def linear(self, x: str, name: str, outputs: int, inputs: int) -> str:
        """A fully connected layer over rows of tokens; the file keeps its matrix transposed."""
        weight = self.weight(f"{name}.weight", outputs, inputs)
        return self.op("Gemm", x, weight, self.weight(f"{name}.bias", outputs), transB=1)

    def norm(self, x: str, name: str) -> str:
        """Layer normalisation."""
        scale, bias = self.weight(f"{name}.weight", HIDDEN), self.weight(f"{name}.bias", HIDDEN)
        return self.op("LayerNormalization", x, scale, bias, epsilon=EPSILON)

    def model(
        self, taken: list[str | int], given: list[str | int], *operators: onnx.OperatorSetIdProto
    ) -> onnx.ModelProto:
        """Everything, from `tokens` of shape `taken` to `vectors` of shape `given`."""
        graph = helper.make_graph(
            self.nodes,
            "all-MiniLM-L6-v2",
            [helper.make_tensor_value_info("tokens", TensorProto.INT32, taken)],
            [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, given)],
            list(self.initializers.values()),
        )
        return helper.make_model(graph, opset_imports=operators, ir_version=10, producer_name="grapevine")


def embeddings(g: Graph, tokens: str, length: str) -> str:
    """Word, position and segment embeddings, normalised."""
    words = g.op("Gather", g.weight("embeddings.word_embeddings.weight", WORDS, HIDDEN), tokens)
    table = g.weight("embeddings.position_embeddings.weight", POSITIONS, HIDDEN)
    segments = g.weight("embeddings.token_type_embeddings.weight", 2, HIDDEN)
    segment = g.op("Slice", segments, g.ints(0), g.ints(1), g.ints(0))
    positions = g.op("Slice", g.op("Add", table, segment), g.ints(0), length, g.ints(0))
    return g.norm(g.op("Add", words, positions), "embeddings.LayerNorm")


def attention(g: Graph, x: str, name: str, padding: str, shape: str) -> str:
    """Multi-head self-attention over rows of tokens; `shape` is (texts, tokens, heads, size)."""
    heads = {}
    for part, order in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])):
        rows = g.linear(x, f"{name}.self.{part}", HIDDEN, HIDDEN)
        heads[part] = g.op("Transpose", g.op("Reshape", rows, shape), perm=order)
    scale = g.constant("scale", np.array((HIDDEN // HEADS) ** -0.5, np.float32))
    scores = g.op("Add", g.op("Mul", g.op("MatMul", heads["query"], heads["key"]), scale), padding)
    mixed = g.op("MatMul", g.op("Softmax", scores, axis=-1), heads["value"])
    rows = g.op("Reshape", g.op("Transpose", mixed, perm=[0, 2, 1, 3]), g.ints(-1, HIDDEN))
    return g.linear(rows, f"{name}.output.dense", HIDDEN, HIDDEN)


def layer(g: Graph, x: str, name: str, padding: str, shape: str) -> str:
    """One transformer layer."""
    attended = attention(g, x, f"{name}.attention", padding, shape)
    x = g.norm(g.op("Add", attended, x), f"{name}.attention.output.LayerNorm")
    inner = g.op("Gelu", g.linear(x, f"{name}.intermediate.dense", INNER, HIDDEN))
    return g.norm(g.op("Add", g.linear(inner, f"{name}.output.dense", HIDDEN, INNER), x), f"{name}.output.LayerNorm")


def build() -> onnx.ModelProto:
    """The whole model, in full precision."""
    g = Graph()
    shape = g.op("Shape", "tokens")
    length = g.op("Gather", shape, g.ints(1))
    is_token = g.op("Not", g.op("Equal", "tokens", g.constant("pad", np.array(0, np.int32))))
    zero, never = g.constant("zero", np.array(0, np.float32)), g.constant("never", np.array(-1e9, np.float32))
    padding = g.op("Unsqueeze", g.op("Where", is_token, zero, never), g.ints(1, 2))
    by_head = g.op("Concat", shape, g.ints(HEADS, HIDDEN // HEADS), axis=0)

    rows = g.op("Reshape", embeddings(g, "tokens", length), g.ints(-1, HIDDEN))
    for number in range(LAYERS):
        rows = layer(g, rows, f"encoder.layer.{number}", padding, by_head)
    states = g.op("Reshape", rows, g.op("Concat", shape, g.ints(HIDDEN), axis=0))

    # The mean's divisor would be undone by the normalisation that follows: the sum is enough.
    chosen = g.op("Unsqueeze", g.op("Cast", is_token, to=TensorProto.FLOAT), g.ints(1))
    total = g.op("Squeeze", g.op("MatMul", chosen, states), g.ints(1))
    g.op("LpNormalization", total, output="vectors", axis=-1, p=2)

    return g.model(["texts", "length"], ["texts", HIDDEN], helper.make_opsetid("", OPSET))


def in_integers(g: Graph, x: str, linear: Linear) -> str:
    """Fully connected layers of rows of tokens, computed together."""
    divided = g.op("Mul", x, g.made(f"{linear.name}.inverse", linear.inputs)) if linear.divides else x
    weight = g.made(f"{linear.name}.weight", linear.inputs, linear.outputs, kind=TensorProto.INT8)
    scale, bias = (g.made(f"{linear.name}.{kind}", linear.outputs) for kind in ("scale", "bias"))
    rows = g.op("DynamicQuantizeMatMul", divided, weight, scale, "", bias, domain=MICROSOFT)
    if not linear.is_split:
        return rows
    channels = g.op("Gather", x, g.made(f"{linear.name}.channels", WIDE, kind=TensorProto.INT32), axis=1)
    return g.op("Gemm", channels, g.made(f"{linear.name}.wide", WIDE, linear.outputs), rows)


def question_layer(g: Graph, x: str, name: str, linear: Mapping[str, Linear]) -> str:
    """One transformer layer over the rows of one text. Scales are in the weights."""
    rows = in_integers(g, x, linear[f"{name}.attention.self"])
    by_head = g.op("Reshape", rows, g.ints(-1, 3 * HEADS, HIDDEN // HEADS))
    parts = [f"{name}.{part}" for part in ("query", "key", "value")]
    g.nodes.append(
        helper.make_node("Split", [g.op("Transpose", by_head, perm=[1, 0, 2])], parts, axis=0, num_outputs=3)
    )
    query, key, value = parts
    scores = g.op("MatMul", query, g.op("Transpose", key, perm=[0, 2, 1]))
    mixed = g.op("Transpose", g.op("MatMul", g.op("Softmax", scores, axis=-1), value), perm=[1, 0, 2])
    attended = in_integers(g, g.op("Reshape", mixed, g.ints(-1, HIDDEN)), linear[f"{name}.attention.output"])
    x = g.norm(g.op("Add", attended, x), f"{name}.attention.output.LayerNorm")
    inner = g.op("Gelu", in_integers(g, x, linear[f"{name}.intermediate"]))
    outer = in_integers(g, inner, linear[f"{name}.output"])
    return g.norm(g.op("Add", outer, x), f"{name}.output.LayerNorm")


def build_questions() -> onnx.ModelProto:
    """The whole model for one text, in integers."""
    g = Graph()
    linear = {each.name: each for each in integers.linears()}
    rows = embeddings(g, "tokens", g.op("Shape", "tokens"))
    for number in range(LAYERS):
        rows = question_layer(g, rows, f"encoder.layer.{number}", linear)
    total = g.op("ReduceSum", rows, g.ints(0), keepdims=0)
    g.op("LpNormalization", total, output="vectors", axis=-1, p=2)
    return g.model(["length"], [HIDDEN], helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1))


def main() -> None:
    """Write the graphs and say how large they are."""
    for name, model in (("minilm.onnx", build()), ("minilm_questions.onnx", build_questions())):
        content = model.SerializeToString(deterministic=True)
        (FOLDER / name).write_bytes(content)
        print(f"{name}: {len(content):,} bytes, {len(model.graph.node)} nodes")


if __name__ == "__main__":
    main()
