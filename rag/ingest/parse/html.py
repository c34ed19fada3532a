"""HTML to blocks: what a reader of the page would read, in order; scripts, navigation and hidden text left out."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from selectolax.lexbor import LexborHTMLParser

from rag.errors import IngestError
from rag.ingest.parse.document import SAFE_IN_LINKS, Block, BlockKind, Link, ParsedDocument
from rag.ingest.parse.tables import pipe_table

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_DROPPED = (
    "script, style, noscript, template, svg, canvas, iframe, object, embed, form, button, input, select, textarea, "
    "nav, [hidden], [aria-hidden='true' i], [role='navigation' i], [role='search' i], dialog:not([open])"
)
_HIDDEN_STYLE = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0(?:[;\s]|px|\Z)", re.IGNORECASE
)
_HEADINGS = {"h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6}
_BLOCKS = frozenset(_HEADINGS) | {
    *("address", "article", "aside", "blockquote", "body", "center", "dd", "details", "div", "dl", "dt", "fieldset"),
    *("figcaption", "figure", "footer", "header", "hr", "html", "li", "main", "ol", "p", "pre", "section", "summary"),
    *("table", "ul"),
}
_BLOCK_SELECTOR = ", ".join(sorted(_BLOCKS))
_BRACKETS = frozenset("[]")
_SPACE = re.compile(r"[^\S\u00a0]+|\u00a0+")


def parse_html(text: str, *, fallback_title: str) -> ParsedDocument:
    """The document in `text`; its title is the first h1's, else <title>'s, else `fallback_title`.

    Raises `IngestError` when nothing readable is left.
    """
    tree = LexborHTMLParser(text)
    titles = [node.text() for node in tree.css("h1, title") if node.tag == "h1"] + [
        node.text() for node in tree.css("head > title")
    ]
    canonical = tree.css_first("link[rel='canonical' i][href^='http' i]")
    url = canonical.attributes.get("href") if canonical is not None else None
    for node in tree.css(_DROPPED):
        node.decompose()
    for node in tree.css("[style]"):
        if _HIDDEN_STYLE.search(node.attributes.get("style") or ""):
            node.decompose()
    page = _Page()
    if tree.body is not None:
        _read(tree.body, page)
    page.end()
    if not page.blocks:
        raise IngestError("holds no readable text once scripts, navigation and hidden parts are left out")
    title = next((found for raw in titles if (found := _squeezed(raw))), fallback_title)
    return ParsedDocument(id=None, title=title[:300], blocks=tuple(page.blocks), url=url, links=tuple(page.links))


@dataclass(slots=True)
class _Page:
    """What has been read so far, and the inline text of the block under way."""

    blocks: list[Block] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    inline: list[str] = field(default_factory=list)
    items: list[str] = field(default_factory=list)
    list_depth: int = 0
    item_mark: str = ""

    def end(self, kind: BlockKind = "text", level: int = 0) -> None:
        """Close the block under way, if it has any text."""
        text = _squeezed("".join(self.inline))
        self.inline.clear()
        if not text:
            return
        if self.list_depth and kind == "text":
            self.items.append("  " * (self.list_depth - 1) + (self.item_mark or "  ") + text.replace("\n", " "))
            self.item_mark = ""
            return
        self.end_list()
        self.blocks.append(Block(kind=kind, text=text.replace("\n", " ") if kind == "heading" else text, level=level))

    def end_list(self) -> None:
        if self.items:
            self.blocks.append(Block(kind="list", text="\n".join(self.items)))
            self.items.clear()


def _read(body: LexborNode, page: _Page) -> None:
    """Walk with a stack of our own: a page of ten thousand nested <div> must not meet Python's recursion limit."""
    stack: list[tuple[LexborNode, bool]] = [(body, False)]
    while stack:
        node, is_end = stack.pop()
        if is_end:
            _leave(node, page)
        elif node.is_text_node:
            page.inline.append(node.text_content or "")
        elif node.tag == "br":
            page.inline.append("\n")
        elif node.tag == "table" and not _is_layout(node):
            page.end()
            _table(node, page)
        elif node.tag == "pre":
            page.end()
            _code(node, page)
        elif node.tag == "a" and node.css_first(_BLOCK_SELECTOR) is None:
            page.inline.append(_link(node, page))
        else:
            _enter(node, page)
            stack.append((node, True))
            child = node.last_child
            while child is not None:
                if child.is_text_node or child.is_element_node:
                    stack.append((child, False))
                child = child.prev


def _enter(node: LexborNode, page: _Page) -> None:
    tag = node.tag or ""
    if tag in _BLOCKS:
        page.end()
    if tag in {"ul", "ol"}:
        page.list_depth += 1
    elif tag == "li":
        page.item_mark = "- "
    elif tag in _HEADINGS and page.list_depth == 0:
        page.end_list()


def _leave(node: LexborNode, page: _Page) -> None:
    tag = node.tag or ""
    if tag in _HEADINGS:
        page.end("heading", _HEADINGS[tag])
    elif tag in _BLOCKS:
        page.end()
    elif tag in {"td", "th"}:  # of a layout table
        page.inline.append("\n")
    if tag in {"ul", "ol"}:
        page.list_depth -= 1
        if page.list_depth == 0:
            page.end_list()


def _link(node: LexborNode, page: _Page) -> str:
    """Keep the link, and give it as Markdown, so that the sentence it stands in is known to hold it."""
    words = _squeezed(node.text()).replace("\n", " ")
    target = (node.attributes.get("href") or "").strip()
    if not words or not target or target.lower().startswith(("javascript:", "data:", "#")):
        return words
    target = quote(target[:2000], safe=SAFE_IN_LINKS)
    page.links.append(Link(text=words[:300], target=target))
    return f"[{words}]({target})" if not _BRACKETS.intersection(words) else words


def _is_layout(table: LexborNode) -> bool:
    """A table that holds other tables, headings or a single column is there for looks."""
    if table.css_first("table table, h1, h2, h3, h4") is not None:
        return True
    return all(len(row.css("td, th")) <= 1 for row in table.css("tr"))


def _table(node: LexborNode, page: _Page) -> None:
    caption = node.css_first("caption")
    if caption is not None and (words := _squeezed(caption.text())):
        page.end_list()
        page.blocks.append(Block(kind="text", text=words))
    for anchor in node.css("a[href]"):
        anchor.replace_with(_link(anchor, page))
    rows = [[_squeezed(cell.text(separator=" ")) for cell in row.css("td, th")] for row in node.css("tr")]
    if text := pipe_table([row for row in rows if any(row)]):
        page.end_list()
        page.blocks.append(Block(kind="table", text=text))


def _code(node: LexborNode, page: _Page) -> None:
    text = node.text().strip("\n").rstrip()
    if text:
        page.end_list()
        page.blocks.append(Block(kind="code", text=text))


def _squeezed(text: str) -> str:
    """Runs of spaces become one; the line breaks that <br> made stay."""
    lines = (_SPACE.sub(" ", line).strip() for line in text.split("\n"))
    return "\n".join(line for line in lines if line)
