"""Writes `rag/stores/product.onnx`: the product of a matrix of bytes and a vector of small integers.

    python deploy/onnx/make_product.py

In:  `matrix`, uint8 (rows, dimensions), 128 standing for zero; `vector`, int8 (dimensions, 1).
Out: `products`, int32 (rows, 1): exact dot products.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

OPSET, IR_VERSION = 20, 9
TARGET = Path(__file__).parents[2] / "rag" / "stores" / "product.onnx"


def build() -> onnx.ModelProto:
    """The graph: one standard operator."""
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["matrix", "vector", "zero"], ["products"])],
        "product",
        [
            helper.make_tensor_value_info("matrix", TensorProto.UINT8, ["rows", "dimensions"]),
            helper.make_tensor_value_info("vector", TensorProto.INT8, ["dimensions", 1]),
        ],
        [helper.make_tensor_value_info("products", TensorProto.INT32, ["rows", 1])],
        [helper.make_tensor("zero", TensorProto.UINT8, [], [128])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model


if __name__ == "__main__":
    TARGET.write_bytes(build().SerializeToString(deterministic=True))
