"""A very large document as several, so that no process ever holds all of its records at once. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rag.ingest.parse.document import Block, ParsedDocument

MAX_DOCUMENT_CHARACTERS = 2_000_000
"""About 700 pages. The records of a document take some thirty times its text (measured), 60 MB at this size."""


def in_parts(
    document: ParsedDocument, *, file_id: str, limit: int = MAX_DOCUMENT_CHARACTERS
) -> Iterator[ParsedDocument]:
    """`document` itself, or its parts: the first keeps its id, the others are `<id>#part-2`, ...

    A part opens with the headings it stands under, so that its chunks keep their heading path.
    """
    if sum(len(block.text) for block in document.blocks) <= limit:
        yield document
        return
    base = document.id or file_id
    for number, blocks in enumerate(_groups(document.blocks, limit), 1):
        if number == 1:
            yield replace(document, blocks=blocks)
        else:
            yield replace(
                document, id=f"{base}#part-{number}", title=f"{document.title} (part {number})", blocks=blocks, links=()
            )


def _groups(blocks: tuple[Block, ...], limit: int) -> Iterator[tuple[Block, ...]]:
    group: list[Block] = []
    size = 0
    path: list[Block] = []
    for block in _bounded(blocks, limit):
        if size + len(block.text) > limit and any(held.kind != "heading" for held in group):
            yield tuple(group)
            group, size = list(path), 0
        if block.kind == "heading":
            path = [*(held for held in path if held.level < block.level), block]
        group.append(block)
        size += len(block.text)
    if any(held.kind != "heading" for held in group):
        yield tuple(group)


def _bounded(blocks: tuple[Block, ...], limit: int) -> Iterator[Block]:
    """The blocks, the giant ones (a file that is one line) cut at white space."""
    for block in blocks:
        rest = block.text
        while len(rest) > limit:
            cut = max(rest.rfind("\n", limit // 2, limit), rest.rfind(" ", limit // 2, limit)) + 1 or limit
            yield replace(block, text=rest[:cut].rstrip())
            rest = rest[cut:].lstrip()
        if rest:
            yield replace(block, text=rest)
