"""The language of questions as short as people type them."""

from __future__ import annotations

import pytest

from rag.language import detect

QUESTIONS = {
    "vi": ["Phí bao nhiêu?", "cach nau pho bo", "hoan tien", "VC-02 la gi", "lich chieu phim cuoi tuan", "là gì"],
    "en": [
        "how much",
        "claims deadline",
        "opening hours",
        "refund policy",
        "Is a helmet covered?",
        "What does 保险 mean?",
    ],
    "fr": ["délai de remboursement", "Combien coûte l'abonnement ?", "J'ai perdu ma clé", "horaires d'ouverture"],
    "de": ["Öffnungszeiten", "Kosten pro Jahr", "Welche Partei regiert?", "Muss ich zahlen?"],
    "es": ["horario de atención", "¿Qué cubre?", "¿Cuánto cuesta?", "Perdí mi llave"],
    "zh": ["保险多少钱？", "VC-02是什么", "DECnet是什么"],
    "ja": ["保険料はいくらですか？", "バイク保険"],
}


@pytest.mark.parametrize("default", ["en", "vi"])
@pytest.mark.parametrize(
    ("language", "question"), [(language, question) for language, all_ in QUESTIONS.items() for question in all_]
)
def test_a_short_question_is_taken_for_the_language_it_is_in(language: str, question: str, default: str) -> None:
    """Whatever the documents are in."""
    assert detect(question, default) == language


def test_a_question_without_any_hint_is_taken_for_the_language_of_the_documents() -> None:
    assert detect("VC-02?", "vi") == "vi"
    assert detect("Honda Vision", "en") == "en"
