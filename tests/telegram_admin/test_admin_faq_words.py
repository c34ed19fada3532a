"""What an admin means by `/faq ...`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.admin_faq import FaqAdd, FaqHelp, FaqList, FaqRemove, FaqRequest, FaqWarm, parse_faq


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("add What is A? | It is B.", FaqAdd(question="What is A?", answer="It is B.")),
        ("ADD What is A?", FaqAdd(question="What is A?", answer=None)),
        ("add\nWhat is A?\n|\nLine 1\nLine 2", FaqAdd(question="What is A?", answer="Line 1\nLine 2")),
        ("add Q | a | b", FaqAdd(question="Q", answer="a | b")),
        ("add #staff Q | A", FaqAdd(question="Q", answer="A", collection="staff")),
        ("add #1 in the list? | Yes", FaqAdd(question="in the list?", answer="Yes", collection="1")),
        ("list", FaqList()),
        ("list staff 2", FaqList(collection="staff", page=2)),
        ("list #staff", FaqList(collection="staff")),
        ("remove AB12 cd34 ab12", FaqRemove(ids=("ab12", "cd34"))),
        ("warm", FaqWarm()),
        ("warm all", FaqWarm(everything=True)),
        ("warm #staff all", FaqWarm(collection="staff", everything=True)),
        *[(text, FaqHelp()) for text in ("", "help", "add", "add | A", "add Q |", "remove", "list a b", "warm a b")],
    ],
)
def test_a_command_is_understood(text: str, meant: FaqRequest) -> None:
    """Question and answer are kept as written, also over several lines; what is unclear gets the list of forms."""
    assert parse_faq(text) == meant


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    """Whatever is written, it is understood or explained."""
    assert parse_faq(text) is not None
    assert parse_faq(f"add {text}") is not None
