"""Over-long Markdown cut into messages, each of them complete in itself: pure functions of the text."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from adapters.live.markdown import heal, open_fence


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """An over-long text in two."""

    head: str
    """Complete in itself, and fits."""
    consumed: int
    """How many characters of the source the head stands for."""
    reopen: str
    """What has to stand before the rest."""


def cut(text: str, fits: Callable[[str], bool]) -> Cut:
    """Cut a text that does not fit where it disturbs least: between paragraphs, lines, words.

    Never inside a link or a table row; an open fence, emphasis or table is closed and opened again behind the cut.
    The place depends only on what stands before it, so that a growing text is always cut at the same places.
    """
    best = _place(text, fits)
    healed = heal(text[:best])
    if not healed.upto:  # nothing can be shown in a sensible form: cut hard rather than never
        best = max(1, _last_good(list(range(1, len(text))), lambda at: fits(text[:at])))
        return Cut(head=text[:best], consumed=best, reopen="")
    consumed = healed.upto
    if not healed.reopen.endswith("\n"):
        consumed = len(text) - len(text[consumed:].lstrip("\n "))
    elif text[consumed : consumed + 1] == "\n":
        consumed += 1
    return Cut(head=healed.markdown, consumed=consumed, reopen=healed.reopen)


def _place(text: str, fits: Callable[[str], bool]) -> int:
    """Where to cut; 0 if no beginning of the text can be shown within the limit."""

    def is_good(at: int) -> bool:
        return fits(heal(text[:at]).markdown)

    lines = [match.end() for match in re.finditer(r"\n", text)]
    best = _last_good(lines, is_good)
    # A line's beginning is a good place unless less than half of the message would be used.
    if heal(text[:best]).upto and not (2 * best < len(text) and is_good(2 * best)):
        paragraphs = [at for at in lines if best * 0.6 < at <= best and text[at : at + 1] == "\n"]
        return next((at for at in reversed(paragraphs) if open_fence(text[:at]) is None), best)
    for places in ([match.end() for match in re.finditer(r"\s+", text)], list(range(1, len(text)))):
        best = _last_good(places, is_good)
        if heal(text[:best]).upto:
            return best
    return 0


def _last_good(places: list[int], is_good: Callable[[int], bool]) -> int:
    """The last of the ascending places before goodness ends; 0 if none is good.

    Gallops before it halves: what fits is short, and asking about a long beginning costs rendering it.
    """
    low, high = 0, 1
    while high <= len(places) and is_good(places[high - 1]):
        low, high = high, 2 * high
    high = min(high - 1, len(places))
    while low < high:
        middle = (low + high + 1) // 2
        if is_good(places[middle - 1]):
            low = middle
        else:
            high = middle - 1
    return places[low - 1] if low else 0


def split(text: str, fits: Callable[[str], bool]) -> list[str]:
    """The whole text as pieces that fit, each complete in itself. A text without words is one empty piece."""
    pieces: list[str] = []
    rest = text.rstrip()
    while not fits(rest):
        place = cut(rest, fits)
        pieces.append(place.head)
        shorter = place.reopen + rest[place.consumed :]
        rest = shorter if len(shorter) < len(rest) else rest[place.consumed :]
    return [*pieces, rest]
