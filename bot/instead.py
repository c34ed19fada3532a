"""Questions that get a fixed sentence in place of an answer: which one, and how they are logged."""

from __future__ import annotations

from collections.abc import Mapping

from adapters.ports import Final, Inbound, Instead
from bot.words import WordKey, word
from rag.language import detect
from rag.types import Outcome

OUTCOME: Mapping[Instead, Outcome] = {
    "late": "busy",
    "too_fast": "limited",
    "spent": "limited",
    "all_spent": "limited",
}
_WORDS: Mapping[Instead, WordKey] = {
    "late": "late",
    "too_fast": "too_fast",
    "spent": "spent",
    "all_spent": "all_spent",
}


def sentence(inbound: Inbound, why: Instead) -> Final:
    """What is said, in the asker's language."""
    return Final(text=word(_WORDS[why], detect(inbound.text, default=inbound.language_hint or "") or None))
