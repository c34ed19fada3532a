"""What people can say besides questions, whatever the platform: begin, look back, rate, begin anew, be forgotten."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from adapters.desk import SourceText, Visitor, Welcome
from adapters.past import PastAnswer, PastAnswers, RateOutcome, Verdict
from adapters.ports import Platform
from bot.audit import audit, person
from bot.words import word
from rag.errors import StoreError
from rag.language import detect
from rag.ports import DocumentPage
from rag.types import Language, Passage

log = structlog.get_logger(__name__)

EXAMPLES = 3
_TITLES_READ = 50
_LONGEST_TITLE = 60


class Passages(Protocol):
    """Gives one passage, if it may be read."""

    async def passage(self, passage_id: str, *, collections: frozenset[str]) -> Passage | None: ...


class Documents(Protocol):
    """Lists what there is."""

    async def documents(
        self, collections: frozenset[str], *, after: str | None = None, limit: int = 100, source: str | None = None
    ) -> DocumentPage: ...


class Places(Protocol):
    """Says what may be read where."""

    async def may_read(self, platform: Platform, place: str = "") -> frozenset[str]: ...

    async def moved(self, platform: Platform, old: str, new: str) -> None: ...


class Commands:
    """Implements `adapters.desk.Desk`. What may be read is asked each time, for the place where somebody is now.

    Args:
        past: What was asked and answered.
        passages: Where passages are.
        documents: Where documents are listed.
        places: Access.
        examples: Questions with answers that anybody who may read these collections can be shown, by language.
        retention_days: How long what is said is kept.
        hash_key: Under which persons are named in the log.
    """

    def __init__(
        self,
        *,
        past: PastAnswers,
        passages: Passages,
        documents: Documents,
        places: Places,
        examples: Callable[[frozenset[str]], Mapping[Language, tuple[str, ...]]],
        retention_days: float,
        hash_key: bytes,
    ) -> None:
        self._past = past
        self._passages = passages
        self._documents = documents
        self._places = places
        self._examples = examples
        self._retention_days = retention_days
        self._hash_key = hash_key

    async def welcome(self, visitor: Visitor) -> Welcome:
        """Example questions in the visitor's language where there are some: prepared ones first, then after titles.

        A store that is away has none.
        """
        try:
            collections = await self._places.may_read(visitor.platform, visitor.place)
        except StoreError as error:
            log.warning("examples_not_read", reason=str(error))
            return Welcome(examples=(), retention_days=self._retention_days)
        language = visitor.language or "en"
        questions = list(self._examples(collections).get(language, ()))[:EXAMPLES]
        if len(questions) < EXAMPLES:
            questions += await self._after_titles(collections, language, EXAMPLES - len(questions))
        return Welcome(examples=tuple(questions), retention_days=self._retention_days)

    async def last(self, visitor: Visitor) -> PastAnswer | None:
        """See `Desk.last`."""
        return await self._past.last(visitor.platform, visitor.conversation, visitor.person)

    async def answered_in(self, visitor: Visitor, message_id: str) -> PastAnswer | None:
        """See `Desk.answered_in`."""
        return await self._past.by_message(visitor.platform, visitor.conversation, message_id)

    async def passage(self, visitor: Visitor, passage_id: str) -> SourceText | None:
        """See `Desk.passage`. A store that is away has no passages."""
        try:
            collections = await self._places.may_read(visitor.platform, visitor.place)
            found = await self._passages.passage(passage_id, collections=collections)
        except StoreError as error:
            log.warning("passage_not_read", reason=str(error))
            return None
        if found is None:
            return None
        return SourceText(title=found.title, text=found.text, heading=found.heading, page=found.page)

    async def begin_anew(self, visitor: Visitor) -> None:
        """See `Desk.begin_anew`."""
        await self._past.begin_anew(visitor.platform, visitor.conversation, visitor.person)

    async def forget(self, visitor: Visitor) -> int:
        """See `Desk.forget`; leaves an audit line that names nobody."""
        count = await self._past.forget(visitor.platform, visitor.person)
        name = person(self._hash_key, visitor.platform, visitor.person)
        audit("forget", name, who=name)
        return count

    async def rate(self, visitor: Visitor, message_id: str, verdict: Verdict, reason: str | None = None) -> RateOutcome:
        """See `Desk.rate`."""
        return await self._past.rate(
            visitor.platform, visitor.conversation, message_id, visitor.person, verdict, reason
        )

    async def moved(self, platform: Platform, old: str, new: str) -> None:
        """See `Desk.moved`. Access first: nothing may be asked under the new name without it."""
        await self._places.moved(platform, old, new)
        await self._past.move(platform, old, new)

    async def _after_titles(self, collections: frozenset[str], language: Language, count: int) -> list[str]:
        try:
            page = await self._documents.documents(collections, limit=_TITLES_READ)
        except StoreError as error:
            log.warning("examples_not_read", reason=str(error))
            return []
        titles: dict[str, None] = {}
        for document in page.documents:
            title = " ".join(document.title.split())
            if title and len(title) <= _LONGEST_TITLE and (document.language or detect(title)) == language:
                titles[title] = None
        return [word("about_title", language).format(title=title) for title in list(titles)[:count]]
