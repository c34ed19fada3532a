"""What the bot says to admins within a chat, in English and Vietnamese; causes of errors are English, as in the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminWords:
    """One language."""

    choose: str
    new_collection: str
    cancel: str
    name_new: str
    cancelled: str
    file_gone: str
    too_large: str
    bad_collection: str
    not_taken: str
    going_on: str
    resend: str
    failed: str

    waiting: str
    retrying: str
    fetching: str
    reading: str
    vectors: str
    taken: str
    unchanged: str
    not_ended: str
    more_errors: str

    warming: str
    warmed: str
    warmed_one: str
    nothing_due: str
    not_warmed: str
    with_failures: str
    job_lost: str

    faq_usage: str
    faq_added: str
    faq_unread: str
    faq_removed: str
    faq_unknown: str
    faq_ambiguous: str
    faq_none: str
    faq_list: str
    faq_more: str
    faq_not_served: str

    all_well: str
    degraded: str
    documents: str
    no_documents: str
    collection: str
    pending: str
    faqs: str
    jobs: str
    pools: str

    latency: str
    no_turns: str


_EN = AdminWords(
    choose="Which collection shall “{name}” go into?",
    new_collection="➕ New collection",
    cancel="✖ Cancel",
    name_new="Reply to your document with the new collection's name (1 to 40 of a-z, 0-9 and _), or choose one here.",
    cancelled="“{name}” was not taken in.",
    file_gone="That document is not there any more. Please send it again.",
    too_large="“{name}” has {size}. Telegram lets bots fetch at most {limit}: upload it on the dashboard, take it in "
    "with `grapevine ingest`, or set up a local Bot API server.",
    bad_collection="“{name}” cannot be a collection's name: use 1 to 40 of a-z, 0-9 and _, like “public”.",
    not_taken="❌ Not taken: {reason}.",
    going_on="That is being done already.",
    resend="I carry out commands as they are sent, not as they are edited. Please send it anew.",
    failed="❌ That did not work: {reason}",
    waiting="⏳ Waiting for its turn…",
    retrying="⏳ That did not work yet; trying again…",
    fetching="⬇️ Fetching…",
    reading="📖 Reading…",
    vectors="🔎 Found by its words already. Chunks that wait for their vectors: {count}.",
    taken="✅ Taken in: {documents}, {chunks}, {entities}.",
    unchanged="✅ Nothing to do: this very text was taken in before.",
    not_ended="❌ Not taken in.",
    more_errors="… and {count} more",
    warming="🔥 Making answers: {done} of {total}.",
    warmed="✅ Answers made from the documents: {done}.",
    warmed_one="✅ Answered at once from now on, from the documents.",
    nothing_due="✅ All answers made from the documents are up to date.",
    not_warmed="❌ No answer was made.",
    with_failures="Not made: {failed}.",
    job_lost="This job is not known any more.",
    faq_usage="/faq add QUESTION | ANSWER\n"
    "/faq add QUESTION – the answer is made from the documents\n"
    "/faq list · /faq list COLLECTION\n"
    "/faq remove ID\n"
    "/faq warm – make anew what is out of date; /faq warm all: everything made from documents\n\n"
    "They go into the collection “public”; for another one write #COLLECTION first: /faq add #staff QUESTION | ANSWER",
    faq_added="✅ Answered at once from now on ({collection}). Id: {id}",
    faq_unread="⚠️ The collection “{collection}” has no documents. Is it spelt right?",
    faq_removed="🗑 Removed: {question}",
    faq_unknown="There is no FAQ {id}; /faq list names them.",
    faq_ambiguous="Several FAQs begin with {id}; please give more of it.",
    faq_none="There are no FAQs yet. /faq add QUESTION | ANSWER adds one.",
    faq_list="FAQs {first} to {last} of {total}:",
    faq_more="Next: /faq list {where}{page}",
    faq_not_served="not served: {state}",
    all_well="all is well",
    degraded="degraded",
    documents="Documents:",
    no_documents="No documents yet: send me one, or run grapevine ingest.",
    collection="{documents}, {chunks}",
    pending="{count} wait for their vectors",
    faqs="FAQs: {total}, of which {away} are not served",
    jobs="Jobs: {running} running, {queued} waiting, {failed} of the last {known} failed",
    pools="Pool {name}: {figures}",
    latency="The last {turns} answers, in milliseconds:",
    no_turns="Nobody has asked since the start.",
)
_VI = AdminWords(
    choose="Đưa “{name}” vào bộ tài liệu nào?",
    new_collection="➕ Bộ mới",
    cancel="✖ Hủy",
    name_new="Hãy trả lời (reply) tin nhắn chứa tài liệu bằng tên bộ mới (1 đến 40 ký tự a-z, 0-9 và _), "
    "hoặc chọn một bộ ở đây.",
    cancelled="Không đưa “{name}” vào.",
    file_gone="Tài liệu đó không còn nữa. Bạn gửi lại giúp nhé.",
    too_large="“{name}” có dung lượng {size}. Telegram chỉ cho bot tải tối đa {limit}: hãy tải lên ở trang quản "
    "trị, dùng `grapevine ingest`, hoặc chạy máy chủ Bot API riêng.",
    bad_collection="“{name}” không dùng làm tên bộ tài liệu được: chỉ dùng 1 đến 40 ký tự a-z, 0-9 và _.",
    not_taken="❌ Không nhận: {reason}.",
    going_on="Việc này đang được làm rồi.",
    resend="Tôi chỉ thực hiện lệnh lúc gửi, không theo bản sửa. Bạn gửi lại lệnh mới nhé.",
    failed="❌ Không làm được: {reason}",
    waiting="⏳ Đang chờ đến lượt…",
    retrying="⏳ Chưa được; đang thử lại…",
    fetching="⬇️ Đang tải về…",
    reading="📖 Đang đọc…",
    vectors="🔎 Đã tìm được theo từ. Số đoạn còn chờ vector: {count}.",
    taken="✅ Đã nhận: {documents}, {chunks}, {entities}.",
    unchanged="✅ Không có gì mới: nội dung này đã có từ trước.",
    not_ended="❌ Không nhận được.",
    more_errors="… và {count} lỗi nữa",
    warming="🔥 Đang soạn câu trả lời: {done}/{total}.",
    warmed="✅ Đã soạn từ tài liệu: {done} câu trả lời.",
    warmed_one="✅ Từ giờ câu này được trả lời ngay, theo tài liệu.",
    nothing_due="✅ Mọi câu trả lời soạn từ tài liệu đều còn mới.",
    not_warmed="❌ Không soạn được câu trả lời.",
    with_failures="Không soạn được: {failed}.",
    job_lost="Không còn thông tin về việc này.",
    faq_usage="/faq add CÂU HỎI | CÂU TRẢ LỜI\n"
    "/faq add CÂU HỎI – câu trả lời được soạn từ tài liệu\n"
    "/faq list · /faq list TÊN_BỘ\n"
    "/faq remove MÃ\n"
    "/faq warm – soạn lại những câu đã cũ; /faq warm all: mọi câu soạn từ tài liệu\n\n"
    "Mặc định là bộ “public”; muốn bộ khác, viết #TÊN_BỘ trước: /faq add #staff CÂU HỎI | CÂU TRẢ LỜI",
    faq_added="✅ Từ giờ câu này được trả lời ngay ({collection}). Mã: {id}",
    faq_unread="⚠️ Bộ “{collection}” chưa có tài liệu nào. Bạn viết đúng tên chưa?",
    faq_removed="🗑 Đã xóa: {question}",
    faq_unknown="Không có câu hỏi thường gặp {id}; /faq list liệt kê tất cả.",
    faq_ambiguous="Nhiều mã bắt đầu bằng {id}; bạn ghi thêm vài ký tự nhé.",
    faq_none="Chưa có câu hỏi thường gặp nào. /faq add CÂU HỎI | CÂU TRẢ LỜI để thêm.",
    faq_list="Câu hỏi thường gặp {first} đến {last} trên {total}:",
    faq_more="Tiếp: /faq list {where}{page}",
    faq_not_served="không dùng: {state}",
    all_well="mọi thứ ổn",
    degraded="có trục trặc",
    documents="Tài liệu:",
    no_documents="Chưa có tài liệu: hãy gửi cho tôi một tệp, hoặc chạy grapevine ingest.",
    collection="{documents}, {chunks}",
    pending="{count} đoạn chờ vector",
    faqs="Câu hỏi thường gặp: {total}, trong đó {away} câu không dùng",
    jobs="Công việc: {running} đang chạy, {queued} đang chờ, {failed} trong {known} việc gần đây bị lỗi",
    pools="Kết nối {name}: {figures}",
    latency="{turns} câu trả lời gần nhất, tính bằng mili giây:",
    no_turns="Chưa có ai hỏi kể từ lúc khởi động.",
)
_LANGUAGES: Mapping[str, AdminWords] = {"en": _EN, "vi": _VI}
_THINGS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "en": {
        "documents": ("1 document", "{} documents"),
        "chunks": ("1 chunk", "{} chunks"),
        "entities": ("1 entity", "{} entities"),
    },
    "vi": {
        "documents": ("1 tài liệu", "{} tài liệu"),
        "chunks": ("1 đoạn", "{} đoạn"),
        "entities": ("1 thực thể", "{} thực thể"),
    },
}


def admin_words(language: str | None) -> AdminWords:
    """The sentences in this language, or in English where we do not have it."""
    return _LANGUAGES.get(_code(language), _EN)


def things(language: str | None, found: Mapping[str, int]) -> dict[str, str]:
    """Counts with their nouns: `1 document`, `12 chunks`."""
    forms = _THINGS.get(_code(language), _THINGS["en"])
    counts = {kind: found.get(kind, 0) for kind in forms}
    return {kind: forms[kind][0] if count == 1 else forms[kind][1].format(count) for kind, count in counts.items()}


def _code(language: str | None) -> str:
    return (language or "en").split("-")[0].lower()
