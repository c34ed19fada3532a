"""When two questions are the same question to the letter: pure functions of their text."""

from __future__ import annotations

import re
import unicodedata

from rag.language import fold

# Words, numbers with their separators (1.5 is not 15), a sign before a number, and what changes a meaning right behind
# it: `C++`, `C#`, `5 %`, `5 $`.
_TOKEN = re.compile(r"(?:(?<!\w)[-−+])?\d+(?:[.,:/]\d+)*|[^\W\d_]+[+#]*|[^\W_]+|[%‰°$€£¥₫]")


def question_key(text: str) -> str:
    """`text` without case, punctuation and emoji: equal keys are the same question.

    Diacritics, numbers, signs, units and every word stay: each of them can change the answer.
    """
    return " ".join(_TOKEN.findall(unicodedata.normalize("NFKC", text).casefold()))


def folded_key(key: str) -> str | None:
    """The key as somebody types it who has no diacritics at hand; None if it has none to lose."""
    folded = fold(key)
    return None if folded == key else folded


def has_marks(key: str) -> bool:
    """Whether a key carries diacritics, so that its writer evidently could type them."""
    return fold(key) != key
