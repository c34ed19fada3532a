"""Text to the token ids of an uncased BERT vocabulary: basic tokenisation, then greedy longest-match WordPiece.

Follows the reference tokenizer of `all-MiniLM-L6-v2` (clean text, space out CJK characters, strip accents, lower
case, split at punctuation) with two differences: `[SEP]` and the like inside a text are ordinary characters, so that a
document cannot smuggle in a control token, and a form feed (the page break of a PDF's text) separates words.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

from rag.errors import EmbeddingError

MAX_TOKENS = 256
"""What the model was configured to read, with the two marker tokens; what follows is not seen."""

_LONGEST_WORD = 100
"""Characters; the reference calls a longer word unknown."""

_WORDS_REMEMBERED = 1 << 15
"""Words outside the vocabulary whose pieces are kept: about 7 MB at worst."""

_CJK = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)

_ASCII_WORDS = re.compile(r"[!-/:-@\[-`{-~]|[^\s!-/:-@\[-`{-~]+")


class WordPiece:
    """A vocabulary and what cuts text into it. Safe to use from several threads."""

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        """Raises `EmbeddingError` where the vocabulary has no `[CLS]`, `[SEP]` or `[UNK]`."""
        try:
            self._start, self._end, self._unknown = (vocabulary[name] for name in ("[CLS]", "[SEP]", "[UNK]"))
        except KeyError as error:
            raise EmbeddingError(f"the tokenizer's vocabulary lacks {error}; install the weights anew") from error
        self._vocabulary = dict(vocabulary)
        self._characters = _Characters()
        self._pieces = lru_cache(maxsize=_WORDS_REMEMBERED)(self._cut)

    @classmethod
    def from_tokenizer_json(cls, content: bytes) -> WordPiece:
        """Read the vocabulary of a `tokenizer.json`. Raises `EmbeddingError`."""
        try:
            return cls(json.loads(content)["model"]["vocab"])
        except (ValueError, KeyError, TypeError) as error:
            raise EmbeddingError("tokenizer.json has no WordPiece vocabulary; install the weights anew") from error

    def encode(self, text: str, max_tokens: int = MAX_TOKENS) -> list[int]:
        """The ids of `text` between `[CLS]` and `[SEP]`, `max_tokens` at most, both markers included."""
        room = max_tokens - 2
        # A word gives at least one token, so that a 10,000-word question is not cut up in full.
        words = text.split(None, room)
        ids = self._ids(" ".join(words[:room]))
        return [self._start, *ids[:room], self._end]

    def count(self, text: str) -> int:
        """How many tokens `text` has, without the two markers and without a limit."""
        return len(self._ids(text))

    def _ids(self, text: str) -> list[int]:
        known = self._vocabulary.get
        ids: list[int] = []
        for word in self._words(text):
            whole = known(word)
            if whole is not None:
                ids.append(whole)
            else:
                ids.extend(self._pieces(word))
        return ids

    def _words(self, text: str) -> list[str]:
        """Lower-case words without accents; every punctuation mark and CJK character is a word of its own."""
        if text.isascii():
            return _ASCII_WORDS.findall(text.translate(_ASCII))
        return unicodedata.normalize("NFD", text).translate(self._characters).split()

    def _cut(self, word: str) -> tuple[int, ...]:
        if len(word) > _LONGEST_WORD:
            return (self._unknown,)
        pieces: list[int] = []
        start = 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = self._vocabulary.get(word[start:end] if start == 0 else "##" + word[start:end])
                if piece is not None:
                    pieces.append(piece)
                    start = end
                    break
            else:
                return (self._unknown,)
        return tuple(pieces)


class _Characters(dict[int, str]):
    """What each character of decomposed text becomes, worked out once per character for `str.translate`."""

    def __missing__(self, code: int) -> str:
        self[code] = result = _character(chr(code))
        return result


def _character(character: str) -> str:
    category = unicodedata.category(character)
    code = ord(character)
    if character.isspace():
        return " "
    if character == "\ufffd" or category in {"Cc", "Cf", "Cs", "Co", "Mn"}:
        return ""
    is_ascii_symbol = code < 128 and not character.isalnum()  # the end of ASCII
    if is_ascii_symbol or category[0] == "P" or any(low <= code <= high for low, high in _CJK):
        return f" {character} "
    return character.lower()


_ASCII = {code: _character(chr(code)).strip() or (" " if chr(code).isspace() else None) for code in range(128)}
