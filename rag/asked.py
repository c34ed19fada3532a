"""What people send as a question, made fit to be looked up: pure functions of its text."""

from __future__ import annotations

import re
import unicodedata

LONGEST_QUESTION = 8_000
"""Characters. A pasted letter fits; beyond that nobody asks a question, and a model's context would go to it."""

# Controls that no question needs: C0 and C1 save tab and newline, and the overrides of writing direction, with which a
# text reads differently from what it says.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def cleaned(text: str) -> str:
    """`text` as valid Unicode in its composed form, without control characters and outer blanks."""
    text = _SURROGATES.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return unicodedata.normalize("NFC", _CONTROLS.sub("", text)).strip()


def has_words(text: str) -> bool:
    """Whether there is a letter or a digit in it: emoji and punctuation alone ask nothing."""
    return any(character.isalnum() for character in text)
