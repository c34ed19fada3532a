"""Text into sentences, in any language: chat turns, list items and lines count as one each, short ones are joined."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

MIN_WORDS = 4
"""A shorter sentence says too little to be compared with a question: it is joined to its neighbour."""
_LONGEST_WORD = 60
"""Characters without a blank before a piece of text is cut anyway (base64, scripts without spaces)."""

_END = re.compile(
    # One class in front of everything: `re` looks for its characters alone, several times as fast as for a choice.
    r"[.!?…。！？｡।॥؟۔]"
    r"(?:(?<=[.!?…])[\"'”’»)\]*_]*\s+(?=[^\sa-zß-ÿ])"
    r"|(?<=[。！？｡])[」』”’）]*"
    r"|(?<=[।॥؟۔])\s+)"
)
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"'“])(?:[A-ZĐ]|[A-Z]\.[A-Z]|Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|vs|No|Nr|Fig|Inc|Ltd|Co|Corp|etc|e\.g|i\.e|cf|ca"
    r"|TP|TS|ThS|GS|PGS|BS|Ông|Bà|Str|bzw|z\.B|M|Mme|Sig|Sra|\d{1,2})\.$"
)
_LONGEST_ABBREVIATION = 6
"""Characters, with what stands before it and the full stop."""
_CHAT_TURN = re.compile(r"^(?:\[[^\]\n]{3,30}\]\s*)?[^\s:][^:\n]{0,40}:\s+\S")
_CHAT_SHARE = 0.6
_LONG = 13
_WORD = re.compile(r"\S+")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0eff\u1000-\u109f\u1780-\u17d3]")


@lru_cache(maxsize=4096)  # each sentence is weighed three times on its way
def weight(text: str) -> int:
    """How many words `text` is worth to the embedder: words, with numbers, codes and unspaced scripts counted up."""
    pieces = text.split()
    words = len(pieces)
    if max(map(len, pieces), default=0) >= _LONG:
        words += sum(len(piece) // 8 for piece in pieces if len(piece) >= _LONG)
    return words if text.isascii() else words + len(_UNSPACED.findall(text)) * 2 // 3


def is_chat(text: str) -> bool:
    """Whether most lines of `text` are somebody's turn (`Name: ...`)."""
    lines = [line for line in text.splitlines() if line.strip()]
    return len(lines) > 2 and sum(bool(_CHAT_TURN.match(line)) for line in lines) >= _CHAT_SHARE * len(lines)


def split(text: str, *, by_line: bool = False) -> list[tuple[str, str]]:
    """(white space before it, sentence) in order; with `by_line` a line is never divided."""
    pieces: list[tuple[str, str]] = []
    for line in text.splitlines():
        stripped = line.strip() if not by_line else line.rstrip()
        if not stripped.strip():
            continue
        sentences = [stripped] if by_line else _sentences(stripped)
        pieces += [("\n" if i == 0 else " ", sentence) for i, sentence in enumerate(sentences)]
    return _joined(pieces)


def _sentences(line: str) -> list[str]:
    found: list[str] = []
    start = 0
    for match in _END.finditer(line):
        candidate = line[start : match.end()].rstrip()
        if not candidate or (candidate[-1] == "." and _is_abbreviated(candidate)):
            continue
        found.append(candidate)
        start = match.end()
    rest = line[start:].strip()
    return [*found, rest] if rest else found


def _is_abbreviated(text: str) -> bool:
    # `^` means the beginning of the text all the same, wherever the search starts.
    return _ABBREVIATION.search(text, max(0, len(text) - _LONGEST_ABBREVIATION)) is not None


def _joined(pieces: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Short sentences go with the one after them, a short last one with the one before."""
    joined: list[tuple[str, str]] = []
    for gap, sentence in pieces:
        if joined and _is_short(joined[-1][1]):
            before, text = joined[-1]
            joined[-1] = (before, f"{text}{gap}{sentence}")
        else:
            joined.append((gap, sentence))
    if len(joined) > 1 and _is_short(joined[-1][1]):
        gap, sentence = joined.pop()
        before, text = joined[-1]
        joined[-1] = (before, f"{text}{gap}{sentence}")
    return joined


def _is_short(text: str) -> bool:
    return weight(text) < MIN_WORDS


def split_long(sentence: str, limit: int) -> Iterator[str]:
    """`sentence` in pieces of at most `limit` weight, cut between words where there are any."""
    if weight(sentence) <= limit:
        yield sentence
        return
    words = [
        word[i : i + _LONGEST_WORD] for word in _WORD.findall(sentence) for i in range(0, len(word), _LONGEST_WORD)
    ]
    piece: list[str] = []
    heavy = 0
    for word in words:
        heavy += weight(word)
        if piece and heavy > limit:
            yield " ".join(piece)
            piece, heavy = [], weight(word)
        piece.append(word)
    if piece:
        yield " ".join(piece)
