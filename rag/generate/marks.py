"""What a bracket in an answer cites."""

from __future__ import annotations

import re

from rag.types import Citation, Passage

_NUMBERS = re.compile(
    r"\s*(?:(?:sources?|passages?|documents?|docs?|refs?|nguồn|đoạn|tài liệu)\s*:?\s*)?"
    r"[\^#]?\d{1,3}(?:\s*(?:[,;&/–-]|and|và)\s*[\^#]?\d{1,3})*\s*",
    re.IGNORECASE,
)
_RANGE = re.compile(r"(\d+)\s*[–-]\s*(\d+)|(\d+)")
_LONGEST_RANGE = 10


def cited(number: int, passage: Passage) -> Citation:
    """The citation that `[number]` stands for."""
    return Citation(
        n=number,
        document=passage.document,
        title=passage.title,
        collection=passage.collection,
        passage_id=passage.passage_id,
        page=passage.page,
        url=passage.url,
    )


def numbers_in(label: str) -> tuple[int, ...]:
    """The numbers a bracket names, if it is a citation: `1, 3` and `1-3`; empty if it is something else."""
    if not _NUMBERS.fullmatch(label):
        return ()
    numbers: list[int] = []
    for first, last, single in _RANGE.findall(label):
        if single:
            numbers.append(int(single))
        else:
            numbers += range(int(first), min(int(last), int(first) + _LONGEST_RANGE) + 1)
    return tuple(numbers)
