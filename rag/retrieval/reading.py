"""How much of a question the text of a chunk holds, word by word.

An index says whether a chunk has a word somewhere. That is not enough to tell an answer from a coincidence: a
Vietnamese word is two syllables, each of which stands in half of all chunks; a Chinese question is cut into pairs of
characters, half of which straddle two words and stand nowhere; a German word comes in five forms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rag.analyse import analyse
from rag.retrieval.question import Asked

NEAR = 8
"""Terms. Words that stand side by side in the question are together in a text if no further apart than this."""
OTHER_FORM = 0.8
"""Credit for a word that the text has with another ending."""
_SHORTEST_STEM = 4
_SHORTEST_INSIDE = 5
"""Letters of a stem that may also stand inside a longer word (Versicherungsbeitrag)."""
_ALPHABETS_WITHOUT_SPACES = frozenset({"th", "lo", "km", "my"})
_RUN = 5
"""Letters: about a word of these scripts."""
_STEM_SHARE = 0.7
"""Of a word's letters that another form must begin with. English is stemmed already."""

Credits = NDArray[np.float64]


def credits_of(asked: Asked, text: str, apart: float) -> Credits:
    """For each of the question's terms how surely `text` holds it, 0 to 1.

    `apart` is the credit of a word that is there without its neighbours in the question.
    """
    analysed = analyse(text)
    terms = analysed.marked if asked.column == "marked" else analysed.folded
    wanted = {term: place for place, term in enumerate(asked.terms)}
    where: dict[int, list[int]] = {}
    for position, term in enumerate(terms):
        if term in wanted:
            where.setdefault(wanted[term], []).append(position)
    held = np.zeros(len(asked.terms))
    held[list(where)] = 1.0
    if asked.language != "en":
        _add_other_forms(held, asked, terms)
    if asked.language in _ALPHABETS_WITHOUT_SPACES:
        _count_runs(held, asked, text)
    else:
        _share_among_characters(held, asked.chained)
    if apart < 1:
        alone = {place for pair in asked.pairs for place in pair} - _together(asked.pairs, where)
        held[list(alone)] *= apart
    return held


def _add_other_forms(held: Credits, asked: Asked, terms: Sequence[str]) -> None:
    missing = [
        (place, term)
        for place, term in enumerate(asked.terms)
        if not held[place] and asked.content[place] and len(term) > _SHORTEST_STEM and term.isalpha()
    ]
    if not missing:
        return
    joined = " " + " ".join(terms)
    for place, term in missing:
        stem = term[: max(_SHORTEST_STEM, math.ceil(_STEM_SHARE * len(term)))]
        if f" {stem}" in joined or (len(stem) >= _SHORTEST_INSIDE and stem in joined):
            held[place] = OTHER_FORM


def _share_among_characters(held: Credits, chained: Sequence[tuple[int, int]]) -> None:
    """A character counts as held if either of its pairs is; a pair is worth what its two characters are."""
    if not chained:
        return
    before = {right: left for left, right in chained}
    after = dict(chained)
    whole = held.copy()
    for place in before.keys() | after.keys():
        first = max(whole[place], whole[before[place]] if place in before else 0.0)
        second = max(whole[place], whole[after[place]] if place in after else 0.0)
        held[place] = (first + second) / 2


def _count_runs(held: Credits, asked: Asked, text: str) -> None:
    """Pairs of letters stand everywhere: they count where a run of `_RUN` letters of the question does."""
    before = {right: left for left, right in asked.chained}
    for place in {place for pair in asked.chained for place in pair}:
        held[place] = 0.0
    for start in range(len(asked.chained)):
        links = asked.chained[start : start + _RUN - 2]
        if len(links) < _RUN - 2 or any(before.get(right) != left for left, right in links):
            continue
        run = [links[0][0], *(right for _, right in links)]
        letters = asked.terms[run[0]] + "".join(asked.terms[place][1] for place in run[1:])
        if letters in text:
            held[run] = 1.0


def _together(pairs: Sequence[tuple[int, int]], where: dict[int, list[int]]) -> set[int]:
    found: set[int] = set()
    for left, right in pairs:
        ours, theirs = where.get(left), where.get(right)
        if ours and theirs and any(abs(a - b) <= NEAR for a in ours for b in theirs):
            found.update((left, right))
    return found
