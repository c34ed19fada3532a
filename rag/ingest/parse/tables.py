"""Tables: csv files row by row, and any rows as a pipe table. Pure."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence

from rag.errors import IngestError
from rag.ingest.parse.document import Block, ParsedDocument

ROWS_PER_DOCUMENT = 2_000
"""A larger file becomes several documents, so that neither memory nor one transaction holds all of it."""
_ROWS_PER_BLOCK = 50
_MAX_COLUMNS = 1_000
_DELIMITERS = ",;\t|"
_NUMBER = re.compile(r"[-+]?[\d.,\s]*\d[\d.,\s]*%?\Z")


def pipe_table(rows: Sequence[Sequence[str]]) -> str:
    """`rows` as a Markdown table whose header is the first row; empty when there is nothing to show."""
    if not rows:
        return ""
    width = max(len(row) for row in rows)
    lines = ["| " + " | ".join(_cell(cell) for cell in (*row, *[""] * (width - len(row)))) + " |" for row in rows]
    return "\n".join((lines[0], "|" + " --- |" * width, *lines[1:]))


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def parse_csv(text: str, *, file_id: str, fallback_title: str) -> Iterator[ParsedDocument]:
    """One document per 2,000 rows, each row a line `- Header: value; Header: value`.

    A row by itself must make sense: it is found, embedded and quoted alone.
    Raises `IngestError` when there is no table in it.
    """
    rows = _rows(text)
    first = next(rows, None)
    if first is None:
        raise IngestError("holds no rows")
    second = next(rows, None)
    header = _header(first, second)
    body = _chained([] if header is not None else [first], second, rows)
    names = header or [f"Column {n}" for n in range(1, len(first) + 1)]
    start, lines = 1, []
    for number, row in enumerate(body, 1):
        lines.append(_line(names, row))
        if len(lines) == ROWS_PER_DOCUMENT:
            yield _document(lines, start, file_id, fallback_title)
            start, lines = number + 1, []
    if lines or start == 1:
        yield _document(lines or ["- " + "; ".join(filter(None, first))], start, file_id, fallback_title)


def _document(lines: list[str], start: int, file_id: str, title: str) -> ParsedDocument:
    blocks = tuple(
        Block(kind="list", text="\n".join(lines[at : at + _ROWS_PER_BLOCK]))
        for at in range(0, len(lines), _ROWS_PER_BLOCK)
    )
    if start == 1:
        return ParsedDocument(id=None, title=title, blocks=blocks)
    rows = f"{start}-{start + len(lines) - 1}"
    return ParsedDocument(id=f"{file_id}#rows-{rows}", title=f"{title} (rows {rows})", blocks=blocks)


def _chained(head: list[list[str]], second: list[str] | None, rows: Iterator[list[str]]) -> Iterator[list[str]]:
    yield from head
    if second is not None:
        yield second
    yield from rows


def _line(header: Sequence[str], row: Sequence[str]) -> str:
    names = (*header, *(f"Column {n}" for n in range(len(header) + 1, len(row) + 1)))
    return "- " + "; ".join(
        f"{name}: {value}" if name else value for name, value in zip(names, row, strict=False) if value
    )


def _rows(text: str) -> Iterator[list[str]]:
    """The rows that hold anything, their cells trimmed and on one line."""
    delimiter = _delimiter(text)
    csv.field_size_limit(1_000_000)
    lines = text.splitlines(keepends=True)
    reader = csv.reader(lines, delimiter=delimiter, strict=False)
    begin = 0
    try:
        for row in reader:
            end = reader.line_num
            if end == len(lines) and end - begin > 1 and sum(line.count('"') for line in lines[begin:end]) % 2:
                # The rest of the file would be one cell of one row.
                raise IngestError(f"a quote that opens in line {begin + 1:,} is never closed; close or remove it")
            begin = end
            cells = [" ".join(cell.split()) for cell in row]
            while cells and not cells[-1]:
                cells.pop()
            if len(cells) > _MAX_COLUMNS:
                raise IngestError(
                    f"line {reader.line_num:,} has {len(cells):,} columns; at most {_MAX_COLUMNS:,} can be read"
                )
            if cells:
                yield cells
    except csv.Error as error:
        raise IngestError(f"is not a table at line {reader.line_num:,}: {error}; check its quotes") from None


def _delimiter(text: str) -> str:
    """The delimiter that splits the first lines most evenly. `csv.Sniffer` guesses letters on short files."""
    lines = text[:65_536].splitlines()[:20]
    sample = [line for line in lines if line.strip()]
    if sample and sample[0].lower().startswith("sep=") and len(sample[0]) == 5:
        return sample[0][4]

    def evenness(delimiter: str) -> tuple[int, int]:
        try:
            counts = [len(row) for row in csv.reader(sample, delimiter=delimiter) if row]
        except csv.Error:
            return (0, 0)
        width = counts[0] if counts else 1
        return (sum(count == width for count in counts) if width > 1 else 0, width)

    return max(_DELIMITERS, key=evenness)


def _header(first: list[str], second: list[str] | None) -> list[str] | None:
    """The first row, when it names columns: words only, each once, none longer than a name is."""
    if second is None or len({*first}) < len(first) or len(first) < len(second) - 1:
        return None
    if any(_NUMBER.match(cell) or len(cell) > 80 for cell in first if cell):
        return None
    return first
