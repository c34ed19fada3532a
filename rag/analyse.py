"""Text to index terms: one function for documents and questions, in every language and both stores.

Two columns: `marked` keeps diacritics, `folded` drops them, so that Vietnamese is found precisely when typed with
marks and still found when typed without. No stop words: a term's rarity says how much it matters, in any language.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

import Stemmer  # type: ignore[import-not-found]  # ships no types

from rag.language import fold

# Indic, Thai, Lao, Tibetan, Burmese and Khmer vowel signs are no \w in Python's `re`, yet belong to their words.
_MARKS = r"\u0300-\u036f\u0900-\u0963\u0966-\u0df3\u0e00-\u0eff\u0f18-\u109f\u1780-\u17d3"
_CHARS = rf"[\w{_MARKS}]+"
WORD = re.compile(rf"{_CHARS}(?:[-./,:'’]{_CHARS})*")
"""A word with what may hold its parts together: hyphens, points in numbers, apostrophes, slashes.

To be used on text whose underscores have become blanks (`without_underscores`): one character class is
twice as fast as one that leaves them out.
"""

GAP = re.compile(rf"[^\w{_MARKS}]*")
"""What stands between two words."""

_UNSPACED = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af\u0e00-\u0eff\u1000-\u109f\u1780-\u17d3]+"
)
_PARTS = re.compile(_CHARS)
_GROUPED_NUMBER = re.compile(r"\d{1,3}(?:[.,]\d{3})+")
_DECIMAL = re.compile(r"\d+[.,]\d+")
_CODE = re.compile(r"(?=.*\d)(?=.*[^\W\d_])[\w]+(?:[-/.][\w]+)+")
_CAMEL = re.compile(r"[A-ZÀ-Þ]?[a-zß-ÿ]+|[A-Z]+(?![a-z])|\d+")
_POSSESSIVE = re.compile(r"['’][sS]$")
_IS_CAMEL = re.compile(r"[a-z][A-Z]|[A-Z]{2}[a-z]{2}")

# The same syllable is written two ways (hòa, hoà); a final oa, oe, uy takes its tone on the first vowel here.
_TONE_PLACES = {
    "oà": "òa", "oá": "óa", "oả": "ỏa", "oã": "õa", "oạ": "ọa",
    "oè": "òe", "oé": "óe", "oẻ": "ỏe", "oẽ": "õe", "oẹ": "ọe",
    "uỳ": "ùy", "uý": "úy", "uỷ": "ủy", "uỹ": "ũy", "uỵ": "ụy",
}  # fmt: skip

_ENGLISH = Stemmer.Stemmer("english", 0)
"""Without a cache of its own: whole pieces of text are remembered here."""


class Analysed(NamedTuple):
    """The terms of a text in order, repetitions kept; both columns are equally long.

    They are one and the same object where nothing differs.
    """

    marked: tuple[str, ...]
    folded: tuple[str, ...]


def without_underscores(text: str) -> str:
    """`text` in composed form with blanks for underscores, so that `WORD` fits; as long as the composed text."""
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    return text.replace("_", " ")


def analyse(text: str) -> Analysed:
    """The index terms of `text`."""
    text = without_underscores(text)
    if text.isascii():  # nothing to fold: half the work
        plain = tuple(chain.from_iterable(map(_PLAIN.__getitem__, text.split())))
        return Analysed(plain, plain)
    terms = list(map(_BOTH.__getitem__, text.split()))
    marked = tuple(chain.from_iterable([pair[0] for pair in terms]))
    folded = tuple(chain.from_iterable([pair[1] for pair in terms]))
    return Analysed(marked, marked if folded == marked else folded)


_PIECES_KEPT = 200_000
_LONGEST_KEPT = 40
"""Characters: a longer piece (a sentence in a script without spaces, an address) hardly comes back."""

_Pair = tuple[tuple[str, ...], tuple[str, ...]]


class _Both(dict[str, _Pair]):
    """The terms of what stands between two blanks, in both columns.

    No word holds a blank, so each piece can be looked up by itself, punctuation and all: a dictionary's lookup takes a
    tenth of the time that finding the words in it does, and most pieces were seen before.
    """

    def __missing__(self, piece: str) -> _Pair:
        pairs = [_terms(word) for word in WORD.findall(piece)]
        terms = tuple(chain.from_iterable([pair[0] for pair in pairs]))
        folded = tuple(chain.from_iterable([pair[1] for pair in pairs]))
        found = terms, terms if folded == terms else folded
        if len(piece) <= _LONGEST_KEPT:
            if len(self) >= _PIECES_KEPT:
                self.clear()
            self[piece] = found
        return found


class _Plain(dict[str, tuple[str, ...]]):
    """The same for pieces of ASCII, whose columns are equal."""

    def __missing__(self, piece: str) -> tuple[str, ...]:
        terms = _BOTH[piece][0]
        if len(piece) <= _LONGEST_KEPT:
            if len(self) >= _PIECES_KEPT:
                self.clear()
            self[piece] = terms
        return terms


_BOTH = _Both()
_PLAIN = _Plain()


@lru_cache(maxsize=50_000)
def _terms(word: str) -> _Pair:
    words = [part for part in _split(word) if fold(part)]  # a lone diacritic folds to nothing
    return tuple(_stem(w) for w in words), tuple(_stem(fold(w)) for w in words)


def _split(word: str) -> list[str]:
    """What a written word stands for: itself, its parts, or both where either may be asked for."""
    if _UNSPACED.search(word):
        return _pairs(word)
    word = _POSSESSIVE.sub("", word)
    if word[0].isdigit():
        number = _number(word)
        if number is not None:
            return [number]
    lower = unicodedata.normalize("NFKC", word).casefold()
    if _CODE.fullmatch(word):
        parts = _PARTS.findall(lower)
        return ["".join(parts), *parts]
    if _IS_CAMEL.search(word):
        return [*_PARTS.findall(lower), *(part.casefold() for part in _CAMEL.findall(word))]
    parts = _PARTS.findall(lower)
    if len(parts) > 1:
        # don't, l'eau: the letter beside an apostrophe says nothing.
        parts = [part for part in parts if len(part) > 1 or part.isdigit()] or parts
    return parts


def _number(word: str) -> str | None:
    """1.500.000 and 1,500,000 as 1500000; 1,5 as 1.5; None for anything else."""
    if _GROUPED_NUMBER.fullmatch(word):
        return re.sub(r"[.,]", "", word)
    if _DECIMAL.fullmatch(word):
        return word.replace(",", ".")
    return None


def _pairs(word: str) -> list[str]:
    """Overlapping pairs of the characters of scripts that put no spaces between words; the rest as usual."""
    terms: list[str] = []
    end = 0
    for run in _UNSPACED.finditer(word):
        terms += _PARTS.findall(word[end : run.start()].casefold())
        characters = run.group()
        terms += [characters[i : i + 2] for i in range(max(1, len(characters) - 1))]
        end = run.end()
    return terms + _PARTS.findall(word[end:].casefold())


def _stem(term: str) -> str:
    if term.isascii():
        return str(_ENGLISH.stemWord(term)) if term.isalpha() and len(term) > 2 else term
    tail = term[-2:]
    return term[:-2] + _TONE_PLACES[tail] if tail in _TONE_PLACES else term
