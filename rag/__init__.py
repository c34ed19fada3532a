"""The async RAG core: a `Question` goes in, a stream of `AnswerEvent`s comes out. It knows no platform."""

import os

# Read once, when numpy loads OpenBLAS. One matrix-vector product is bound by memory bandwidth; BLAS threads of our own
# fight with onnxruntime's and took a retrieval over 50,000 chunks from 6.9 ms to 11 ms (p50, two cores).
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
