"""Word documents: headings, paragraphs, lists and tables in the order in which they stand."""

from __future__ import annotations

import re
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import docx
from docx.opc.exceptions import PackageNotFoundError
from docx.table import Table
from docx.text.hyperlink import Hyperlink
from docx.text.paragraph import Paragraph
from lxml.etree import LxmlError  # type: ignore[import-untyped]  # it ships no type information

from rag.errors import IngestError
from rag.ingest.parse.document import SAFE_IN_LINKS, Block, Link, ParsedDocument
from rag.ingest.parse.tables import pipe_table

if TYPE_CHECKING:
    from docx.document import Document

MAX_UNPACKED_BYTES = 256 * 2**20
"""A document that unpacks to more is refused before anything is unpacked."""
_MAX_PARTS = 20_000
_HEADING = re.compile(r"heading (\d)", re.IGNORECASE)
_DAMAGED = (
    *(PackageNotFoundError, zipfile.BadZipFile, zlib.error, LxmlError),
    # python-docx lets through whatever its parts stumble over (found by changing bytes at random).
    *(KeyError, ValueError, AttributeError, IndexError, TypeError, NotImplementedError, EOFError),
)
_OTHER_ZIPS = (
    ("xl/", "is an Excel workbook (xlsx); save each sheet as csv"),
    ("ppt/", "is a PowerPoint presentation (pptx); save it as pdf"),
    ("content.xml", "is an OpenDocument file; save it as docx or pdf"),
    ("META-INF/container.xml", "is an e-book (epub); convert it to html or pdf"),
)


def parse_docx(path: Path, *, fallback_title: str) -> ParsedDocument:
    """The document at `path`; its title is its properties', else its title paragraph's or first heading's.

    Raises `IngestError` when it is another kind of zip, damaged, protected, or unpacks to too much.
    """
    _check_package(path)
    try:
        document = docx.Document(str(path))
        reader = _Reader()
        for block in document.iter_inner_content():
            reader.take(block)
        reader.end_list()
        title = _title(document, reader)
    except _DAMAGED:
        raise IngestError("is damaged: it cannot be opened as a Word document") from None
    if not reader.blocks:
        raise IngestError("holds no text")
    return ParsedDocument(
        id=None, title=title or fallback_title, blocks=tuple(reader.blocks), links=tuple(reader.links)
    )


def _check_package(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as package:
            parts = package.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        raise IngestError("is damaged: it cannot be opened as a Word document (docx)") from None
    names = {part.filename for part in parts}
    if "word/document.xml" not in names:
        for prefix, line in _OTHER_ZIPS:
            if any(name.startswith(prefix) for name in names):
                raise IngestError(line)
        raise IngestError("is a zip archive, not a Word document; unpack it and ingest the folder")
    # What zipfile unpacks never exceeds the declared sizes, so they can be trusted as a bound.
    unpacked = sum(part.file_size for part in parts)
    if unpacked > MAX_UNPACKED_BYTES or len(parts) > _MAX_PARTS:
        limit = MAX_UNPACKED_BYTES // 2**20
        raise IngestError(
            f"would unpack to {unpacked / 2**20:,.0f} MiB in {len(parts):,} parts; at most {limit} MiB are read"
        )
    if any(part.flag_bits & 1 for part in parts):
        raise IngestError("is a password-protected archive; remove the password and ingest it again")


class _Reader:
    """Turns paragraphs and tables into blocks; neighbouring list paragraphs become one list."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.links: list[Link] = []
        self.title: str | None = None
        self._items: list[str] = []
        self._styles: dict[str | None, str] = {}

    def take(self, block: Paragraph | Table) -> None:
        if isinstance(block, Table):
            self.end_list()
            self._table(block)
        else:
            self._paragraph(block)

    def end_list(self) -> None:
        if self._items:
            self.blocks.append(Block(kind="list", text="\n".join(self._items)))
            self._items.clear()

    def _paragraph(self, paragraph: Paragraph) -> None:
        text = _text(paragraph)
        if not text:
            return
        self._collect_links(paragraph)
        style = self._style(paragraph)
        if style == "Title":
            self.end_list()
            self.title = self.title or text
            self.blocks.append(Block(kind="heading", text=" ".join(text.split()), level=1))
        elif level := _heading_level(paragraph, style):
            self.end_list()
            self.blocks.append(Block(kind="heading", text=" ".join(text.split()), level=level))
        elif (depth := _list_depth(paragraph, style)) is not None:
            self._items.append("  " * depth + "- " + " ".join(text.split()))
        else:
            self.end_list()
            self.blocks.append(Block(kind="text", text=text))

    def _style(self, paragraph: Paragraph) -> str:
        """The name of its style; python-docx searches all styles for each paragraph, nine tenths of the time spent."""
        key = paragraph._p.style  # noqa: SLF001 - the id, which costs nothing
        if key not in self._styles:
            self._styles[key] = (paragraph.style.name or "") if paragraph.style is not None else ""
        return self._styles[key]

    def _table(self, table: Table) -> None:
        rows: list[list[str]] = []
        for row in table.rows:
            cells: list[str] = []
            previous = None
            for cell in row.cells:
                if cell._tc is previous:  # noqa: SLF001 - a merged cell is handed out once per column it spans
                    cells.append("")
                    continue
                previous = cell._tc  # noqa: SLF001 - likewise
                cells.append(" ".join(_cell_text(cell.iter_inner_content())))
                for paragraph in cell.paragraphs:
                    self._collect_links(paragraph)
            if any(cells):
                rows.append(cells)
        if text := pipe_table(rows):
            self.blocks.append(Block(kind="table", text=text))

    def _collect_links(self, paragraph: Paragraph) -> None:
        for link in paragraph.hyperlinks:
            target, words = _address(link), " ".join(link.text.split())
            if target and words:
                self.links.append(Link(text=words[:300], target=target[:2000]))


def _address(link: Hyperlink) -> str:
    try:
        return link.address
    except KeyError:  # the relationship it names is not in the package
        return ""


def _inline(link: Hyperlink) -> str:
    target = _address(link)
    if not target or not link.text.strip() or any(bracket in link.text for bracket in "[]"):
        return link.text
    return f"[{link.text}]({quote(target, safe=SAFE_IN_LINKS)})"


def _text(paragraph: Paragraph) -> str:
    """The paragraph's words; its links as Markdown, so that the sentence they stand in is known to hold them."""
    words = paragraph.text
    if paragraph.hyperlinks:
        words = "".join(
            _inline(part) if isinstance(part, Hyperlink) else part.text for part in paragraph.iter_inner_content()
        )
    lines = (" ".join(line.split()) for line in unicodedata.normalize("NFC", words).split("\n"))
    return "\n".join(line for line in lines if line)


def _cell_text(content: Iterator[Paragraph | Table]) -> Iterator[str]:
    for block in content:
        if isinstance(block, Paragraph):
            if text := _text(block):
                yield text
        else:
            for row in block.rows:
                for cell in row.cells:
                    yield from _cell_text(cell.iter_inner_content())


def _heading_level(paragraph: Paragraph, style: str) -> int | None:
    """By the style's name (python-docx gives built-in names in English), else by an outline level of its own."""
    if found := _HEADING.match(style):
        return min(6, max(1, int(found[1])))
    levels = paragraph._p.xpath("./w:pPr/w:outlineLvl/@w:val")  # noqa: SLF001 - python-docx has no name for it
    return int(levels[0]) + 1 if levels and str(levels[0]).isdigit() and int(levels[0]) < 6 else None


def _list_depth(paragraph: Paragraph, style: str) -> int | None:
    depths = paragraph._p.xpath("./w:pPr/w:numPr/w:ilvl/@w:val")  # noqa: SLF001 - python-docx has no name for it
    if depths and str(depths[0]).isdigit():
        return min(8, int(depths[0]))
    if style.startswith("List"):
        last = style[-1]
        return int(last) - 1 if last in "23456789" else 0
    return None


def _title(document: Document, reader: _Reader) -> str | None:
    declared = " ".join((document.core_properties.title or "").split())
    first = next((block.text for block in reader.blocks if block.kind == "heading"), None)
    # "Word Document" is what Word's own templates are called.
    return reader.title or (declared if len(declared) >= 3 and declared != "Word Document" else None) or first
