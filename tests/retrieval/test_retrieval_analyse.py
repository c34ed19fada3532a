"""Claims about index terms and languages."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.analyse import analyse
from rag.language import detect, fold
from rag.words import function_terms, interrogative_terms


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("Mẫu BT-03", "BT03"),
        ("Mẫu BT-03", "bt 03"),
        ("phí 1.500.000 đ", "1500000"),
        ("a fee of 1,500,000", "1.500.000"),
        ("2,5 %", "2.5"),
        ("JenniferMoore: hello", "Jennifer Moore"),
        ("HTTPServer", "server"),
        ("Time: 20260101_10:00", "20260101"),
        ("Wolfgang's refunds", "wolfgang refund"),
        ("hoà giải", "hòa giải"),
        ("東京大学の入学", "東京大学"),
        ("ประเทศไทย", "ไทย"),
        ("ÉCOLE", "école"),
        ("cafe\u0301", "café"),
    ],
)
def test_what_is_written_one_way_is_found_when_asked_another_way(written: str, asked: str) -> None:
    assert set(analyse(asked).marked) <= set(analyse(written).marked)


def test_vietnamese_typed_without_diacritics_is_found_in_the_folded_column() -> None:
    assert analyse("Đơn hàng của tôi ở đâu").folded == analyse("don hang cua toi o dau").marked


def test_vietnamese_words_that_differ_only_in_marks_stay_apart_in_the_marked_column() -> None:
    assert not set(analyse("bán").marked) & set(analyse("bạn").marked)


@given(st.text(max_size=200))
def test_both_columns_of_any_text_are_equally_long_and_free_of_blanks_and_upper_case(text: str) -> None:
    marked, folded = analyse(text)
    assert len(marked) == len(folded)
    assert not any(term != term.strip() or " " in term or not term for term in (*marked, *folded))


@given(st.text(max_size=200))
def test_a_text_and_its_decomposed_form_have_the_same_terms(text: str) -> None:
    assert analyse(unicodedata.normalize("NFD", text)) == analyse(unicodedata.normalize("NFC", text))


@given(st.text(alphabet=st.characters(codec="ascii"), max_size=200))
def test_text_without_marks_needs_no_second_column(text: str) -> None:
    analysed = analyse(text)
    assert analysed.marked is analysed.folded


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What is the refund period?", "en"),
        ("Phí bảo hiểm một năm là bao nhiêu?", "vi"),
        ("don hang cua toi bao gio den", "vi"),
        ("Quel est le délai de remboursement ?", "fr"),
        ("Wie kann ich den Vertrag kündigen?", "de"),
        ("¿Cuál es el plazo de devolución?", "es"),
        ("退款需要多长时间？", "zh"),
        ("返金にはどのくらいかかりますか", "ja"),
        ("환불은 얼마나 걸리나요", "ko"),
        ("Сколько стоит доставка?", "ru"),
        ("ราคาเท่าไหร่", "th"),
    ],
)
def test_the_language_of_a_short_question_is_known(text: str, language: str) -> None:
    assert detect(text) == language


def test_a_text_without_a_hint_is_in_the_default_language() -> None:
    assert detect("BT-03?", default="vi") == "vi"
    assert detect("👍", default="fr") == "fr"


@given(st.text(max_size=100))
def test_folding_twice_changes_nothing_more(text: str) -> None:
    assert fold(fold(text)) == fold(text)


def test_function_words_are_told_from_words_that_only_look_alike_without_marks() -> None:
    """`đến` says nothing, `đền` (to compensate) is what a claim is about."""
    known = function_terms("vi", is_folded=False)
    assert set(analyse("đến").marked) <= known
    assert not set(analyse("đền").marked) & known


def test_languages_without_a_list_have_no_function_words() -> None:
    assert function_terms("xx", is_folded=False) == frozenset()
    assert interrogative_terms("xx") == frozenset()


def test_a_lone_diacritic_is_no_term_in_either_column() -> None:
    assert analyse("\u0300 fee") == (("fee",), ("fee",))
