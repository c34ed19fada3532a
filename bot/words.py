"""The fixed sentences of the process, in the languages that people are promised: English and Vietnamese."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from rag.types import Language

WordKey = Literal[
    "retrieving",
    "generating",
    "stopped",
    "queue_full",
    "queued",
    "greeting",
    "thanks",
    "person",
    "person_no_contact",
    "about_title",
    "late",
    "too_fast",
    "spent",
    "all_spent",
]

_WORDS: Mapping[Language, Mapping[WordKey, str]] = {
    "en": {
        "retrieving": "Looking through the documents…",
        "generating": "Writing…",
        "stopped": "⏹ Stopped",
        "queue_full": "I still have several of your questions in hand. Please give me a moment and then ask again.",
        "queued": "One moment: I will answer this as soon as your previous question is done.",
        "greeting": "Hello! Ask me anything about our documents, and I will answer with the sources.",
        "thanks": "You are welcome! Just ask if there is anything else.",
        "person": "I am an automatic assistant. You can reach a person here: {contact}",
        "person_no_contact": "I am an automatic assistant and cannot put you through. "
        "Please use the contact details of the organisation you are writing to.",
        "late": "I am sorry: I was away for a while and have missed what you wrote. I am back now. "
        "If you still want to know, please ask me again.",
        "too_fast": "You are asking faster than I can answer. Please wait a minute, then ask again.",
        "spent": "You have asked a lot today, and I have used up what I may do for one person in a day. "
        "Please come back tomorrow.",
        "all_spent": "So many questions came in today that I have used up what I may do in a day. "
        "Please come back tomorrow.",
        "about_title": "What does “{title}” say?",
    },
    "vi": {
        "retrieving": "Đang tìm trong tài liệu…",
        "generating": "Đang viết…",
        "stopped": "⏹ Đã dừng",
        "queue_full": "Tôi còn đang trả lời mấy câu hỏi trước của bạn. Bạn chờ một chút rồi hỏi lại nhé.",
        "queued": "Bạn chờ một chút: tôi sẽ trả lời ngay sau câu hỏi trước.",
        "greeting": "Xin chào! Bạn cứ hỏi về các tài liệu của chúng tôi, tôi sẽ trả lời kèm nguồn.",
        "thanks": "Rất vui được giúp bạn! Bạn cần gì thêm cứ hỏi nhé.",
        "person": "Tôi là trợ lý tự động. Bạn có thể gặp nhân viên tại đây: {contact}",
        "person_no_contact": "Tôi là trợ lý tự động và không chuyển máy được. "
        "Bạn vui lòng dùng thông tin liên hệ của đơn vị mà bạn đang nhắn tin.",
        "late": "Xin lỗi bạn: tôi đã vắng mặt một lúc và bỏ lỡ tin nhắn của bạn. Giờ tôi đã trở lại. "
        "Nếu bạn vẫn cần câu trả lời, bạn hỏi lại giúp tôi nhé.",
        "too_fast": "Bạn hỏi nhanh quá, tôi chưa kịp trả lời. Bạn chờ khoảng một phút rồi hỏi lại nhé.",
        "spent": "Hôm nay bạn đã hỏi khá nhiều và tôi đã dùng hết phần dành cho mỗi người trong một ngày. "
        "Bạn quay lại vào ngày mai nhé.",
        "all_spent": "Hôm nay có quá nhiều câu hỏi và tôi đã dùng hết phần dành cho một ngày. "
        "Bạn quay lại vào ngày mai nhé.",
        "about_title": "“{title}” nói những gì?",
    },
}


def word(key: WordKey, language: Language | None) -> str:
    """The sentence in the language, or in English where we do not have it."""
    return _WORDS.get(language or "en", _WORDS["en"])[key]
