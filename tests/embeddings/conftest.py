"""The offline model, verified once and opened once for the tests that do not use an event loop."""

from __future__ import annotations

import pytest

from rag.embeddings.minilm import MiniLM
from rag.embeddings.weights import Weights, find_weights, read_weights


@pytest.fixture(scope="session")
def weights() -> Weights:
    return read_weights(find_weights())


@pytest.fixture(scope="session")
def minilm() -> MiniLM:
    return MiniLM.load(threads=2)
