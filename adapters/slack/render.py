"""Markdown as it is, made harmless: nobody is pinged, and nothing but the sources can be clicked. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from adapters.live.surface import Part
from adapters.ports import Final
from adapters.slack.limits import MAX_CHARS
from adapters.slack.words import Words

_CODE = re.compile(r"(```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]*`)", re.DOTALL)
_SPECIAL = re.compile(r"<(?=[!@#])")
_MASS = re.compile(r"@(?=(?:channel|here|everyone)\b)", re.IGNORECASE)
_LINK = re.compile(r"!?\[(?P<label>[^\[\]]*)\]\((?P<url>[^\s()]*(?:\([^\s()]*\)[^\s()]*)*)[^()]*\)")
_ADDRESS = re.compile(r"<?(?P<url>(?:https?://|mailto:|tel:|slack://|www\.)[^\s<>|)]+)(?:\|[^<>]*)?>?", re.IGNORECASE)
_UNSEEN = "\u200b"
"""A space without width between the two characters that would make a mention."""


@dataclass(frozen=True, slots=True)
class SlackScreen:
    """One message as it is sent."""

    markdown: str
    is_plain: bool = False

    @property
    def fits(self) -> bool:
        """Within what an edit may hold."""
        return len(self.markdown) <= MAX_CHARS

    @property
    def has_words(self) -> bool:
        """Whether a person would see a letter or a digit."""
        return any(char.isalnum() for char in self.markdown)

    @property
    def is_blank(self) -> bool:
        """Whether Slack would say `no_text`."""
        return not self.markdown.strip()


@dataclass(frozen=True, slots=True)
class SlackRenderer:
    """Renders the parts of one answer.

    Args:
        words: The interface language.
    """

    words: Words

    def render(self, part: Part) -> SlackScreen:
        """Markdown; links only to the sources."""
        allowed = {source.url for source in part.sources if source.url}
        return self._screen(part, harmless(part.markdown.strip(), allowed), is_plain=False)

    def plain(self, part: Part) -> SlackScreen:
        """The Markdown as characters."""
        return self._screen(part, without_mentions(part.markdown.strip()), is_plain=True)

    def _screen(self, part: Part, text: str, *, is_plain: bool) -> SlackScreen:
        if part.footer is not None and (below := self._footer(part.footer)):
            text = f"{text}\n\n{below}" if text else below
        return SlackScreen(text, is_plain=is_plain)

    def _footer(self, final: Final) -> str:
        lines = [final.note, ""] if final.note else []
        if final.sources:
            lines.append(f"**{self.words.sources}**")
        for source in final.sources:
            title = " ".join(source.title.split()) or source.document
            title = re.sub(r"([\\`*_\[\]~|])", r"\\\1", without_mentions(title[:120]))
            page = f" ({self.words.page} {source.page})" if source.page is not None else ""
            is_link = source.url is not None and source.url.startswith(("http://", "https://"))
            lines.append(f"{source.n}. [{title}]({source.url}){page}" if is_link else f"{source.n}. {title}{page}")
        return "\n".join(lines).strip()


def harmless(markdown: str, allowed_urls: Collection[str]) -> str:
    """Without mentions; a link that is not among the allowed ones is shown as code, so that it cannot be clicked."""
    pieces = _CODE.split(markdown)
    # Every second piece is code: nothing in it can be clicked, but Slack reads mentions anywhere.
    shown = [piece if n % 2 else _without_links(piece, allowed_urls) for n, piece in enumerate(pieces)]
    return without_mentions("".join(shown))


def _without_links(text: str, allowed: Collection[str]) -> str:
    kept: list[str] = []

    def keep(link: str) -> str:
        kept.append(link)
        return f"\ue000{len(kept) - 1}\ue001"

    def labelled(match: re.Match[str]) -> str:
        if match["url"] in allowed and not match[0].startswith("!"):
            return keep(match[0])
        return f"{match['label']} {keep(_as_code(match['url']))}".strip() if match["url"] else match["label"]

    def bare(match: re.Match[str]) -> str:
        url = match["url"].rstrip(".,;:!?'\"*_")
        rest = match[0][match[0].index(url) + len(url) :]
        return match[0] if url in allowed else _as_code(url) + rest.rstrip(">")

    text = _ADDRESS.sub(bare, _LINK.sub(labelled, text.replace("\ue000", "").replace("\ue001", "")))
    return re.sub("\ue000(\\d+)\ue001", lambda match: kept[int(match[1])], text)


def _as_code(url: str) -> str:
    return "`" + url.replace("`", "") + "`"


def without_mentions(text: str) -> str:
    """Nobody is notified: neither a channel, nor a group, nor a person."""
    return _MASS.sub("@" + _UNSEEN, _SPECIAL.sub("<" + _UNSEEN, text))
