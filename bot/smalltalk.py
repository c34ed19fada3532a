"""Greetings, thanks and "a person, please": a fixed kind reply in the asker's language, without retrieval."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from bot.words import word
from rag.types import Language

Kind = Literal["greeting", "thanks", "person"]

_VI_YOU = r"(?:ban|em|anh|chi|shop|ad|admin|bot)"
_EN_PERSON = r"(?:real |live )?(?:person|human|agent|operator|someone|representative|staff)"
_EN_ASK = r"(?:can|could|may) i |i (?:want|need|would like|d like) to |please |let me "
_VI_ASK = r"(?:gap truc tiep|gap|noi chuyen|chat|ket noi)(?: voi)?"
_VI_WISH = r"(?:(?:cho )?(?:toi|em|minh|anh|chi) )?(?:(?:muon|can|xin) )?(?:duoc )?"
_VI_PERSON = r"(?:nhan vien|tu van vien|nguoi that|tong dai vien|tong dai|nguoi ho tro)"

# Whole messages only: "hello, how much is the theft cover?" is a question, not a greeting.
_SOURCES: tuple[tuple[Kind, Language, str], ...] = (
    ("greeting", "en", r"(?:hi|hello|hey|hiya|good (?:morning|afternoon|evening|day))(?: (?:there|all|everyone))?"),
    ("greeting", "vi", rf"(?:xin )?chao(?: (?:{_VI_YOU}|moi nguoi|buoi (?:sang|trua|chieu|toi)))*(?: (?:a|nhe|oi))?"),
    ("greeting", "vi", rf"alo|(?:hi|hello|hey) {_VI_YOU}"),
    ("thanks", "en", r"(?:many )?(?:thanks?|thx|ty|cheers)(?: you)?(?: (?:so|very) much| a lot)?(?: (?:bye|goodbye))?"),
    ("thanks", "vi", rf"(?:da )?(?:xin )?(?:cam on|thank|tks)(?: (?:{_VI_YOU}|nhieu|rat))*(?: (?:a|nhe|nha))?"),
    (
        "person",
        "en",
        rf"(?:{_EN_ASK})?(?:talk|speak|chat)(?: with| to)? (?:a |an |the |some )?{_EN_PERSON}(?: please)?",
    ),
    ("person", "en", r"(?:a |an )?(?:real |live )?(?:person|human|agent|operator)(?: please)?"),
    (
        "person",
        "vi",
        rf"{_VI_WISH}{_VI_ASK} {_VI_PERSON}(?: (?:a|nhe|di|giup toi|voi))*",
    ),
)
_PATTERNS = tuple((kind, language, re.compile(pattern)) for kind, language, pattern in _SOURCES)

# Longer messages carry a question even when they begin politely.
_MOST_WORDS = 9


def classify(text: str) -> tuple[Kind, Language] | None:
    """What kind of small talk the *whole* text is, and in which language; None if it is anything else."""
    folded = unicodedata.normalize("NFD", text.casefold().replace("đ", "d"))
    plain = "".join(char for char in folded if not unicodedata.combining(char))
    words = re.findall(r"[^\W_]+", plain)
    if not words or len(words) > _MOST_WORDS:
        return None
    sentence = " ".join(words)
    for kind, language, pattern in _PATTERNS:
        if pattern.fullmatch(sentence):
            return kind, language
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallTalk:
    """Knows whom to point to when somebody asks for a person."""

    contact: str | None = None

    def reply(self, text: str) -> str | None:
        """The fixed reply in the language of the text, or None if the text is not small talk."""
        found = classify(text)
        if found is None:
            return None
        kind, spoken = found
        if kind != "person":
            return word(kind, spoken)
        if not self.contact:
            return word("person_no_contact", spoken)
        return word("person", spoken).format(contact=self.contact)
