"""The MiniLM graph opened on onnxruntime with the published weights, on the best device there is."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort  # type: ignore[import-untyped] # it ships no types
from numpy.typing import NDArray

from rag.embeddings import integers
from rag.embeddings.weights import Weights
from rag.errors import EmbeddingError
from rag.ports import Vectors

DIMENSIONS = 384
_PROVIDERS = ("CUDAExecutionProvider", "CoreMLExecutionProvider", "CPUExecutionProvider")
"""Best first; onnxruntime says which of them its build has."""

_PROBE = (101, 2070, 3793, 102)
_PROBE_STARTS = (-0.0120, 0.0813, -0.0101, 0.0115)
"""What the model makes of "some text", computed once with numpy."""

_LEAST_COSINE = 0.995
"""Of the integers' vector of a known sentence to the exact one: .9985 where they compute right."""

_GRAPH = Path(__file__).with_name("minilm.onnx")
_QUESTIONS_GRAPH = Path(__file__).with_name("minilm_questions.onnx")
_CPU = "CPUExecutionProvider"


def available_providers() -> tuple[str, ...]:
    """The execution providers of this build of onnxruntime that are of use here, best first."""
    available = set(ort.get_available_providers())
    return tuple(name for name in _PROVIDERS if name in available)


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def yield_to_others() -> None:
    """Lower the calling thread's priority, so that a question takes the core from bulk work at once.

    Linux keeps a nice value per thread; elsewhere an id of a thread could name some process. Sandboxes that forbid it
    lose only this courtesy.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + 10)


class Session:
    """The model, opened once for a number of threads. `run` may be called from several threads."""

    precision: Final = "full precision"

    def __init__(self, weights: Weights, *, threads: int, providers: Sequence[str]) -> None:
        """Open the graph on the given providers: some 0.1 s on the calling thread.

        `threads` compute one batch together; with 1, the calling thread does it alone. Raises `EmbeddingError`.
        """
        self._session = _opened(_GRAPH, {"model.safetensors": weights.model}, threads=threads, providers=providers)

    @property
    def device(self) -> str:
        """Where it computes: `cpu`, `cuda` or `coreml`."""
        return str(self._session.session.get_providers()[0]).removesuffix("ExecutionProvider").lower()

    def run(self, batch: Sequence[Sequence[int]]) -> Vectors:
        """One row per text's token ids. Raises `EmbeddingError`."""
        tokens = np.zeros((len(batch), max(map(len, batch))), np.int32)
        for row, ids in enumerate(batch):
            tokens[row, : len(ids)] = ids
        return self._session.run(tokens)


class IntegerSession:
    """The model with linear layers in integers, on one thread of a CPU: cosines of .993 and more to the exact vectors.

    Each text is computed by itself, since what it is rounded by depends on all that is computed with it: nobody's
    vector depends on who else asks. `run` may be called from several threads.
    """

    precision: Final = "7-bit integers"
    device: Final = "cpu"

    def __init__(self, weights: Weights) -> None:
        """Round the weights and open the graph: some 0.1 s. Raises `EmbeddingError`, also if it computes wrong."""
        calibration = integers.read_calibration()
        made = integers.in_integers(weights.tensors(), calibration)
        files = {"model.safetensors": weights.model, integers.FILE: made}
        self._session = _opened(_QUESTIONS_GRAPH, files, threads=1, providers=[_CPU])
        probe = self._session.run(calibration.probe)
        # Not above rather than below: a vector of no numbers is refused too.
        if not probe @ calibration.vector >= _LEAST_COSINE * float(np.linalg.norm(calibration.vector)):
            raise EmbeddingError("onnxruntime computes wrong vectors in integers")

    def run(self, batch: Sequence[Sequence[int]]) -> Vectors:
        """One row per text's token ids. Raises `EmbeddingError`."""
        return np.stack([self._session.run(np.array(ids, np.int32)) for ids in batch])


class _Opened:
    """A graph with what it reads its weights from."""

    def __init__(self, session: Any, files: Mapping[str, NDArray[np.uint8]]) -> None:
        self.session = session
        self._files = files

    def run(self, tokens: NDArray[np.int32]) -> Vectors:
        try:
            vectors: Vectors = self.session.run(None, {"tokens": tokens})[0]
        except Exception as error:  # onnxruntime has no common class of errors
            raise EmbeddingError(f"onnxruntime cannot compute an embedding: {error}") from error
        return vectors


def _opened(graph: Path, files: Mapping[str, NDArray[np.uint8]], *, threads: int, providers: Sequence[str]) -> _Opened:
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = threads
    # Threads that spin while they wait take the cores from the event loop and from the vector search:
    # 50,000 chunks were answered in 11.0 ms instead of 6.9.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The graph says where in the files each weight lies. Read from our mapping, without a copy, they cost half the
    # memory and half the time of weights handed over one by one (43 MB, which onnxruntime rearranges, and 0.1 s);
    # the mapping has to live as long as the session.
    options.add_session_config_entry("session.use_external_initializer_file_buffers_directly", "1")
    options.add_external_initializers_from_files_in_memory(
        list(files), list(files.values()), [content.nbytes for content in files.values()]
    )
    try:
        session = ort.InferenceSession(str(graph), options, providers=list(providers), enable_fallback=0)
    except Exception as error:  # onnxruntime has no common class of errors
        raise EmbeddingError(f"onnxruntime cannot open the embedding model: {error}") from error
    return _Opened(session, files)


def open_session(weights: Weights, *, threads: int, providers: Sequence[str]) -> Session:
    """The model on the first of `providers` that opens it and computes a known vector right.

    A driver may be missing or too old, and a device may round too coarsely: then the next one has its turn.
    Raises `EmbeddingError` where none is left.
    """
    cause = EmbeddingError("onnxruntime has no provider to run the embedding model: install the package `onnxruntime`")
    for provider in providers:
        try:
            session = Session(weights, threads=threads, providers=[provider])
            vector = session.run([_PROBE])[0]
        except EmbeddingError as error:
            cause = error
            continue
        if np.allclose(vector[: len(_PROBE_STARTS)], _PROBE_STARTS, atol=0.005):
            return session
        cause = EmbeddingError(f"onnxruntime computes wrong vectors on {session.device}")
    raise cause


def open_for_questions(weights: Weights, *, threads: int, providers: Sequence[str]) -> Session | IntegerSession:
    """The quickest way to a question's vector: a GPU in full precision, or else the CPU in integers.

    Where integers compute wrong, or this onnxruntime lacks their operator, the CPU computes in full precision.
    Raises `EmbeddingError`.
    """
    others = [provider for provider in providers if provider != _CPU]
    if others:
        with contextlib.suppress(EmbeddingError):
            return open_session(weights, threads=threads, providers=others)
    if _CPU in providers:
        with contextlib.suppress(EmbeddingError):
            return IntegerSession(weights)
    return open_session(weights, threads=threads, providers=providers)
