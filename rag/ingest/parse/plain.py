"""Plain text: paragraphs between blank lines; whatever Markdown a note-taker used anyway is honoured."""

from __future__ import annotations

from rag.ingest.parse.document import Block, ParsedDocument
from rag.ingest.parse.markdown import links_in, markdown_blocks

_MAX_TITLE = 80


def parse_plain(text: str, *, fallback_title: str) -> ParsedDocument:
    """The document in `text`. A short first line of its own is the title."""
    blocks = tuple(markdown_blocks(text))
    return ParsedDocument(id=None, title=_title(blocks) or fallback_title, blocks=blocks, links=tuple(links_in(text)))


def _title(blocks: tuple[Block, ...]) -> str | None:
    if len(blocks) < 2:
        return None
    first = blocks[0]
    if first.kind == "heading":
        return first.text
    is_line = first.kind == "text" and "\n" not in first.text and len(first.text) <= _MAX_TITLE
    return first.text if is_line and first.text[-1] not in ".,;:!?" else None
