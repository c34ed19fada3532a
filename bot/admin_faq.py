"""`/faq ...` as an admin writes it in a chat: what is meant, and how the list reads. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from bot.access import COLLECTION
from bot.admin_words import AdminWords
from bot.faqs.desk import faq_state
from bot.faqs.drafts import DEFAULT_COLLECTION
from rag.cache.faq import Faq

PAGE = 20
"""FAQs in one message."""
SHORT_ID = 8
_LONGEST_LINE = 120
_HASH = re.compile(r"#(\S+)\s*(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaqAdd:
    """Add one; without an answer it is made from the documents."""

    question: str
    answer: str | None
    collection: str = DEFAULT_COLLECTION


@dataclass(frozen=True, slots=True, kw_only=True)
class FaqList:
    """Show a page of them."""

    collection: str | None = None
    page: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FaqRemove:
    """Remove these; the beginning of an id will do."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaqWarm:
    """Make answers anew: those that are out of date, or all that came from documents."""

    collection: str | None = None
    everything: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FaqHelp:
    """It was not clear what is wanted."""


FaqRequest = FaqAdd | FaqList | FaqRemove | FaqWarm | FaqHelp


def parse_faq(text: str) -> FaqRequest:
    """What was written after `/faq`."""
    verb, rest = [*text.split(maxsplit=1), "", ""][:2]
    rest = rest.strip()
    match verb.lower():
        case "add":
            return _parse_add(rest)
        case "list":
            return _parse_list(rest.split())
        case "remove":
            ids = tuple(dict.fromkeys(rest.lower().split()))
            return FaqRemove(ids=ids) if ids else FaqHelp()
        case "warm":
            return _parse_warm(rest.split())
        case _:
            return FaqHelp()


def _parse_add(rest: str) -> FaqRequest:
    collection = DEFAULT_COLLECTION
    if named := _HASH.fullmatch(rest):
        collection, rest = named[1], named[2]
    question, bar, answer = rest.partition("|")
    if not question.strip() or (bar and not answer.strip()):
        return FaqHelp()
    return FaqAdd(question=question.strip(), answer=answer.strip() or None, collection=collection)


def _parse_list(given: Sequence[str]) -> FaqRequest:
    collection: str | None = None
    page = 1
    for word in given:
        name = word.removeprefix("#")
        if word.isascii() and word.isdigit() and len(word) < 6:
            page = max(1, int(word))
        elif COLLECTION.fullmatch(name) and collection is None:
            collection = name
        else:
            return FaqHelp()
    return FaqList(collection=collection, page=page)


def _parse_warm(given: Sequence[str]) -> FaqRequest:
    everything = any(word.lower() == "all" for word in given)
    names = [word.removeprefix("#") for word in given if word.lower() != "all"]
    if len(names) > 1 or not all(COLLECTION.fullmatch(name) for name in names):
        return FaqHelp()
    return FaqWarm(collection=names[0] if names else None, everything=everything)


def matching(faqs: Sequence[Faq], given: str) -> tuple[Faq, ...]:
    """The FAQs whose id begins so."""
    return tuple(faq for faq in faqs if given and faq.id.startswith(given))


def listing_text(faqs: Sequence[Faq], request: FaqList, words: AdminWords, today: date) -> str:
    """A page of the list."""
    if not faqs:
        return words.faq_none
    page = min(request.page, (len(faqs) + PAGE - 1) // PAGE)
    first = (page - 1) * PAGE
    shown = faqs[first : first + PAGE]
    lines = [words.faq_list.format(first=first + 1, last=first + len(shown), total=len(faqs))]
    lines += [_line(faq, words, today) for faq in shown]
    if first + PAGE < len(faqs):
        where = f"{request.collection} " if request.collection else ""
        lines += ["", words.faq_more.format(where=where, page=page + 1)]
    return "\n".join(lines)


def _line(faq: Faq, words: AdminWords, today: date) -> str:
    state = faq_state(faq, today)
    away = "" if state == "ready" else f" ({words.faq_not_served.format(state=state)})"
    question = " ".join(faq.question.split())
    if len(question) > _LONGEST_LINE:
        question = question[: _LONGEST_LINE - 1] + "…"
    return f"{faq.id[:SHORT_ID]} · {faq.collection} · {question}{away}"
