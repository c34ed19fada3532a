"""A passage's text in the pieces that can be quoted: sentences, list items, and table rows with their headers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from rag.ingest.sentences import split

_ITEM = re.compile(r"^\s*(?:[-*+•]|\d{1,2}[.)])\s+")
_RULE = re.compile(r"^\s*\|?[\s:|-]*-[\s:|-]*\|?\s*$")
_HEADING = re.compile(r"^\s*#{1,6}\s+")
_NUMBER_MARK = re.compile(r"\[(\^?\d{1,3}(?:\s*[,;-]\s*\d{1,3})*)\](?!\()")
_CELL_BORDER = re.compile(r"(?<!\\)\|")
_EMPTY_CELLS = frozenset({"", "-", "–", "—"})


class Unit(NamedTuple):
    """Something of a passage that can stand alone in an answer."""

    text: str
    """One line of Markdown, without list marks."""
    kind: str
    """`sentence`, `item` or `row`."""
    lead: str = ""
    """The line that introduces it, e.g. the sentence with a colon before a list."""


def units(text: str) -> list[Unit]:
    """`text` in order; headings and horizontal rules are left out."""
    found: list[Unit] = []
    paragraph: list[str] = []
    lead = ""
    header: list[str] | None = None
    lines = text.splitlines()
    for index, line in enumerate(lines):
        is_row = _is_row(line)
        is_item = bool(_ITEM.match(line))
        if not line.strip() or is_row or is_item or _HEADING.match(line):
            said = list(_sentences(paragraph))
            found += said
            lead = said[-1].text if said and said[-1].text.endswith(":") else lead
            paragraph = []
        if is_row:
            header, unit = _row(lines, index, header)
            found += unit
            continue
        header = None
        if is_item:
            found.append(Unit(_plain(_ITEM.sub("", line, count=1)), "item", lead))
        elif line.strip() and not _HEADING.match(line):
            lead = ""
            paragraph.append(line.strip())
    return [unit for unit in (*found, *_sentences(paragraph)) if unit.text]


def _sentences(lines: list[str]) -> Iterator[Unit]:
    for _, sentence in split(" ".join(lines)):
        yield Unit(_plain(sentence), "sentence")


def _is_row(line: str) -> bool:
    stripped = line.strip()
    return stripped.startswith("|") and stripped.endswith("|") and stripped.count("|") > 2


def _row(lines: list[str], index: int, header: list[str] | None) -> tuple[list[str] | None, list[Unit]]:
    line = lines[index]
    if _RULE.match(line):
        return header, []
    cells = _cells(line)
    is_header = header is None and index + 1 < len(lines) and bool(_RULE.match(lines[index + 1]))
    if is_header:
        return cells, []
    if header is None or len(header) != len(cells):
        shown = [cell for cell in cells if cell not in _EMPTY_CELLS]
        return header, [Unit(_plain("; ".join(shown)), "row")]
    pairs = zip(header, cells, strict=True)
    shown = [f"{name}: {cell}" if name else cell for name, cell in pairs if cell not in _EMPTY_CELLS]
    return header, [Unit(_plain("; ".join(shown)), "row")]


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in _CELL_BORDER.split(line.strip())[1:-1]]


def _plain(text: str) -> str:
    """`text` on one line, without bracketed numbers of its own: those would read as citations of ours."""
    return _NUMBER_MARK.sub(r"(\1)", " ".join(text.split()))
