"""PDF to paragraphs, page by page. What a PDF holds is lines; this puts them together again."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from pathlib import Path

import pypdfium2  # type: ignore[import-untyped]  # it ships no type information
from pypdfium2 import raw

from rag.errors import IngestError
from rag.ingest.parse.document import Block, Link, ParsedDocument

_MAX_PAGES = 20_000
_BULLET = re.compile(r"(?:[•▪◦‣·*–-]|\(?\d{1,3}[.)]|\(?[a-z][.)])\s+\S")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\uffff]")
_DIGITS = re.compile(r"\d+")
_ADDRESS = re.compile(r"https?://[^\s<>\"')\]]{3,2000}")
_SENTENCE_END = (".", "!", "?", ":", "…", "。")
_UNTITLED = re.compile(r"untitled|microsoft word|document\d*|\S+\.(?:docx?|pdf|indd|tex|html?)", re.IGNORECASE)


def parse_pdf(path: Path, *, fallback_title: str) -> ParsedDocument:
    """The document at `path`; every block says its page.

    Raises `IngestError` when it is encrypted, damaged, or holds pictures of pages only.
    """
    try:
        pdf = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        raise IngestError(_why_not(error)) from None
    try:
        count = len(pdf)
        if count == 0:
            raise IngestError("is a PDF without pages")
        if count > _MAX_PAGES:
            raise IngestError(f"has {count:,} pages; at most {_MAX_PAGES:,} can be read, split it")
        pages = [_lines(pdf, number) for number in range(count)]
        title = _title(pdf)
    finally:
        pdf.close()
    return _document(pages, title, fallback_title)


def _why_not(error: pypdfium2.PdfiumError) -> str:
    if getattr(error, "err_code", None) == raw.FPDF_ERR_PASSWORD or "password" in str(error).lower():
        return "is an encrypted PDF; remove its password (open it and print it to a new PDF) and ingest it again"
    if getattr(error, "err_code", None) == raw.FPDF_ERR_SECURITY:
        return "is a PDF with a protection that cannot be read; print it to a new PDF and ingest that"
    return "is damaged: it cannot be opened as a PDF"


def _document(pages: list[list[str] | None], title: str | None, fallback_title: str) -> ParsedDocument:
    damaged = [number for number, lines in enumerate(pages, 1) if lines is None]
    kept = _without_running_heads([lines or [] for lines in pages])
    blocks = [
        Block(kind="text", text=paragraph, page=number)
        for number, lines in enumerate(kept, 1)
        for paragraph in _paragraphs(lines)
    ]
    if not blocks:
        raise IngestError(
            f"holds no text on its {len(pages):,} page(s), only pictures; run text recognition (OCR) on it first, "
            "e.g. with ocrmypdf, and ingest the result"
        )
    empty = [number for number, lines in enumerate(pages, 1) if lines == []]
    warnings = []
    if damaged:
        warnings.append(f"{len(damaged)} damaged page(s) left out, the first is page {damaged[0]}")
    if len(empty) * 2 > len(pages):
        warnings.append(f"{len(empty)} of {len(pages)} pages hold no text, only pictures; OCR would make them readable")
    addresses = dict.fromkeys(address for block in blocks for address in _ADDRESS.findall(block.text))
    return ParsedDocument(
        id=None,
        title=title or fallback_title,
        blocks=tuple(blocks),
        links=tuple(Link(text=address, target=address) for address in addresses),
        warnings=tuple(warnings),
    )


def _lines(pdf: pypdfium2.PdfDocument, number: int) -> list[str] | None:
    """The lines of one page in reading order; None when the page is damaged."""
    try:
        page = pdf[number]
    except pypdfium2.PdfiumError:
        return None
    try:
        text_page = page.get_textpage()
        try:
            text = text_page.get_text_bounded(errors="replace")
        finally:
            text_page.close()
    except pypdfium2.PdfiumError:
        return None
    finally:
        page.close()
    # PDFium marks a hyphen at the end of a line with U+0002 or U+FFFE, and the word goes on.
    text = re.sub(r"[\x02\ufffe]\s*", "", text.replace("\r\n", "\n"))
    text = unicodedata.normalize("NFC", _CONTROLS.sub("", text).replace("\u00ad", ""))
    return [stripped for line in text.split("\n") if (stripped := " ".join(line.split()))]


def _title(pdf: pypdfium2.PdfDocument) -> str | None:
    """The title in the PDF's own data, unless a word processor made it up."""
    try:
        title = " ".join(pdf.get_metadata_value("Title").split())
    except pypdfium2.PdfiumError:
        return None
    return title[:300] if len(title) >= 3 and not _UNTITLED.match(title) else None


def _without_running_heads(pages: list[list[str]]) -> list[list[str]]:
    """Lines that open or close most pages (save for their numbers) are heads and feet, not text.

    A line that ends a sentence is never one, and a page is never left empty.
    """
    if len(pages) < 3:
        return pages
    edges = Counter(key for lines in pages for key in {_head_key(line) for line in (*lines[:1], *lines[-1:])})
    running = {key for key, count in edges.items() if count > 0.6 * len(pages) and not key.endswith(_SENTENCE_END)}

    def trimmed(lines: list[str]) -> list[str]:
        first = 1 if lines and _head_key(lines[0]) in running else 0
        last = len(lines) - 1 if len(lines) > 1 and _head_key(lines[-1]) in running else len(lines)
        return lines[first:last] or lines

    return [trimmed(lines) for lines in pages]


def _head_key(line: str) -> str:
    return _DIGITS.sub("#", line)


def _paragraphs(lines: list[str]) -> list[str]:
    """Lines joined where a sentence runs on; a new paragraph at a bullet, or after a short line that ends one."""
    if not lines:
        return []
    usual = sorted(len(line) for line in lines)[int(0.8 * (len(lines) - 1))]
    paragraphs = [lines[0]]
    previous = lines[0]
    for line in lines[1:]:
        was_short = len(previous) < 0.75 * usual
        ended = previous.endswith(_SENTENCE_END)
        starts = not line[0].islower()
        if _BULLET.match(line) or (was_short and starts and (ended or len(previous) < 0.5 * usual)):
            paragraphs.append(line)
        elif paragraphs[-1].endswith("-") and line[0].islower():
            paragraphs[-1] = paragraphs[-1][:-1] + line if paragraphs[-1][-2:-1].isalpha() else paragraphs[-1] + line
        else:
            paragraphs[-1] += " " + line
        previous = line
    return paragraphs
