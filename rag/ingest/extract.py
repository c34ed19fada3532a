"""What a text names, found without a model: names, codes, quoted titles and links, as keys that can be compared.

A key is only a promise to be comparable. Whether something answers to it (a document's title) or shares it (another
sentence) is found out when somebody asks, so this may be generous; it is bounded per sentence.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from rag.analyse import GAP, WORD, without_underscores
from rag.language import fold

MAX_NAMES = 40
"""Keys kept of one sentence. Encyclopaedia prose has about 12."""
MAX_WORDS = 8
"""Words in one name. Longer titles exist, but nobody writes them out in passing."""
_LOWER_TAIL = 5
"""Words in lower case that may follow a capital, where titles are written in sentence case (not in English)."""

_CONNECTORS = frozenset(
    "of the and in for to a an & on at de la le les du des et y e el al del della di da do dos von van der den das "  # noqa: SIM905  easier to read
    "und".split()
)
_BREAK = re.compile(r"[.!?;()\[\]{}\"“”«»<>|\n\t*]|: |, ")
_INITIAL = re.compile(r"^\. ?$")
_MARKDOWN_LINK = re.compile(r"\[([^\[\]\n]{1,200})\]\(\s*<?([^()\s<>]{1,500})>?(?:\s+\"[^\"\n]*\")?\s*\)")
_BARE_LINK = re.compile(r"https?://[^\s<>()\[\]\"'“”]+[^\s<>()\[\]\"'“”.,;:!?]")
_QUOTED = re.compile(r"[\"“«「『《]([^\"“”«»「」『』《》\n]{2,80})[\"”»」』》]")
_BRACKETED_END = re.compile(r"\s*[(\[（]([^()\[\]（）]*)[)\]）]\s*$")
_POSSESSIVE = re.compile(r"['’]s$", re.IGNORECASE)
_JOINERS = frozenset("-./,:'’")
_NEXT = re.compile(f"({GAP.pattern})({WORD.pattern})")
_BMP_CAPITALS = "".join(chr(code) for code in range(0x10000) if chr(code).isupper() and chr(code).isalnum())
# Of the rarer planes everything up to their last capital: naming each would take `re` off its fast path
# (900 ns a character instead of 3, measured).
_CAPITAL = re.compile(f"[{_BMP_CAPITALS}\U00010400-\U0001f189]")
_QUOTES = frozenset('"“«「『《')
_PLAIN_GAPS = frozenset({" ", ", "})
_SEPARATORS = re.compile(r"[-./,:'’]")


class _Shape(NamedTuple):
    is_capital: bool
    is_code: bool
    """Letters and digits (BT-03), or letters of mixed case (JenniferMoore): a name wherever it stands."""
    reduced: str


def name_key(text: str) -> str:
    """What `text` is called by, whatever its case, marks and punctuation; empty if it has no word."""
    return " ".join(filter(None, (_shape(word).reduced for word in WORD.findall(without_underscores(text)))))


def link_key(target: str, document_id: str) -> str | None:
    """The key of where a link leads, seen from `document_id`; None for one that leads nowhere else."""
    target = target.split("#", 1)[0].strip()
    if not target or target.startswith(("mailto:", "tel:", "javascript:", "data:")):
        return None
    if "://" in target:
        return "@" + target.rstrip("/")
    path = target.split("?", 1)[0].replace("%20", " ")
    joined = path.lstrip("/") if path.startswith("/") else posixpath.join(posixpath.dirname(document_id), path)
    return "@" + posixpath.normpath(joined)


def title_keys(title: str, document_id: str, url: str | None) -> tuple[str, ...]:
    """The keys a document answers to."""
    keys = [name_key(title)]
    bracket = _BRACKETED_END.search(title)
    if bracket and bracket.start() > 0:
        keys.append(name_key(title[: bracket.start()]))
        if _is_code(bracket.group(1).strip()):
            keys.append(name_key(bracket.group(1)))
    head, separator, _ = title.partition(": ")
    if separator and _is_code(head.strip()):
        keys.append(name_key(head))
    keys.append("@" + posixpath.normpath(document_id))
    if url:
        keys.append("@" + url.split("#", 1)[0].rstrip("/"))
    return tuple(dict.fromkeys(key for key in keys if key))


def names(sentence: str, *, document_id: str, language: str, known: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """The keys of everything that `sentence` names; `known` holds lone words that are surely names (see `sure`)."""
    found: dict[str, None] = {}
    plain = sentence
    if "](" in plain:
        for match in _MARKDOWN_LINK.finditer(plain):
            found[link_key(match.group(2), document_id) or ""] = None
            found[name_key(match.group(1))] = None
        plain = _MARKDOWN_LINK.sub(r"\1", plain)
    if "://" in plain:
        for match in _BARE_LINK.finditer(plain):
            found[link_key(match.group(), document_id) or ""] = None
        plain = _BARE_LINK.sub(" ", plain)
    if not _QUOTES.isdisjoint(plain):
        for match in _QUOTED.finditer(plain):
            found[name_key(match.group(1))] = None
    for key in _spans(plain, language, known):
        found[key] = None
    found.pop("", None)
    return tuple(found)[:MAX_NAMES]


def sure(text: str) -> frozenset[str]:
    """Lone capitalised words that stand inside a sentence somewhere in `text`: names even where they begin one."""
    inside = {found.word for found in _capitals(without_underscores(text)) if found.gap in _PLAIN_GAPS}
    return frozenset(_shape(word).reduced for word in inside if _shape(word).is_capital)


def name_words(text: str) -> tuple[str, ...]:
    """The capitalised words and codes of `text`, those left out that are capitalised only for beginning a sentence."""
    found = []
    for _, gap, word, _ in _capitals(without_underscores(text)):
        shape = _shape(word)
        if shape.is_code or (shape.is_capital and (gap in _PLAIN_GAPS or (gap and not _BREAK.search(gap)))):
            found.append(word)
    return tuple(found)


class _Capital(NamedTuple):
    """A word with a capital in it."""

    is_first: bool
    """Whether no word stands before it."""
    gap: str
    """What stands between it and the word before."""
    word: str
    end: int
    """Where it ends in the text."""


def _capitals(text: str) -> Iterator[_Capital]:
    """Every word of `text` that holds a capital: they are few, and found twice as fast as all words (measured)."""
    end = 0
    while (capital := _CAPITAL.search(text, end)) is not None:
        if not capital.group().isalnum():  # of the rarer planes
            end = capital.end()
            continue
        start = _word_start(text, capital.start())
        word = WORD.match(text, start)
        assert word is not None
        end = word.end()
        before = _gap_start(text, start)
        yield _Capital(before == 0, text[before:start], word.group(), end)


def _last_capital(text: str) -> int:
    """The place of the last letter that may be a capital; -1 if there is none."""
    found = _CAPITAL.findall(text)
    return text.rindex(found[-1]) if found else -1


def _word_start(text: str, at: int) -> int:
    """Where the word begins that has a letter at `at`: `WORD` read backwards."""
    if at and text[at - 1] == " ":  # most of them
        return at
    while at:
        if _is_word(text[at - 1]) or (at > 1 and text[at - 1] in _JOINERS and _is_word(text[at - 2])):
            at -= 1
        else:
            break
    return at


def _gap_start(text: str, at: int) -> int:
    """Where the word before `at` ends; 0 if there is none."""
    while at and not _is_word(text[at - 1]):
        at -= 1
    return at


def _is_word(character: str) -> bool:
    return character.isalnum() or (character > "\u02ff" and WORD.match(character) is not None)


def _spans(text: str, language: str, known: frozenset[str]) -> Iterator[str]:
    text = without_underscores(text)
    lower_tail = 0 if language == "en" else _LOWER_TAIL
    last = _last_capital(text)
    for is_first, gap, word, end in _capitals(text):
        shape = _shape(word)
        if not shape.is_capital:
            continue
        starts = is_first or bool(_BREAK.search(gap))
        if shape.is_code or _is_lone_name(word, shape.reduced, language, starts=starts, known=known):
            yield shape.reduced
        if lower_tail or end <= last:  # without a capital to come, or a tail, nothing longer can begin here
            yield from _longer(text, word, end, lower_tail=lower_tail)


def _longer(text: str, word: str, end: int, *, lower_tail: int) -> Iterator[str]:
    """Names of two words and more that begin with `word`, which ends at `end`."""
    key = _shape(word).reduced
    lower = 0
    for _ in range(MAX_WORDS - 1):
        found = _NEXT.match(text, end)
        if found is None:
            return
        before, (gap, word), end = word, found.groups(), found.end()
        shape = _shape(word)
        if gap != " " and _BREAK.search(gap):
            is_initial = len(before) == 1 and _INITIAL.match(gap)
            if not is_initial and not (gap == ", " and shape.is_capital):
                return
        key = f"{key} {shape.reduced}"
        if shape.is_capital:
            yield key
        elif word not in _CONNECTORS:
            lower += 1
            if lower > lower_tail:
                return
            yield key


def _is_lone_name(word: str, reduced: str, language: str, *, starts: bool, known: frozenset[str]) -> bool:
    """Whether one capitalised word is a name by itself.

    Vietnamese names have two syllables and more: a lone capitalised one ("Chủ", "Cổ") is noise.
    """
    if len(word) < 2 or (language == "vi" and not word.isascii()):
        return False
    return not starts or reduced in known or (word.isupper() and language != "vi")


@lru_cache(maxsize=100_000)
def _shape(word: str) -> _Shape:
    is_code = _is_code(word)
    return _Shape(word[0].isupper() or is_code, is_code or _is_camel(word), _reduced(word))


def _is_code(text: str) -> bool:
    """Letters in capitals with digits: BT-03, TN01, ISO/IEC27001; no blank."""
    return (
        " " not in text
        and any(c.isdigit() for c in text)
        and any(c.isupper() for c in text)
        and not any(c.islower() for c in text)
    )


def _is_camel(text: str) -> bool:
    return any(a.islower() and b.isupper() for a, b in pairwise(text))


def _reduced(word: str) -> str:
    return _SEPARATORS.sub("", fold(_POSSESSIVE.sub("", word)))


def repeated(terms: Iterable[tuple[str, int]], *, at_least: int = 3) -> tuple[str, ...]:
    """Terms that a document keeps coming back to, most frequent first."""
    often = [(count, term) for term, count in terms if count >= at_least and len(term) > 2 and not term.isdigit()]
    return tuple(term for _, term in sorted(often, key=lambda pair: (-pair[0], pair[1])))
