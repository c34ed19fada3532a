"""Claims about what counts as held, and what speaks for and against answering."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.retrieval.candidates import Candidates
from rag.retrieval.question import Asked, ask
from rag.retrieval.reading import credits_of
from rag.retrieval.relevance import BY_MEANING, BY_WORDS, NO_VECTORS, TextsOf, floor_for, is_relevant, relevance

APART = 0.25


def held(question: str, text: str, apart: float = 1.0) -> float:
    """The mean credit of the question's content words."""
    asked = ask(question)
    return float(credits_of(asked, text, apart)[asked.content].mean())


def found(asked: Asked, *texts: str, cosines: Sequence[float] | None = None, idf: float = 3.0) -> Candidates:
    """One chunk per document, each of these texts."""
    rows = np.arange(len(texts), dtype=np.int32)
    holds = np.stack([credits_of(asked, text, 1.0) >= 1 for text in texts], axis=1)
    cosine = np.asarray(cosines or [0.5] * len(texts), np.float32)
    return Candidates(
        rows=rows,
        document_of=rows,
        cosine=cosine,
        sentence=cosine,
        text=holds.sum(axis=0).astype(np.float32),
        holds=holds,
        idf=np.full(len(asked.terms), idf, np.float32),
        is_known=np.asarray(holds.any(axis=1), np.bool_),
        documents=rows,
        is_found=np.ones(len(rows), np.bool_),
    )


def reading(*texts: str) -> TextsOf:
    return lambda rows: [texts[row] for row in rows]


def test_syllables_of_a_vietnamese_word_scattered_over_a_text_hardly_count() -> None:
    filler = "một hai ba bốn năm sáu bảy tám chín mười " * 2
    together = held("bảo hiểm sức khỏe", "Quyền lợi của bảo hiểm sức khỏe.", APART)
    scattered = held("bảo hiểm sức khỏe", f"bảo {filler} hiểm {filler} sức {filler} khỏe", APART)
    assert together == 1
    assert scattered == APART


def test_a_pair_of_characters_that_straddles_two_chinese_words_counts_if_both_words_are_held() -> None:
    assert held("保险价格", "价格:本保险一年六十六元。") == 1
    assert held("保险价格", "本保险一年六十六元。") < 1
    assert held("保险价格", "今天天气很好。") == 0


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("Welche Kündigungsfristen gibt es?", "Die Kündigungsfrist gilt ab dem Ersten."),
        ("¿Qué coberturas existentes hay?", "La cobertura existente no cambia."),
        ("Quelles garanties optionnelles ?", "La garantie optionnelle suffit."),
        ("Wie hoch ist der Beitrag?", "Der Versicherungsbeitrag ist hoch."),
    ],
)
def test_other_endings_and_compounds_count_as_held(question: str, text: str) -> None:
    assert held(question, text) > 0.6


def test_thai_letters_count_only_in_runs_as_long_as_a_word() -> None:
    """Two letters side by side stand in any Thai text."""
    assert held("ประกันภัย", "กรมธรรม์ประกันภัยรถ") == 1
    assert held("ประกันภัย", "ปร ระ ะก กั ัน นภ ภั ัย") == 0


def test_less_is_asked_of_languages_whose_function_words_are_not_known() -> None:
    german, russian = (
        floor_for("minilm", language=language, understands=False, has_vectors=True) for language in ("de", "ru")
    )
    assert russian.threshold < german.threshold


def test_a_tooth_typed_without_marks_is_a_subject_although_another_word_spelt_so_is_not() -> None:
    asked = ask("bao hiem co chi tra nho rang khon khong")
    assert asked.content[asked.terms.index("rang")]


@given(st.lists(st.sampled_from(["refund", "period", "garage", "claim"]), max_size=8), st.floats(0, 1))
def test_more_held_words_never_make_a_question_less_relevant(words: list[str], cosine: float) -> None:
    asked = ask("refund period")
    poor, rich = " ".join(words), " ".join([*words, "refund period"])
    for floor in (BY_MEANING, BY_WORDS, NO_VECTORS):
        less = relevance(found(asked, poor, cosines=[cosine]), asked, floor, reading(poor))
        more = relevance(found(asked, rich, cosines=[cosine]), asked, floor, reading(rich))
        assert more >= less - 1e-6


@given(
    st.lists(st.tuples(st.sets(st.sampled_from(["refund", "period", "days", "garage"])), st.floats(0, 1)), min_size=1),
    st.sampled_from(["refund period", "How many days is the refund period?", "Does Zorvath refund?"]),
)
def test_reading_may_stop_early_only_where_nothing_could_change(
    chunks: list[tuple[set[str], float]], question: str
) -> None:
    """Whether a question is answered is what all chunks together say, however few were read"""
    asked, texts = ask(question), [" ".join(sorted(words)) for words, _ in chunks]
    candidates = found(asked, *texts, cosines=[cosine for _, cosine in chunks])
    for floor in (BY_MEANING, BY_WORDS, NO_VECTORS):
        value = relevance(candidates, asked, floor, reading(*texts))
        assert is_relevant(candidates, asked, floor, reading(*texts)) == (value >= floor.threshold)


def test_a_name_or_code_that_no_document_holds_makes_a_question_less_relevant() -> None:
    text = "The refund period of VC-02 is 14 days, says Mai."
    for known, unknown in (("about Mai", "about Zorvath"), ("refund period of VC-02", "refund period of TX-12")):
        values = [
            relevance(found(asked, text), asked, BY_MEANING, reading(text)) for asked in map(ask, (known, unknown))
        ]
        assert values[1] < values[0] - 0.2


def test_a_number_that_no_document_holds_counts_less_than_a_word_that_none_holds() -> None:
    text = "Scooter insurance: more than 50 cc costs 66,000 a year."
    number, word = ask("scooter insurance 125"), ask("scooter insurance abroad")
    assert relevance(found(number, text), number, BY_WORDS, reading(text)) > relevance(
        found(word, text), word, BY_WORDS, reading(text)
    )


def test_nothing_found_is_not_relevant() -> None:
    asked = ask("anything")
    empty = np.empty(0, np.float32)
    nothing = Candidates(
        rows=np.empty(0, np.int32),
        document_of=np.empty(0, np.int32),
        cosine=empty,
        sentence=empty,
        text=empty,
        holds=np.zeros((1, 0), np.bool_),
        idf=np.ones(1, np.float32),
        is_known=np.zeros(1, np.bool_),
        documents=np.empty(0, np.int32),
        is_found=np.empty(0, np.bool_),
    )
    assert relevance(nothing, asked, BY_MEANING, reading()) == 0


def test_only_vietnamese_syllables_must_stand_together_where_meaning_says_nothing() -> None:
    floors = {
        language: floor_for("minilm", language=language, understands=False, has_vectors=True)
        for language in ("vi", "de", "zh")
    }
    assert floors["vi"].apart < floors["de"].apart == floors["zh"].apart == 1
    assert len({floor.threshold for floor in floors.values()}) == 1
