"""The fixed sentences of the Telegram interface, in English and Vietnamese, by the person's interface language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Reason = Literal["wrong", "incomplete", "outdated", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """One language."""

    stop: str
    retry: str
    sources: str
    page: str
    start: str
    examples: str
    privacy: str
    """With `{days}`."""
    help: str
    unknown_command: str
    only_text: str
    stopped: str
    nothing_to_stop: str
    not_yours: str
    begun_anew: str
    nothing_said: str
    no_sources: str
    passage_gone: str
    answer_gone: str
    forget_ask: str
    forget_yes: str
    forget_no: str
    forget_kept: str
    forgotten: str
    rated: str
    rate_why: str
    reasons: Mapping[Reason, str]
    asked: str
    asked_before: str
    commands: Mapping[str, str]
    """What each command does, in the order in which a menu shows them."""


_EN = Words(
    stop="⏹ Stop",
    retry="🔄 Try again",
    sources="Sources",
    page="p.",
    start="Hello! Ask me a question in your own words, and I will answer from our documents and name the sources.",
    examples="You could begin with one of these:",
    privacy="What you ask is kept for {days} days, to answer follow-up questions and to improve the answers. "
    "/forget erases it at once.",
    help="Just write your question; a question that follows on from the last one is understood. "
    "You can also reply to an older answer, or change a question to have it answered again. "
    "In a group, mention me, reply to me or write /ask and your question.\n\n"
    "/new – begin anew: I forget what we talked about\n"
    "/stop – stop the answer that is being written\n"
    "/retry – answer the last question again\n"
    "/sources – where the last answer comes from\n"
    "/forget – erase everything you have asked me\n"
    "/help – this text",
    unknown_command="I do not know this command.",
    only_text="I can only read text so far. Please write your question in words.",
    stopped="Stopped.",
    nothing_to_stop="There is no answer being written.",
    not_yours="This is for the person who asked.",
    begun_anew="Let us begin anew: your next question stands for itself.",
    nothing_said="You have not asked me anything yet. Just write your question.",
    no_sources="The last answer has no sources.",
    passage_gone="This passage is not there any more.",
    answer_gone="I do not remember this answer any more. Please ask again.",
    forget_ask="Shall I erase everything you have asked me, with the answers and your ratings? "
    "This cannot be undone. The messages in this chat stay until you delete them.",
    forget_yes="🗑 Erase",
    forget_no="Keep",
    forget_kept="Nothing was erased.",
    forgotten="Erased. I do not remember anything you have asked me.",
    rated="Thank you!",
    rate_why="What was not good about it?",
    reasons={
        "wrong": "It is wrong",
        "incomplete": "Something is missing",
        "outdated": "It is out of date",
        "other": "Something else",
    },
    asked="I am on it.",
    asked_before="You have asked this already.",
    commands={
        "start": "What I can do",
        "ask": "Ask a question",
        "new": "Begin anew",
        "stop": "Stop the answer",
        "retry": "Answer the last question again",
        "sources": "Sources of the last answer",
        "forget": "Erase what I have asked",
        "help": "How to ask",
    },
)
_VI = Words(
    stop="⏹ Dừng",
    retry="🔄 Thử lại",
    sources="Nguồn",
    page="tr.",
    start="Xin chào! Bạn cứ hỏi bằng lời của mình, tôi sẽ trả lời dựa trên tài liệu của chúng tôi và nêu rõ nguồn.",
    examples="Bạn có thể bắt đầu với một trong các câu này:",
    privacy="Câu hỏi của bạn được lưu {days} ngày, để trả lời câu hỏi tiếp theo và để trả lời tốt hơn. "
    "/forget xóa ngay lập tức.",
    help="Bạn chỉ cần viết câu hỏi; tôi hiểu cả câu hỏi nối tiếp câu trước. "
    "Bạn cũng có thể trả lời vào một câu trả lời cũ, hoặc sửa câu hỏi để được trả lời lại. "
    "Trong nhóm, hãy nhắc tên tôi, trả lời tin nhắn của tôi hoặc viết /ask kèm câu hỏi.\n\n"
    "/new – bắt đầu lại: tôi quên những gì đã nói\n"
    "/stop – dừng câu trả lời đang viết\n"
    "/retry – trả lời lại câu hỏi vừa rồi\n"
    "/sources – nguồn của câu trả lời vừa rồi\n"
    "/forget – xóa mọi câu bạn đã hỏi tôi\n"
    "/help – hướng dẫn này",
    unknown_command="Tôi không biết lệnh này.",
    only_text="Hiện tôi chỉ đọc được chữ. Bạn vui lòng viết câu hỏi bằng chữ nhé.",
    stopped="Đã dừng.",
    nothing_to_stop="Hiện không có câu trả lời nào đang được viết.",
    not_yours="Nút này dành cho người đặt câu hỏi.",
    begun_anew="Chúng ta bắt đầu lại: câu hỏi tiếp theo của bạn được hiểu riêng.",
    nothing_said="Bạn chưa hỏi tôi câu nào. Bạn cứ viết câu hỏi nhé.",
    no_sources="Câu trả lời vừa rồi không có nguồn.",
    passage_gone="Đoạn này không còn nữa.",
    answer_gone="Tôi không còn nhớ câu trả lời này. Bạn vui lòng hỏi lại.",
    forget_ask="Tôi xóa mọi câu bạn đã hỏi, cùng câu trả lời và đánh giá của bạn nhé? "
    "Việc này không hoàn lại được. Tin nhắn trong cuộc trò chuyện này vẫn còn cho đến khi bạn xóa.",
    forget_yes="🗑 Xóa",
    forget_no="Giữ lại",
    forget_kept="Không có gì bị xóa.",
    forgotten="Đã xóa. Tôi không còn nhớ những gì bạn đã hỏi.",
    rated="Cảm ơn bạn!",
    rate_why="Câu trả lời chưa tốt ở chỗ nào?",
    reasons={
        "wrong": "Trả lời sai",
        "incomplete": "Còn thiếu",
        "outdated": "Đã cũ",
        "other": "Lý do khác",
    },
    asked="Tôi trả lời ngay đây.",
    asked_before="Bạn đã hỏi câu này rồi.",
    commands={
        "start": "Tôi giúp được gì",
        "ask": "Đặt câu hỏi",
        "new": "Bắt đầu lại",
        "stop": "Dừng câu trả lời",
        "retry": "Trả lời lại câu vừa rồi",
        "sources": "Nguồn của câu trả lời",
        "forget": "Xóa những gì tôi đã hỏi",
        "help": "Cách hỏi",
    },
)
LANGUAGES: Mapping[str, Words] = {"en": _EN, "vi": _VI}


def words(language: str | None) -> Words:
    """The sentences in the language, or in English where we do not have it."""
    return LANGUAGES.get((language or "en").split("-")[0].lower(), _EN)
