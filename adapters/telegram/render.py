"""Markdown to Telegram text and entities; the source list and the buttons below it. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from telegramify_markdown import MessageEntity, RenderConfig, convert, utf16_len

from adapters.live.surface import Part
from adapters.ports import Final, SourceLink
from adapters.telegram.keyboards import Button, Rows, finished, growing, is_link
from adapters.telegram.limits import MAX_ENTITIES, MAX_UTF16
from adapters.telegram.neutral import broken, disjoint_code, without_live_words
from adapters.telegram.words import Words

# The converter reads `<x>` as HTML and drops it, `&lt;` as a character, `||` as a spoiler and `$` as mathematics;
# people mean what they write.
# Stand-ins of the same UTF-16 length keep every offset, in code as well, and are replaced in the result.
_LITERAL = {"<": "\ue000", "|": "\ue001", "$": "\ue002", "&": "\ue003"}
_FENCE = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])?[ \t]*(`{3,}|~{3,})")


def _config() -> RenderConfig:
    config = RenderConfig.isolated()
    symbol = config.markdown_symbol
    symbol.heading_level_1 = symbol.heading_level_2 = symbol.heading_level_3 = symbol.heading_level_4 = ""
    symbol.image = ""
    symbol.unordered_list_item = "•"
    return config


_CONFIG = _config()


@dataclass(frozen=True, slots=True)
class TelegramScreen:
    """One message as Telegram shows it."""

    text: str
    entities: tuple[MessageEntity, ...]
    rows: Rows = ()
    is_growing: bool = False
    """More will come in this very message."""

    @property
    def buttons(self) -> tuple[Button, ...]:
        """All of them, row after row."""
        return tuple(button for row in self.rows for button in row)

    @property
    def fits(self) -> bool:
        """Within 4096 UTF-16 units and 100 entities."""
        return utf16_len(self.text) <= MAX_UTF16 and len(self.entities) <= MAX_ENTITIES

    @property
    def has_words(self) -> bool:
        """Whether a person would see a letter or a digit."""
        return any(char.isalnum() for char in self.text)

    @property
    def is_blank(self) -> bool:
        """Whether the server would say "message text is empty"."""
        return not self.text.strip()


@dataclass(frozen=True, slots=True)
class TelegramRenderer:
    """Renders the parts of one answer.

    Args:
        words: The interface language.
        asker: The id of who asked; travels in the buttons.
    """

    words: Words
    asker: str

    def render(self, part: Part) -> TelegramScreen:
        """Formatted; links only to the sources."""
        allowed = {source.url for source in part.sources if source.url}
        text, entities = to_entities(part.markdown, allowed)
        return self._screen(part, text, entities)

    def plain(self, part: Part) -> TelegramScreen:
        """The Markdown as it is. There are no entities that could keep what it holds from becoming clickable."""
        screen = self._screen(part, part.markdown.strip(), [])
        return TelegramScreen(broken(screen.text), (), screen.rows, is_growing=part.is_growing)

    def _screen(self, part: Part, text: str, entities: list[MessageEntity]) -> TelegramScreen:
        if part.footer is not None:
            below, links = self._footer(part.footer)
            if below:
                text = f"{text}\n\n" if text else ""
                shift = utf16_len(text)
                entities += [link.copy_with(offset=link.offset + shift) for link in links]
                text += below
        return TelegramScreen(text, tuple(entities), self._rows(part), is_growing=part.is_growing)

    def _rows(self, part: Part) -> Rows:
        if part.is_growing:
            return growing(self.words, self.asker)
        return finished(part.footer, self.words, self.asker) if part.footer is not None else ()

    def _footer(self, final: Final) -> tuple[str, list[MessageEntity]]:
        text, entities = final.note or "", list[MessageEntity]()
        if final.sources:
            text += "\n\n" if text else ""
            listed, marks = source_list(final.sources, self.words)
            entities += [mark.copy_with(offset=mark.offset + utf16_len(text)) for mark in marks]
            text += listed
        return text, without_live_words(text, entities, ())


def source_list(sources: Sequence[SourceLink], words: Words) -> tuple[str, list[MessageEntity]]:
    """The numbered sources; those with an address are links."""
    text, entities = words.sources, [MessageEntity("bold", 0, utf16_len(words.sources))]
    for source in sources:
        text += f"\n{source.n}. "
        title = _title(source, words)
        if is_link(source.url):
            entities.append(MessageEntity("text_link", utf16_len(text), utf16_len(title), url=source.url))
        text += title
    return text, entities


def _title(source: SourceLink, words: Words) -> str:
    title = " ".join(source.title.split()) or source.document
    if len(title) > 120:
        title = title[:119] + "…"
    return f"{title} ({words.page} {source.page})" if source.page is not None else title


def to_entities(markdown: str, allowed_urls: Collection[str]) -> tuple[str, list[MessageEntity]]:
    """Text and entities of a Markdown text, as written: no HTML, no spoilers, no mathematics, no foreign links."""
    text, entities = convert(_prepared(markdown), config=_CONFIG)
    text = _literal(text)
    text, entities = _trimmed(*_unglued(text, entities))
    neutral: list[MessageEntity] = []
    for entity in entities:
        if entity.url is not None:
            entity.url = _literal(entity.url)
        if entity.language is not None:
            entity.language = _literal(entity.language)
        if entity.type == "custom_emoji":
            continue
        if entity.type == "text_link" and entity.url not in allowed_urls:
            neutral.append(MessageEntity("code", entity.offset, entity.length))
        else:
            neutral.append(entity)
    return text, without_live_words(text, disjoint_code(neutral), allowed_urls)


def _literal(text: str) -> str:
    """The characters that stand-ins stood for.

    A chain of `replace` is several times as fast as `translate` on long texts beyond ASCII.
    """
    for char, stand_in in _LITERAL.items():
        text = text.replace(stand_in, char)
    return text


def _escaped(markdown: str) -> str:
    for char in "<$&":
        markdown = markdown.replace(char, _LITERAL[char])
    return markdown


def _prepared(markdown: str) -> str:
    """The text with stand-ins for literal characters. In a table, `||` is an empty cell."""
    lines: list[str] = []
    fence = ""
    for line in _escaped(markdown).split("\n"):
        mark = _FENCE.match(line)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence):
            fence = ""
        if not fence and line.lstrip().startswith("|"):
            lines.append(re.sub(r"\|(?=\|)", "| ", line))
        else:
            lines.append(line.replace("||", _LITERAL["|"] * 2))
    return "\n".join(lines)


def _unglued(text: str, entities: list[MessageEntity]) -> tuple[str, list[MessageEntity]]:
    """Code blocks on lines of their own: within a list the converter glues them to their neighbours."""
    for pre in [e for e in entities if e.type == "pre"]:
        for is_end in (False, True):
            at = pre.offset + pre.length if is_end else pre.offset
            encoded = text.encode("utf-16-le")
            before, after = encoded[: at * 2].decode("utf-16-le"), encoded[at * 2 :].decode("utf-16-le")
            if not before or not after or (after if is_end else before[::-1]).startswith("\n"):
                continue
            text = f"{before}\n{after}"
            for entity in entities:
                if entity.offset >= at:
                    entity.offset += 1
                elif entity.offset + entity.length > at:
                    entity.length += 1
    return text, entities


def _trimmed(text: str, entities: list[MessageEntity]) -> tuple[str, list[MessageEntity]]:
    """Without the white space at both ends, which the server would cut anyway."""
    left = utf16_len(text[: len(text) - len(text.lstrip())])
    text = text.strip()
    length = utf16_len(text)
    kept: list[MessageEntity] = []
    for entity in entities:
        begin, end = max(0, entity.offset - left), min(length, entity.offset + entity.length - left)
        if begin < end:
            kept.append(entity.copy_with(offset=begin, length=end - begin))
    return text, kept
