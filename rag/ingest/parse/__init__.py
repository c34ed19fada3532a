"""One file to its documents. Runs in a parsing process (`rag.ingest.worker`), so it may block and crash."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from rag.errors import IngestError
from rag.ingest.parse.document import ParsedDocument, Problem
from rag.ingest.parse.encoding import decode
from rag.ingest.parse.html import parse_html
from rag.ingest.parse.jsonl import parse_jsonl
from rag.ingest.parse.markdown import parse_markdown
from rag.ingest.parse.parts import in_parts
from rag.ingest.parse.plain import parse_plain
from rag.ingest.parse.sniff import HEAD_BYTES, Format, recognise
from rag.ingest.parse.tables import parse_csv

PARSER_VERSION = "1"
"""Raised whenever the same file would give other blocks: unchanged files are then read again."""

MAX_FILE_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseLimits:
    """What one file may cost."""

    max_bytes: int = MAX_FILE_BYTES


def parse_file(path: Path, *, file_id: str, limits: ParseLimits | None = None) -> Iterator[ParsedDocument | Problem]:
    """The documents in the file at `path`, which its readers know as `file_id`, and what could not be read of it.

    Raises `IngestError`, with a line that reads on after the file's name, when nothing can be read.
    """
    limits = limits or ParseLimits()
    size = path.stat().st_size
    check_size(size, limits)
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head.strip():
        raise IngestError("is empty" if size <= HEAD_BYTES else "is not text: it begins with nothing but white space")
    recognised = recognise(file_id, head)
    title = title_of(file_id)
    warnings = [recognised.warning] if recognised.warning else []
    is_first = True
    for result in _parsed(recognised.format, path, file_id, title, warnings):
        if isinstance(result, ParsedDocument):
            if not any(block.text.strip() for block in result.blocks):
                raise IngestError("holds no text")
            for part in in_parts(result, file_id=file_id):
                yield replace(part, warnings=(*warnings, *part.warnings)) if is_first else part
                is_first = False
        else:
            yield result


def check_size(size: int, limits: ParseLimits) -> None:
    """Raises `IngestError` for a file that is larger than allowed."""
    if size > limits.max_bytes:
        mib = limits.max_bytes / 2**20
        raise IngestError(f"has {size / 2**20:,.0f} MiB; at most {mib:,.0f} MiB are read, split it")


def title_of(file_id: str) -> str:
    """A title made of a file's name, for documents that have none of their own."""
    stem = PurePosixPath(file_id).stem
    words = re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFC", stem)).strip()
    return words[:200] or stem[:200] or file_id[:200]


def _parsed(
    format_: Format, path: Path, file_id: str, title: str, warnings: list[str]
) -> Iterator[ParsedDocument | Problem]:
    # These two libraries take 40 ms each to import, and most folders hold neither format.
    if format_ == "pdf":
        from rag.ingest.parse.pdf import parse_pdf  # noqa: PLC0415 - see above

        yield parse_pdf(path, fallback_title=title)
        return
    if format_ == "docx":
        from rag.ingest.parse.docx import parse_docx  # noqa: PLC0415 - see above

        yield parse_docx(path, fallback_title=title)
        return
    decoded = decode(path.read_bytes())
    if decoded.warning:
        warnings.append(decoded.warning)
    text = decoded.text
    if not text.strip():
        raise IngestError("is empty")
    if format_ == "csv":
        yield from parse_csv(text, file_id=file_id, fallback_title=title)
    elif format_ == "jsonl":
        yield from parse_jsonl(text)
    else:
        yield _TEXT_READERS[format_](text, fallback_title=title)


_TEXT_READERS = {"md": parse_markdown, "html": parse_html, "txt": parse_plain}
