"""The fixed sentences of an answer."""

from __future__ import annotations

import pytest

from rag.errors import ModelBusy, ModelError, ModelRefusedKey, ModelTimeout, ModelUnavailable
from rag.generate import phrases
from rag.language import detect

CODES = [error.code for error in (ModelBusy, ModelError, ModelRefusedKey, ModelTimeout, ModelUnavailable)]


@pytest.mark.parametrize("code", [*CODES, "store_unavailable", "internal", "something new"])
def test_every_failure_has_a_kind_sentence_in_both_languages(code: str) -> None:
    """Whatever failed, the asker reads what to do, in their language, without the code or the cause."""
    english, vietnamese = phrases.failure_text(code, "en"), phrases.failure_text(code, "vi")
    assert detect(english) == "en"
    assert detect(vietnamese) == "vi"
    assert "try again" in english
    assert code not in english
    assert "key" not in english


def test_other_languages_get_english() -> None:
    """Where we have no sentence in a language, or know none, it is English."""
    assert phrases.not_found("fr") == phrases.not_found(None) == phrases.not_found("en")


def test_the_contact_is_named_where_there_is_one() -> None:
    """A refusal says whom to ask if the operator said so, and nothing otherwise."""
    assert "1900 0000" in phrases.not_found("vi", "1900 0000")
    assert phrases.not_found("en", None) == phrases.not_found("en", "") == "I can't find this in the documents."


def test_too_long_names_the_limit() -> None:
    """A message that is too long is told how long it may be."""
    assert "8000" in phrases.too_long("en", characters=50_000, limit=8000)
