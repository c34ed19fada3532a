"""An answer while it is being written: what of it may be shown, and what it has cost."""

from __future__ import annotations

from dataclasses import dataclass, field

from rag.generate.citations import CitationChecker
from rag.generate.prompt import is_refusal
from rag.ports import Token
from rag.types import Passage, Usage

_READ_AFTER_REFUSAL = 16
"""Pieces of the stream read after the sign for no answer, to learn what the call cost."""


@dataclass(slots=True, kw_only=True)
class Writing:
    """One answer."""

    passages: tuple[Passage, ...]
    usage: Usage
    before: Usage
    """What was spent before the writing began."""
    checker: CitationChecker = field(init=False)
    text: str = ""
    first_ms: float | None = None
    is_refused: bool | None = None
    """None until the beginning of the answer has decided it."""
    begun: str = ""
    after_refusal: int = 0

    def __post_init__(self) -> None:
        self.checker = CitationChecker(self.passages)

    @property
    def spent(self) -> Usage:
        return self.usage.after(self.before)

    @property
    def is_done_refusing(self) -> bool:
        return self.after_refusal > _READ_AFTER_REFUSAL

    def begin(self, piece: Token | Usage, *, after_ms: float) -> None:
        """Take note of what comes before the first token, and of when that comes."""
        if isinstance(piece, Usage):
            self.usage = piece
        else:
            self.first_ms = after_ms

    def take(self, token: Token) -> str:
        """What may be shown after this token."""
        if self.is_refused:
            self.after_refusal += 1
            return ""
        if self.is_refused is None:
            self.begun += token.text
            self.is_refused = is_refusal(self.begun)
            return self._shown(self.checker.feed(self.begun)) if self.is_refused is False else ""
        return self._shown(self.checker.feed(token.text))

    def finish(self, *, is_cut: bool) -> str:
        """What may be shown now that nothing more comes; `is_cut`: more was to come."""
        if self.is_refused is None and self.begun.strip():
            if is_cut:
                # Half a sign for no answer tells the reader nothing.
                return ""
            # The line break ends the word: what is no whole sign is text.
            self.is_refused = bool(is_refusal(self.begun + "\n"))
            if not self.is_refused:
                return self._shown(self.checker.feed(self.begun) + self.checker.finish())
        return "" if self.is_refused else self._shown(self.checker.finish())

    def _shown(self, checked: str) -> str:
        if not self.text:
            checked = checked.lstrip()
        self.text += checked
        return checked
