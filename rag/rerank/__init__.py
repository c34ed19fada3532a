"""A second look at the best passages: a cross-encoder reads question and passage together and orders them anew."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

__all__ = ["RerankSpec", "parse_rerank"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankSpec:
    """Which reranker is wanted, as GRAPEVINE_RERANK says it."""

    kind: Literal["fastembed", "http"]
    name: str = ""
    """The cross-encoder's name in fastembed."""


def parse_rerank(spec: str) -> RerankSpec:
    """Read `http` or `fastembed:NAME`. Raises `ValueError` with one line that names what is accepted."""
    kind, _, name = spec.strip().partition(":")
    if kind == "http" and not name:
        return RerankSpec(kind="http")
    if kind == "fastembed" and re.fullmatch(r"\S+", name):
        return RerankSpec(kind="fastembed", name=name)
    raise ValueError(f"{spec!r} is no reranker: use http or fastembed:NAME")
