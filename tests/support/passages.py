"""Passages for tests, without retrieval."""

from __future__ import annotations

from rag.types import Passage


def passage(
    number: int,
    text: str,
    *,
    title: str | None = None,
    heading: str = "",
    collection: str = "public",
    url: str | None = None,
) -> Passage:
    """The passage that a test calls `number`, best first by that number."""
    return Passage(
        passage_id=f"p{number}",
        document=f"doc{number}.md",
        title=title or f"Document {number}",
        collection=collection,
        text=text,
        score=1.0 / number,
        heading=heading,
        url=url,
    )
