"""The fixed sentences of an answer, in the languages that people are promised: English and Vietnamese."""

from __future__ import annotations

from collections.abc import Mapping

from rag.types import Language

_NOT_FOUND = {
    "en": "I can't find this in the documents.",
    "vi": "Tôi không tìm thấy thông tin này trong tài liệu.",
}
_ASK_CONTACT = {"en": "Please contact {contact}.", "vi": "Bạn vui lòng liên hệ {contact}."}
_INCOMPLETE = {"en": "⚠ Incomplete", "vi": "⚠ Chưa hoàn chỉnh"}
_EXCERPTS = {"en": "In the documents:", "vi": "Trong tài liệu có ghi:"}
_NO_WORDS = {
    "en": "Please write your question in words, and I will look it up in the documents.",
    "vi": "Bạn vui lòng viết câu hỏi bằng chữ, tôi sẽ tìm trong tài liệu.",
}
_TOO_LONG = {
    "en": "This is too long for one question ({characters} characters, at most {limit}). Please ask it more briefly.",
    "vi": "Câu hỏi này quá dài ({characters} ký tự, tối đa {limit}). Bạn vui lòng hỏi ngắn gọn hơn.",
}
_BUSY = {
    "en": "I am getting too many questions at the moment. Please try again in a minute.",
    "vi": "Hiện có quá nhiều câu hỏi cùng lúc. Bạn vui lòng thử lại sau một phút.",
}
_LATE = {
    "en": "The answer took too long, so I stopped. Please try again.",
    "vi": "Câu trả lời mất quá nhiều thời gian nên tôi đã dừng. Bạn vui lòng thử lại.",
}
_NO_DOCUMENTS = {
    "en": "I can't reach the documents at the moment. Please try again in a little while.",
    "vi": "Hiện tôi không truy cập được tài liệu. Bạn vui lòng thử lại sau ít phút.",
}
_NO_MODEL = {
    "en": "I can't write an answer at the moment. Please try again in a little while.",
    "vi": "Hiện tôi không soạn được câu trả lời. Bạn vui lòng thử lại sau ít phút.",
}
_BROKEN = {
    "en": "Something went wrong on our side. Please try again.",
    "vi": "Hệ thống gặp lỗi. Bạn vui lòng thử lại.",
}
_FAILURES: Mapping[str, Mapping[Language, str]] = {
    "model_unavailable": _NO_MODEL,
    "model_refused_key": _NO_MODEL,
    "model_error": _NO_MODEL,
    "model_busy": _BUSY,
    "timeout": _LATE,
    "store_unavailable": _NO_DOCUMENTS,
    "embedding_unavailable": _NO_DOCUMENTS,
    "internal": _BROKEN,
}


def not_found(language: Language | None, contact: str | None = None) -> str:
    """That the documents have no answer, and whom to ask instead if that is known."""
    sentence = _in(_NOT_FOUND, language)
    if not contact:
        return sentence
    return f"{sentence} {_in(_ASK_CONTACT, language).format(contact=contact)}"


def incomplete_mark(language: Language | None) -> str:
    """What stands below an answer that was cut short."""
    return _in(_INCOMPLETE, language)


def excerpts_lead(language: Language | None) -> str:
    """The line above an answer that only quotes."""
    return _in(_EXCERPTS, language)


def no_words(language: Language | None) -> str:
    """The reply to a message without a single word in it."""
    return _in(_NO_WORDS, language)


def too_long(language: Language | None, *, characters: int, limit: int) -> str:
    """The reply to a message that is no question but a book."""
    return _in(_TOO_LONG, language).format(characters=characters, limit=limit)


def failure_text(code: str, language: Language | None) -> str:
    """What the asker reads instead of an answer; kind, and without any detail of the cause."""
    return _in(_FAILURES.get(code, _BROKEN), language)


def _in(sentences: Mapping[Language, str], language: Language | None) -> str:
    return sentences.get(language or "en", sentences["en"])
