"""Which questions lean on the one before, told without a model."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.generate.followup import holds_code, is_follow_up, joined, subject
from rag.types import Exchange

ROOT = Path(__file__).parents[2]
ENGLISH = Exchange(question="What does theft cover cost for a motorbike?", answer="90,000 VND [1].")
VIETNAMESE = Exchange(question="Phí bảo hiểm mất cắp cho xe máy là bao nhiêu?", answer="90.000 đồng [1].")


@pytest.mark.parametrize(
    "question",
    [
        "and for cars?",
        "And in Hanoi?",
        "how much is it?",
        "What about trucks?",
        "Does it cover floods?",
        "How do I renew it?",
        "Is that per year?",
        "why?",
        "for students?",
        "Are they insured too?",
    ],
)
def test_an_english_follow_up_is_noticed(question: str) -> None:
    """Pronouns without anything before them, and phrases that are half a question."""
    assert joined(question, [ENGLISH]) == f"theft cover cost motorbike: {question}"


@pytest.mark.parametrize(
    "question",
    [
        "còn xe máy thì sao?",
        "Còn Hà Nội thì sao?",
        "thế phí bao nhiêu?",
        "Thế còn ô tô?",
        "Còn ô tô?",
        "vậy thủ tục thế nào?",
        "Nó có gồm ngập nước không?",
        "Gói này giá bao nhiêu?",
        "Trường hợp đó có được bồi thường không?",
        "bao lâu?",
        "con xe may thi sao",
    ],
)
def test_a_vietnamese_follow_up_is_noticed(question: str) -> None:
    """With marks and, where nothing else can be meant, without."""
    assert joined(question, [VIETNAMESE]) == f"Phí bảo hiểm mất cắp xe máy: {question}"


@pytest.mark.parametrize(
    "question",
    [
        "What are the opening hours?",
        "How long does it take to get a card?",
        "If my bike is stolen, is it covered?",
        "Can I cancel my contract and get it refunded?",
        "Is it possible to pay by card?",
        "Is there a discount this year?",
        "BT-03?",
        "Address?",
        "Who signs claims above BT-03?",
        "Thế nào là bảo hiểm vật chất?",
        "Thế chấp xe thì cần giấy tờ gì?",
        "Mất xe thì sao?",
        "Giờ mở cửa?",
        "vay mua xe can gi",
    ],
)
def test_a_question_that_stands_alone_is_left_alone(question: str) -> None:
    """Whatever was asked before it, in either language."""
    assert [joined(question, [before]) for before in (ENGLISH, VIETNAMESE)] == [None, None]


def test_no_question_of_the_sample_sets_is_taken_for_a_follow_up() -> None:
    """134 questions that people ask at the beginning of a conversation, each after either of two others."""
    files = (ROOT / "bot/sample/questions.jsonl", ROOT / "tests/retrieval/data/questions.jsonl")
    questions = [json.loads(line)["question"] for file in files for line in file.read_text().splitlines()]
    assert len(questions) > 100
    changed = [q for q in questions for before in (ENGLISH, VIETNAMESE) if is_follow_up(q, after=before.question)]
    assert changed == []


def test_the_first_question_is_no_follow_up() -> None:
    """Without history nothing is changed."""
    assert joined("and for cars?", []) is None


def test_the_subject_is_what_a_question_is_about() -> None:
    """Without the words that only ask, each word once, and not without end."""
    assert subject("What does theft cover cost, and is theft in Hanoi covered?") == "theft cover cost Hanoi covered"
    assert len(subject(" ".join(f"word{n}" for n in range(50))).split()) == 14


def test_a_long_run_of_characters_is_no_code() -> None:
    """Codes are short: what is pasted without blanks names nothing, and is not searched for a code either."""
    assert joined(f"Does it cover {'BT-03-' * 10}?", [ENGLISH]) is None
    assert joined(f"Does it cover {'x' * 7_000}1?", [ENGLISH]) is not None


@given(st.text(alphabet="aA1_.-/ (?,Đ\u00a0\n", max_size=40))
def test_codes_are_found_word_by_word(text: str) -> None:
    """Nothing that was a code across a whole text is one no more, and the other way round."""
    across = re.compile(r"(?=\S*\d)(?=\S*[^\W\d_])\w[\w./-]*\w")
    assert holds_code(text) == bool(across.search(text))
