"""An embedder without a model: words hashed into a vector. Same text, same vector; shared words, near vectors."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np

from rag.ports import Vectors


class HashingEmbedder:
    """Counts what it embedded, so that a test can see what was spared."""

    def __init__(self, *, dimensions: int = 32) -> None:
        self.texts: list[str] = []
        self._dimensions = dimensions

    @property
    def name(self) -> str:
        return "hashing"

    @property
    def dimensions(self) -> int:
        return self._dimensions

    @property
    def languages(self) -> frozenset[str] | None:
        return None

    async def embed(self, texts: Sequence[str], *, urgent: bool = False) -> Vectors:
        self.texts.extend(texts)
        rows = np.zeros((len(texts), self._dimensions), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[0] = 0.1
            for word in re.findall(r"\w+", text.lower()):
                row[zlib.crc32(word.encode()) % self._dimensions] += 1
        unit: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit

    async def close(self) -> None:
        return None
