"""A FAQ as somebody wrote it down: checked, but not answered yet."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from bot.access import COLLECTION
from rag.asked import LONGEST_QUESTION, cleaned
from rag.cache.faq import Faq, new_faq
from rag.cache.keys import question_key
from rag.errors import InputError
from rag.language import detect
from rag.types import Citation, Language

DEFAULT_COLLECTION = "public"
MOST_PARAPHRASES = 50
LONGEST_ANSWER = 20_000
"""Characters; some five messages on Telegram."""

_LANGUAGE = re.compile(r"[a-z]{2,3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One FAQ to be. Made by `new_draft`."""

    question: str
    answer: str | None
    """None: to be made from the documents."""
    paraphrases: tuple[str, ...]
    collection: str
    language: Language
    """The language of the question unless given."""

    @property
    def faq_id(self) -> str:
        """The same for the same question of the same collection and language: adding it again replaces it."""
        identity = "\0".join((self.collection, self.language, question_key(self.question)))
        return hashlib.sha256(identity.encode()).hexdigest()[:16]

    def curated(self) -> Faq:
        """The FAQ with the answer that was given."""
        assert self.answer is not None
        return self._faq(self.answer, ())

    def warmed(self, answer: str, citations: tuple[Citation, ...]) -> Faq:
        """The FAQ with an answer from the documents."""
        return self._faq(answer, citations)

    def _faq(self, answer: str, citations: tuple[Citation, ...]) -> Faq:
        return new_faq(
            faq_id=self.faq_id,
            collection=self.collection,
            language=self.language,
            kind="warmed" if self.answer is None else "curated",
            question=self.question,
            paraphrases=self.paraphrases,
            answer=answer,
            citations=citations,
        )


def new_draft(
    question: str,
    *,
    answer: str | None = None,
    paraphrases: Sequence[str] = (),
    collection: str = DEFAULT_COLLECTION,
    language: Language | None = None,
) -> Draft:
    """A checked draft; an answer without text counts as none.

    Raises:
        InputError: Naming what is wrong and the accepted form.
    """
    check_collection_name(collection)
    question, *others = (cleaned(text) for text in (question, *paraphrases))
    if not question_key(question):
        raise InputError("the question needs words")
    others = [text for text in others if text]
    if any(not question_key(text) for text in others):
        raise InputError("every paraphrase needs words")
    if len(others) > MOST_PARAPHRASES:
        raise InputError(f"a FAQ may have at most {MOST_PARAPHRASES} paraphrases, not {len(others)}")
    if longest := max(map(len, (question, *others))):
        _at_most(longest, LONGEST_QUESTION, "a question")
    answer = cleaned(answer or "")
    _at_most(len(answer), LONGEST_ANSWER, "an answer")
    if language is not None and not _LANGUAGE.fullmatch(language):
        raise InputError("a language is two or three small letters, like `en` or `vi`")
    return Draft(
        question=question,
        answer=answer or None,
        paraphrases=tuple(dict.fromkeys(others)),
        collection=collection,
        language=language or detect(question),
    )


def draft_again(faq: Faq) -> Draft:
    """The draft that a FAQ was made from, for making its answer anew."""
    return Draft(
        question=faq.question,
        answer=None if faq.kind == "warmed" else faq.answer,
        paraphrases=faq.paraphrases,
        collection=faq.collection,
        language=faq.language,
    )


def check_collection_name(name: str) -> str:
    """`name`, if a collection may be called so. Raises `InputError` with the accepted form."""
    if not COLLECTION.fullmatch(name):
        raise InputError("a collection's name is 1 to 40 of a-z, 0-9 and _, like `public`")
    return name


def _at_most(length: int, limit: int, what: str) -> None:
    if length > limit:
        raise InputError(f"{what} may have at most {limit} characters, not {length}")
