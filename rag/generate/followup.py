"""Whether a question evidently leans on what was said before, without asking a model; in English and Vietnamese.

The rule errs on the side of leaving a question alone: one that is taken for a follow-up and is none is answered about
the wrong thing, one that is missed gets an honest "not in the documents" and is asked again in full.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rag.analyse import WORD, analyse
from rag.language import detect, fold
from rag.ports import Rewrite
from rag.resilience.deadline import Deadline
from rag.types import Exchange, Language
from rag.words import function_terms

MOST_SUBJECT_WORDS = 14
"""Of the question before; the end of a longer one is left out."""

# English. `how about`, `what about`, and a bare phrase after `and`, `or`, `but` stand for a whole question.
_EN_LEAD = re.compile(r"^(?:(?:ok(?:ay)?|well|and|or|but|so|then|also)\b[\s,]*)+")
_EN_ABOUT = re.compile(r"^(?:what|how) (?:about|if it)\b")
_EN_PREPOSITION = re.compile(r"^(?:for|in|on|at|with|without|from|by|after|before|under|over|per)\b")
_EN_ASKS = re.compile(
    r"\b(?:what|which|who|whom|whose|when|where|why|how|is|are|was|were|do|does|did|can|could|will|would|should|may"
    r"|must|has|have|tell|explain|show|give|list)\b"
)
_EN_PERSONAL = re.compile(r"\b(?:it|its|they|them|their|he|she|him)\b")
_EN_POINTING = re.compile(
    r"\b(?:do|does|did|is|are|was|will|can|would|about|for|of|with|like|than|after|before|by|in|to)"
    r" (?:this|that|these|those)\b"
    r"(?! (?:year|month|week|day|time|morning|evening|season|summer|winter|spring|bot|chat))"
)
# "How long does it take to get a card?": this `it` stands for what follows.
_EN_EXPLETIVE = re.compile(
    r"\bit (?:\w+ ){0,3}?(?:to|that|if|when|for \w+ to)\b|\b(?:is|was) it (?:\w+ ){0,2}?(?:to|that|if)\b"
)

# Vietnamese, with marks; without them too many of these words are others as well (`vay` is a loan).
_VI_LEAD = re.compile(r"^(?:(?:thế|vậy|và|rồi|còn|à|ừ|ủa|ok)\b(?! (?:nào|chấp|giới|hệ|kỷ|vận|mạng))(?: thì\b)?[\s,]*)+")
_VI_WHAT_OF = re.compile(
    r"^(?:(?:thế|vậy|và|à)[\s,]+)*(?:còn|nếu là|đối với|với|thế|vậy)\b(?! (?:nào|chấp|giới|hệ))"
    r".*\bthì (?:sao|thế nào|như thế nào)\b"
)
_VI_STILL = re.compile(r"^(?:(?:thế|vậy|và|à)[\s,]+)*còn\b(?! (?:bao nhiêu|mấy|lại|hạn|hiệu lực|thiếu|nợ))")
_VI_POINTING = re.compile(
    r"\bnó\b|\bnhư (?:vậy|thế)\b|\bở (?:đó|đấy)\b"
    r"|(?!\b(?:năm|tháng|tuần|ngày|hôm|sau|trước|do|trong|lúc|khi|bot) )\b\w+ (?:đó|này|ấy|đấy)\b"
)
_VI_UNMARKED_WHAT_OF = re.compile(r"^(?:(?:the|vay|va|a)[\s,]+)*con\b.*\bthi (?:sao|the nao)\b")

_CODE = re.compile(r"(?=\S*\d)(?=\S*[^\W\d_])\w[\w./-]*\w")
_LONGEST_CODE = 64
"""Characters, punctuation around it and all: the search is quadratic, and a long run without blanks holds no code."""


class RuleRewriter:
    """Implements `rag.ports.Rewriter` without a model."""

    async def rewrite(
        self,
        question: str,
        history: Sequence[Exchange],
        *,
        language: Language,  # noqa: ARG002 - the port's
        deadline: Deadline,  # noqa: ARG002 - likewise
    ) -> Rewrite:
        """See `Rewriter.rewrite`."""
        return Rewrite(text=joined(question, history))


def is_follow_up(question: str, *, after: str = "") -> bool:
    """Whether `question` cannot be understood by itself; `after`: the question before it, which hints at a language."""
    text = " ".join(question.split()).rstrip("?!. ").casefold()
    language = detect(after)
    if language != "vi" or not _VI_STILL.match(text):  # two words and their letters may be in many languages
        language = detect(question, default=language)
    if language == "vi":
        return _is_vietnamese_follow_up(text, question)
    return language == "en" and _is_english_follow_up(text, question)


def joined(question: str, history: Sequence[Exchange]) -> str | None:
    """What to look up for a follow-up: the subject of the question before it, and itself; None if it is none."""
    if not history or not is_follow_up(question, after=history[-1].question):
        return None
    about = subject(history[-1].question)
    return f"{about}: {question}" if about else None


def subject(question: str) -> str:
    """The words of a question that say what it is about, in their order, each once."""
    language = detect(question)
    function = function_terms(language, is_folded=language == "vi" and fold(question) == question.casefold())
    words: dict[str, str] = {}
    for found in WORD.finditer(question.replace("_", " ")):
        word = found.group()
        if not set(analyse(word).marked) <= function:
            words.setdefault(word.casefold(), word)
    return " ".join(list(words.values())[:MOST_SUBJECT_WORDS])


def _is_english_follow_up(text: str, written: str) -> bool:
    rest = _EN_LEAD.sub("", text)
    has_lead = rest != text
    words = len(rest.split())
    content = _content(rest, "en")
    if _EN_ABOUT.match(rest):
        return words <= 9
    if words <= 5 and not content:
        return True
    if not _EN_ASKS.search(rest):
        # A bare phrase is one that only a question before it can make whole.
        return (has_lead and words <= 6) or (bool(_EN_PREPOSITION.match(rest)) and words <= 4)
    if _has_names(written):
        return False
    return (has_lead and content <= 2) or _points_back_in_english(rest, content)


def _points_back_in_english(text: str, content: int) -> bool:
    pointing = _EN_PERSONAL.search(text) or _EN_POINTING.search(text)
    if pointing is None or _EN_EXPLETIVE.search(text):
        return False
    # What a pronoun stands for comes before it, if it is there at all.
    before = _content(text[: pointing.start()], "en")
    return (before == 0 and content <= 5) or (before == 1 and content <= 3)


def _is_vietnamese_follow_up(text: str, written: str) -> bool:
    syllables = len(text.split())
    if fold(text) == text:
        return bool(_VI_UNMARKED_WHAT_OF.match(text)) and syllables <= 9
    if _VI_WHAT_OF.match(text) or _VI_STILL.match(text):
        return syllables <= (11 if _VI_WHAT_OF.match(text) else 7)
    rest = _VI_LEAD.sub("", text)
    content = _content(rest, "vi")
    if len(rest.split()) <= 5 and not content:
        return True
    if _has_names(written):
        return False
    if rest != text and content <= 3:
        return True
    pointing = _VI_POINTING.search(rest)
    return pointing is not None and _content(rest[: pointing.start()], "vi") <= 2 and content <= 6


def _content(text: str, language: Language) -> int:
    function = function_terms(language, is_folded=False)
    return sum(term not in function for term in analyse(text).marked)


def _has_names(written: str) -> bool:
    """Whether it names something: a code, or a word that is written large without having to be."""
    words = written.split()[1:]
    large = (word.strip("\"'“”‘’(),.?!") for word in words)
    return holds_code(written) or any(word[:1].isupper() and word not in {"I", "I'm"} for word in large)


def holds_code(written: str) -> bool:
    """Whether one of its words is, or holds, digits and letters together ("BT-03")."""
    return any(len(word) <= _LONGEST_CODE and _CODE.search(word) for word in written.split())
