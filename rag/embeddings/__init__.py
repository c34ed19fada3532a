"""Texts to unit vectors: offline (`minilm`), over an OpenAI-compatible endpoint, or with fastembed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

__all__ = ["EmbeddingSpec", "parse_model"]

Kind = Literal["minilm", "openai", "fastembed"]

_WIDEST = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingSpec:
    """Which embedder is wanted, as EMBEDDING_MODEL says it."""

    kind: Kind
    name: str = ""
    """The model's name at the endpoint or in fastembed; empty for `minilm`."""
    dimensions: int | None = None
    """The width asked for (`openai` only); None leaves it to the model."""


def parse_model(spec: str) -> EmbeddingSpec:
    """Read `minilm`, `openai:NAME`, `openai:NAME@512` or `fastembed:NAME`.

    Raises `ValueError` with one line that names what is accepted.
    """
    kind, colon, name = spec.strip().partition(":")
    if kind == "minilm" and not colon:
        return EmbeddingSpec(kind="minilm")
    if kind == "fastembed" and _is_name(name):
        return EmbeddingSpec(kind="fastembed", name=name)
    if kind == "openai":
        # A leading @ belongs to the name: `@cf/baai/bge-m3`.
        match = re.fullmatch(r"(.*)@([^/@]*)", name)
        base, width = match.groups() if match else (name, None)
        if width is not None and not (re.fullmatch(r"[0-9]{1,4}", width) and 0 < int(width) <= _WIDEST):
            raise ValueError(f"{spec!r}: what follows @ is the number of dimensions, 1 to {_WIDEST}")
        if _is_name(base):
            return EmbeddingSpec(kind="openai", name=base, dimensions=None if width is None else int(width))
    raise ValueError(f"{spec!r} is no embedding model: use minilm, openai:NAME, openai:NAME@512 or fastembed:NAME")


def _is_name(name: str) -> bool:
    return bool(re.fullmatch(r"\S+", name))
