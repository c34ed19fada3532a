"""Greetings, thanks and "a person, please": a fixed kind reply in the asker's language, without retrieval."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from bot.words import word
from rag.types import Language

Kind = Literal["greeting", "thanks", "person"]

# Whole messages only: "hello, how much is the theft cover?" is a question, not a greeting.
_PATTERNS: tuple[tuple[Kind, Language, re.Pattern[str]], ...] = tuple(
    (kind, language, re.compile(rf"(?:{pattern})", re.IGNORECASE))
    for kind, language, pattern in (
        ("greeting", "en", r"(?:hi|hello|hey|hiya|good (?:morning|afternoon|evening|day))(?: (?:there|all|everyone))?"),
        (
            "greeting",
            "vi",
            r"(?:xin )?chao(?: (?:ban|em|anh|chi|shop|ad|admin|bot|moi nguoi|buoi (?:sang|trua|chieu|toi)))*(?: (?:a|nhe|oi))?"
            r"|alo|(?:hi|hello|hey) (?:ban|em|anh|chi|shop|ad|admin)",
        ),
        ("thanks", "en", r"(?:many )?(?:thanks?|thx|ty|cheers)(?: you)?(?: (?:so|very) much| a lot)?(?: (?:bye|goodbye))?"),
        ("thanks", "vi", r"(?:da )?(?:xin )?(?:cam on|cam on nhieu|thank|tks)(?: (?:ban|em|anh|chi|shop|ad|admin|nhieu|rat))*(?: (?:a|nhe|nha))?"),
        (
            "person",
            "en",
            r"(?:(?:can|could|may) i |i (?:want|need|would like|d like) to |please |let me )?(?:talk|speak|chat)(?: with| to)? "
            r"(?:a |an |the |some )?(?:real |live )?(?:person|human|agent|operator|someone|representative|staff)(?: please)?"
            r"|(?:a |an )?(?:real |live )?(?:person|human|agent|operator)(?: please)?",
        ),
        (
            "person",
            "vi",
            r"(?:(?:cho )?(?:toi|em|minh|anh|chi) )?(?:muon |can |xin )?(?:duoc )?(?:gap|noi chuyen|noi chuyen voi|gap truc tiep|chat voi|ket noi)"
            r"(?: voi)? (?:nhan vien|tu van vien|nguoi that|tong dai vien|tong dai|nguoi ho tro)(?: (?:a|nhe|di|giup toi|voi))*",
        ),
    )
)

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

    def reply(self, text: str, language: Language | None = None) -> str | None:
        """The fixed reply, or None if the text is not small talk. Its own language decides, not `language`."""
        found = classify(text)
        if found is None:
            return None
        kind, spoken = found
        if kind != "person":
            return word(kind, spoken)
        if not self.contact:
            return word("person_no_contact", spoken)
        return word("person", spoken).format(contact=self.contact)
