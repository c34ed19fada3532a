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

import snowballstemmer  # type: ignore[import-untyped]  # ships no types

from rag.language import fold

# Indic, Thai, Lao, Tibetan, Burmese and Khmer vowel signs are no \w in Python's `re`, yet belong to their words.
_MARKS = r"\u0300-\u036f\u0900-\u0963\u0966-\u0df3\u0e00-\u0eff\u0f18-\u109f\u1780-\u17d3"
_CHARS = rf"[\w{_MARKS}]+"
WORD = re.compile(rf"{_CHARS}(?:[-./,:'’]{_CHARS})*")
"""A word with what may hold its parts together: hyphens, points in numbers, apostrophes, slashes.

To be used on text whose underscores have become blanks (`without_underscores`): one character class is
twice as fast as one that leaves them out.
"""

_ASCII_WORD = re.compile(r"[0-9A-Za-z]+(?:[-./,:'][0-9A-Za-z]+)*")
"""The same for ASCII text without underscores, twice as fast."""
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

_ENGLISH = snowballstemmer.stemmer("english")


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
        plain = tuple(chain.from_iterable(map(_PLAIN.__getitem__, _ASCII_WORD.findall(text))))
        return Analysed(plain, plain)
    terms = [_terms(word) for word in WORD.findall(text)]
    marked = tuple(chain.from_iterable([pair[0] for pair in terms]))
    folded = tuple(chain.from_iterable([pair[1] for pair in terms]))
    return Analysed(marked, marked if folded == marked else folded)


_WORDS_KEPT = 200_000


@lru_cache(maxsize=_WORDS_KEPT)
def _terms(word: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    words = [part for part in _split(word) if fold(part)]  # a lone diacritic folds to nothing
    return tuple(_stem(w) for w in words), tuple(_stem(fold(w)) for w in words)


class _Plain(dict[str, tuple[str, ...]]):
    """The terms of ASCII words: a lookup in a dictionary takes a third of a call's time, and most text is such."""

    def __missing__(self, word: str) -> tuple[str, ...]:
        if len(self) >= _WORDS_KEPT:
            self.clear()
        terms = self[word] = _terms(word)[0]
        return terms


_PLAIN = _Plain()


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
