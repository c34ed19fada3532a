"""Questions worth asking next: FAQs near an answer, picked without a model and only from what the asker may read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from functools import lru_cache

from rag.analyse import analyse
from rag.cache.faq import Faq, FaqBook
from rag.cache.keys import question_key
from rag.types import Citation, Language
from rag.words import function_terms

MOST = 3
_TERMS_IN_COMMON = {"vi": 4}
"""A Vietnamese word is two syllables on average, and each of them a term."""
_TERMS_ELSEWHERE = 2
_SAME = 0.75
"""Share of their terms that two questions have in common which ask the same."""
_KEPT = 20_000
"""Questions of FAQs, paraphrases included, whose words are remembered."""


def follow_ups(
    book: FaqBook,
    *,
    asked: Sequence[str],
    answer: str,
    citations: Sequence[Citation],
    collections: frozenset[str],
    language: Language,
) -> tuple[str, ...]:
    """What `near` finds among the FAQs of today."""
    return near(
        book.faqs,
        asked=asked,
        answer=answer,
        citations=citations,
        collections=collections,
        language=language,
        today=book.today(),
    )


def near(
    faqs: Iterable[Faq],
    *,
    asked: Sequence[str],
    answer: str,
    citations: Sequence[Citation],
    collections: frozenset[str],
    language: Language,
    today: date,
) -> tuple[str, ...]:
    """At most `MOST` questions, the nearest first.

    A FAQ is near if it cites a document that the answer cites, or shares what it is about with question and answer.

    Args:
        faqs: All there are; those that may not be read have no part in anything.
        asked: The question and those before it in the conversation: none of them is suggested.
        answer: What was answered.
        citations: What that cites.
        collections: What the asker may read.
        language: Of the answer; suggestions are in the same.
        today: Decides which FAQs are still valid.
    """
    keys = {question_key(text) for text in asked}
    told = [_terms(text, language) for text in asked]
    candidates = [
        faq
        for faq in faqs
        if faq.collection in collections
        and faq.language == language
        and faq.is_servable(today)
        and keys.isdisjoint(map(faq_key, (faq.question, *faq.paraphrases)))
        and not any(_is_same(faq_terms(faq.question, language), terms) for terms in told)
    ]
    cited = {(citation.collection, citation.document) for citation in citations}
    about = _terms(answer, language).union(*told[:1])
    frequency = Counter(term for faq in candidates for term in faq_terms(faq.question, language))
    ranked: list[tuple[int, float, str]] = []
    for faq in candidates:
        documents = {(citation.collection, citation.document) for citation in faq.citations} & cited
        shared = faq_terms(faq.question, language) & about
        if documents or len(shared) >= _TERMS_IN_COMMON.get(language, _TERMS_ELSEWHERE):
            # Documents first; then what few other questions share.
            ranked.append((-len(documents), -sum(sorted(1 / frequency[term] for term in shared)), faq.question))
    return tuple(question for _, _, question in sorted(set(ranked))[:MOST])


@lru_cache(maxsize=_KEPT)
def faq_key(question: str) -> str:
    """`question_key`, kept for the questions of FAQs alone: there are thousands of them to compare on every turn."""
    return question_key(question)


@lru_cache(maxsize=_KEPT)
def faq_terms(question: str, language: Language) -> frozenset[str]:
    """What a FAQ's question is about; kept for the same reason. What people ask and are told is not kept."""
    return _terms(question, language)


def _terms(text: str, language: Language) -> frozenset[str]:
    return frozenset(analyse(text).marked) - function_terms(language, is_folded=False)


def _is_same(one: frozenset[str], other: frozenset[str]) -> bool:
    return bool(one) and len(one & other) >= _SAME * len(one | other)
