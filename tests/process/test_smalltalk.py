"""Greetings, thanks and "a person, please" get a fixed reply; questions never do."""

from __future__ import annotations

import pytest

from bot.smalltalk import SmallTalk, classify


@pytest.mark.parametrize(
    ("text", "kind", "language"),
    [
        ("Hi", "greeting", "en"),
        ("hello there!", "greeting", "en"),
        ("Xin chào", "greeting", "vi"),
        ("chào shop ạ", "greeting", "vi"),
        ("xin chao ban", "greeting", "vi"),
        ("Thanks a lot!!", "thanks", "en"),
        ("thank you", "thanks", "en"),
        ("Cảm ơn bạn nhiều nhé", "thanks", "vi"),
        ("Can I talk to a real person please", "person", "en"),
        ("human", "person", "en"),
        ("cho tôi gặp nhân viên", "person", "vi"),
        ("toi muon noi chuyen voi nguoi that", "person", "vi"),
    ],
)
def test_small_talk_is_recognised(text: str, kind: str, language: str) -> None:
    """The usual ways to say it are understood, with and without marks."""
    assert classify(text) == (kind, language)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "👋",
        "Hello, how much is the theft cover?",
        "Thanks, and what about scratches?",
        "Which staff member approves a claim?",
        "Does the policy cover a person riding pillion?",
        "chào bạn, phí bảo hiểm bao nhiêu",
        "gặp tai nạn thì làm gì",
    ],
)
def test_a_question_is_not_small_talk(text: str) -> None:
    """A message that asks something goes to retrieval, however politely it begins."""
    assert classify(text) is None


def test_whoever_asks_for_a_person_is_told_the_contact() -> None:
    """The configured contact is part of the reply, in the asker's language."""
    assert SmallTalk(contact="1900 0000").reply("gặp nhân viên") == (
        "Tôi là trợ lý tự động. Bạn có thể gặp nhân viên tại đây: 1900 0000"
    )
    assert "None" not in (SmallTalk().reply("agent please") or "")
