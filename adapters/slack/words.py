"""The few fixed sentences of the Slack interface, in English and Vietnamese."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """One language."""

    sources: str
    page: str
    asked: str
    """Above the answer to a slash command; `{who}` and `{question}` are filled in."""


_EN = Words(sources="Sources", page="p.", asked="{who} asked: {question}")
_VI = Words(sources="Nguồn", page="tr.", asked="{who} hỏi: {question}")
LANGUAGES: Mapping[str, Words] = {"en": _EN, "vi": _VI}

HELP = "Write `/ask` and your question, mention me with a question, or send me a direct message. `stop` stops it."


def words(language: str | None) -> Words:
    """The sentences in the language, or in English where we do not have it."""
    return LANGUAGES.get((language or "en").split("-")[0].lower(), _EN)
