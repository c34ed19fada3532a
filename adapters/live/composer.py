"""Which messages a text makes: heals the growing end, seals parts that are full, sets the footer below the last one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic

from adapters.live.cutting import cut, split
from adapters.live.markdown import heal
from adapters.live.surface import Part, Renderer, S
from adapters.ports import Final, SourceLink


@dataclass(frozen=True, slots=True, kw_only=True)
class Target(Generic[S]):
    """What one message should show."""

    screen: S
    upto: int
    """How many characters of the answer stand in this message and those before it."""
    plain: Callable[[], S]
    """The same without formatting."""


class Composer(Generic[S]):
    """Keeps the parts of one answer that are sealed; everything else follows from the text."""

    def __init__(self, renderer: Renderer[S]) -> None:
        self.sources: tuple[SourceLink, ...] = ()
        self._renderer = renderer
        self._pieces: list[str] = []
        self._sealed: list[Target[S]] = []
        self._offset = 0
        self._reopen = ""
        self._rendered: tuple[Part, S] | None = None
        self._known: tuple[object, list[Target[S]]] | None = None

    def preview(self, text: str) -> list[Target[S]]:
        """The messages for a text that still grows; empty while there is not a word to show."""
        key = (len(text), self.sources)
        if self._known is None or self._known[0] != key:
            self._known = (key, self._compose(text))
        return self._known[1]

    def final(self, text: str, final: Final) -> list[Target[S]]:
        """The messages for the whole answer, of which `text` had been shown or was on its way."""
        if self._known is None or self._known[0] != final:
            self._known = (final, self._compose_final(text, final))
        return self._known[1]

    def _compose(self, text: str) -> list[Target[S]]:
        tail = self._reopen + text[self._offset :]
        while not self._fits_growing((healed := heal(tail)).markdown):
            place = cut(tail, self._fits_growing)
            self._offset += place.consumed - len(self._reopen)
            self._pieces.append(place.head)
            self._sealed.append(self._target(Part(markdown=place.head, sources=self.sources), self._offset))
            self._reopen = place.reopen if len(place.reopen) < place.consumed else ""
            tail = self._reopen + text[self._offset :]
        part = Part(markdown=healed.markdown, is_growing=True, sources=self.sources)
        growing = self._target(part, self._offset + max(0, healed.upto - len(self._reopen)))
        return [*self._sealed, growing] if growing.screen.has_words else list(self._sealed)

    def _compose_final(self, text: str, final: Final) -> list[Target[S]]:
        if final.text.startswith(text):
            pieces = [*self._pieces, *split(self._reopen + final.text[self._offset :], self._fits_text)]
        else:
            pieces = split(final.text, self._fits_text)
        sources = (*final.sources, *self.sources)
        parts = [Part(markdown=piece, sources=sources) for piece in pieces]
        last = replace(parts[-1], footer=final)
        if self._fits(last):
            parts[-1] = last
        else:
            parts.append(Part(markdown="", sources=sources, footer=final))
        # The length is only known to be on the screen with the last part; the sealed ones keep what they stood for.
        ends = [sealed.upto for sealed in self._sealed]
        targets = [
            self._target(part, ends[index] if index < min(len(ends), len(parts) - 1) else 0)
            for index, part in enumerate(parts)
        ]
        return [target for target in targets if not target.screen.is_blank]

    def _target(self, part: Part, upto: int) -> Target[S]:
        return Target(screen=self._render(part), upto=upto, plain=lambda: self._renderer.plain(part))

    def _render(self, part: Part) -> S:
        """Render, once for the question whether it fits and for showing it."""
        if self._rendered is None or self._rendered[0] != part:
            self._rendered = (part, self._renderer.render(part))
        return self._rendered[1]

    def _fits(self, part: Part) -> bool:
        return self._render(part).fits

    def _fits_growing(self, markdown: str) -> bool:
        return self._fits(Part(markdown=markdown, is_growing=True, sources=self.sources))

    def _fits_text(self, markdown: str) -> bool:
        return self._fits(Part(markdown=markdown))
