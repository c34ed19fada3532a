"""A parsed document to records: sections into chunks of a bounded size, chunks into sentences.

A chunk never crosses a heading (unless what came before is too short to stand alone), ends at a sentence border,
repeats the last sentence of the chunk before it, and repeats the header of a table it continues.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import blake2b
from typing import NamedTuple

from rag.analyse import analyse
from rag.ingest.extract import names, sure, title_keys
from rag.ingest.parse.document import Block, ParsedDocument
from rag.ingest.sentences import is_chat, split, split_long, weight
from rag.language import detect
from rag.records import Chunk, CountedTerms, Document, Sentence, Terms

CHUNKER_VERSION = "1"
"""Part of what decides whether a document has to be done again."""

MAX_WEIGHT = 150
"""Words of a chunk, as `weight` counts them: at most about 220 word pieces, which the embedder reads in full."""
MIN_WEIGHT = 20
"""A section with less goes together with the next one."""
MAX_HEADING = 200
"""Characters of a heading path; the innermost headings survive."""


class Unit(NamedTuple):
    """A sentence, list item or table row, with what stands before it in the same chunk."""

    text: str
    before: str
    """The white space between it and the unit before."""
    heading: str
    page: int | None
    weight: int
    header: str = ""
    """The header rows of the table it belongs to."""


@dataclass(slots=True)
class _Draft:
    """A chunk while it is filled."""

    units: list[Unit]
    words: int = 0


def build_document(
    parsed: ParsedDocument,
    *,
    collection: str,
    source: str,
    document_id: str,
    file: str,
    content_hash: str,
    size: int,
) -> Document:
    """The records of one document. A pure function; raises `ValueError` for a date that is none."""
    text = "\n".join(block.text for block in parsed.blocks)
    language = detect(text or parsed.title)
    title = " ".join(parsed.title.split())
    known = sure(text)
    chunks = tuple(
        _chunk(ordinal, units, title=title, document_id=document_id, language=language, known=known)
        for ordinal, units in enumerate(pack(_units(parsed.blocks, title)))
    )
    return Document(
        collection=collection,
        source=source,
        id=document_id,
        file=file,
        title=title,
        url=parsed.url,
        valid_from=as_date(parsed.valid_from),
        valid_until=as_date(parsed.valid_until),
        language=language,
        content_hash=content_hash,
        size=size,
        names=title_keys(title, document_id, parsed.url),
        title_terms=analyse(title).folded,
        chunks=chunks,
    )


def as_date(text: str | None) -> date | None:
    """An ISO date, or the day of an ISO date-time."""
    if text is None:
        return None
    return datetime.fromisoformat(text.strip()).date()


def pack(units: Iterable[Unit]) -> Iterator[list[Unit]]:
    """Units into chunks: full, or ended by a heading."""
    draft = _Draft([])
    for unit in units:
        is_full = draft.words + unit.weight > MAX_WEIGHT
        is_new_section = bool(draft.units) and unit.heading != draft.units[-1].heading and draft.words >= MIN_WEIGHT
        if draft.units and (is_full or is_new_section):
            yield draft.units
            carried = [] if is_new_section else _carried(draft.units[-1], unit)
            draft = _Draft(carried, sum(u.weight for u in carried))
        draft.units.append(unit)
        draft.words += unit.weight
    if draft.units:
        yield draft.units


def _carried(last: Unit, unit: Unit) -> list[Unit]:
    """What the next chunk repeats: the table's header, or the last sentence if it is of a decent size."""
    if unit.header:
        return (
            [unit._replace(text=unit.header, header="", weight=weight(unit.header))]
            if last.header == unit.header
            else []
        )
    if last.header or last.heading != unit.heading or last.weight + unit.weight > MAX_WEIGHT // 2:
        return []
    return [last]


def _units(blocks: Sequence[Block], title: str) -> Iterator[Unit]:
    path: list[tuple[int, str]] = []
    heading = ""
    for block in blocks:
        if block.kind == "heading":
            path = [(level, name) for level, name in path if level < block.level]
            path.append((block.level, " ".join(block.text.split())))
            heading = _path(path, title)
        elif block.kind == "table":
            yield from _table(block, heading)
        else:
            yield from _prose(block, heading)
    if not any(block.kind != "heading" and block.text.strip() for block in blocks):
        text = heading or title
        if text:  # a document that is nothing but headings is still found by them
            yield Unit(text, "", "", None, weight(text))


def _path(path: Sequence[tuple[int, str]], title: str) -> str:
    names_ = [name for _, name in path]
    if names_ and names_[0] == title:
        names_ = names_[1:]
    while len(names_) > 1 and len(" > ".join(names_)) > MAX_HEADING:
        names_ = names_[1:]
    return " > ".join(names_)[:MAX_HEADING]


def _prose(block: Block, heading: str) -> Iterator[Unit]:
    if block.kind == "code":
        pieces: Iterable[tuple[str, str]] = (("\n", line) for line in block.text.splitlines() if line.strip())
    else:
        pieces = split(block.text, by_line=block.kind == "list" or is_chat(block.text))
    for i, (gap, sentence) in enumerate(pieces):
        for j, piece in enumerate(split_long(sentence, MAX_WEIGHT)):
            yield Unit(piece, " " if j else gap if i else "\n\n", heading, block.page, weight(piece))


_RULE = re.compile(r"^\s*\|?[\s:|-]+\|?\s*$")


def _table(block: Block, heading: str) -> Iterator[Unit]:
    lines = [line for line in block.text.splitlines() if line.strip()]
    rows = [line for line in lines if not _RULE.match(line)]
    if not rows:
        return
    has_rule = len(lines) > 1 and _RULE.match(lines[1])
    header = "\n".join(lines[:2]) if has_rule else lines[0]
    yield Unit(header, "\n\n", heading, block.page, weight(header), header)
    for row in rows[1:]:
        for piece in split_long(row, MAX_WEIGHT):
            yield Unit(piece, "\n", heading, block.page, weight(piece), header)


def _chunk(
    ordinal: int, units: Sequence[Unit], *, title: str, document_id: str, language: str, known: frozenset[str]
) -> Chunk:
    text, spans = _joined(units)
    heading = units[0].heading
    prefix = "\n".join(part for part in (title if says_something(title) else "", heading) if part)
    embedding_text = f"{prefix}\n{text}" if prefix else text
    marked, folded, length = index_terms(title, heading, text)
    sentences = tuple(
        Sentence(start, end, names(text[start:end], document_id=document_id, language=language, known=known))
        for start, end in spans
    )
    digest = blake2b(embedding_text.encode(), digest_size=16)
    digest.update(repr(spans).encode())
    return Chunk(
        ordinal=ordinal,
        text=text,
        heading=heading,
        page=units[0].page,
        language=language,
        marked=marked,
        folded=folded,
        length=length,
        sentences=sentences,
        embedding_text=embedding_text,
        digest=digest.hexdigest(),
    )


def index_terms(title: str, heading: str, text: str) -> tuple[Terms, Terms, int]:
    """(marked, folded, length) of a chunk: what full text finds it by."""
    terms = analyse(f"{title}\n{heading}\n{text}")
    marked = CountedTerms.of(terms.marked)
    folded = marked if terms.folded is terms.marked else CountedTerms.of(terms.folded)
    return marked, marked if folded == marked else folded, len(terms.marked)


def says_something(title: str) -> bool:
    """Whether a title helps an embedder: not a bare number, date or file name made of digits."""
    letters = sum(c.isalpha() for c in title)
    return letters > 2 and letters > sum(c.isdigit() for c in title)


def _joined(units: Sequence[Unit]) -> tuple[str, list[tuple[int, int]]]:
    parts: list[str] = []
    spans: list[tuple[int, int]] = []
    length = 0
    heading = units[0].heading
    for unit in units:
        before = unit.before if parts else ""
        if unit.heading != heading:
            heading = unit.heading
            before = f"\n\n{heading.rsplit(' > ', 1)[-1]}\n"
        parts += before, unit.text
        length += len(before)
        spans.append((length, length + len(unit.text)))
        length += len(unit.text)
    return "".join(parts), spans
