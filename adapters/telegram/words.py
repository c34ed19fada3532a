"""The few fixed sentences of the Telegram interface, in English and Vietnamese, by the person's interface language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """One language."""

    stop: str
    sources: str
    page: str
    start: str
    help: str
    stopped: str
    nothing_to_stop: str
    not_yours: str
    commands: Mapping[str, str]


_EN = Words(
    stop="⏹ Stop",
    sources="Sources",
    page="p.",
    start="Hello! Ask me a question in your own words, and I will answer from our documents and name the sources.\n\n"
    "What you ask is kept for a limited time, to answer follow-up questions and to improve the answers.",
    help="Just write your question. In a group, mention me, reply to me or write /ask and your question.\n\n"
    "/stop – stop the answer that is being written\n/help – this text",
    stopped="Stopped.",
    nothing_to_stop="There is no answer being written.",
    not_yours="Only the person who asked can stop this answer.",
    commands={"start": "What I can do", "ask": "Ask a question", "stop": "Stop the answer", "help": "How to ask"},
)
_VI = Words(
    stop="⏹ Dừng",
    sources="Nguồn",
    page="tr.",
    start="Xin chào! Bạn cứ hỏi bằng lời của mình, tôi sẽ trả lời dựa trên tài liệu của chúng tôi và nêu rõ nguồn.\n\n"
    "Câu hỏi của bạn được lưu trong thời gian có hạn, để trả lời câu hỏi tiếp theo và để trả lời tốt hơn.",
    help="Bạn chỉ cần viết câu hỏi. Trong nhóm, hãy nhắc tên tôi, trả lời tin nhắn của tôi hoặc viết /ask kèm câu hỏi."
    "\n\n/stop – dừng câu trả lời đang viết\n/help – hướng dẫn này",
    stopped="Đã dừng.",
    nothing_to_stop="Hiện không có câu trả lời nào đang được viết.",
    not_yours="Chỉ người đặt câu hỏi mới dừng được câu trả lời này.",
    commands={"start": "Tôi giúp được gì", "ask": "Đặt câu hỏi", "stop": "Dừng câu trả lời", "help": "Cách hỏi"},
)
LANGUAGES: Mapping[str, Words] = {"en": _EN, "vi": _VI}


def words(language: str | None) -> Words:
    """The sentences in the language, or in English where we do not have it."""
    return LANGUAGES.get((language or "en").split("-")[0].lower(), _EN)
