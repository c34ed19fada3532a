"""What admins can do from within a private chat: give documents, look after FAQs, see how it goes.

Platform-neutral: a platform hands over what was said (`adapters.admin.AdminDesk`), and shows the notices. Every act
leaves its audit line; long work is a job, and its notice follows it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from adapters.admin import AdminPlatform, Choice, IncomingFile, Notice, NoticeAt
from adapters.ports import Platform
from bot.access import COLLECTION
from bot.admin_faq import (
    FaqAdd,
    FaqHelp,
    FaqList,
    FaqRemove,
    FaqRequest,
    FaqWarm,
    listing_text,
    matching,
    parse_faq,
)
from bot.admin_status import latency_table, status_text
from bot.admin_words import AdminWords, admin_words
from bot.audit import AuditOutcome, audit, person
from bot.faqs.desk import Faqs
from bot.faqs.drafts import Draft, new_draft
from bot.faqs.job import WARM
from bot.fetch_job import FETCH, fetch_payload
from bot.job_notices import JobNotices
from bot.jobs import JobRunner
from bot.state.jobs import JobTable
from bot.state.sqlite import StateError
from bot.telemetry.line import TurnLine
from bot.uploads import UploadError, safe_name
from rag.errors import RagError
from rag.ingest.parse.sniff import declared_format, unknown_suffix
from rag.ports import CollectionCounts, KnowledgeStore

log = structlog.get_logger(__name__)

_NEW, _CANCEL = "+", "-"
"""Choices that are no collection's name."""
_MOST_BUTTONS = 20
_JOBS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How the process is doing, for `/status` and `/latency`."""

    version: str
    recent: Callable[[], Sequence[TurnLine]]
    """The lines of the last turns."""
    missing: Callable[[], Awaitable[tuple[str, ...]]]
    """What keeps it from answering, one line each."""
    degraded: Callable[[], tuple[str, ...]]
    """What does not work as configured."""
    pools: Callable[[], Mapping[str, Mapping[str, float]]]


class AdminCommands:
    """See `adapters.admin.AdminDesk`.

    Args:
        admins: Who may, as `platform:person`.
        key: What people are hashed with in the log.
        platforms: Where notices are shown and files fetched, by name; shared with the jobs, filled by `connect`.
    """

    def __init__(
        self,
        *,
        admins: frozenset[str],
        key: bytes,
        store: KnowledgeStore,
        faqs: Faqs,
        runner: JobRunner,
        table: JobTable,
        platforms: dict[str, AdminPlatform],
        health: Health,
    ) -> None:
        self._admins = admins
        self._key = key
        self._store = store
        self._faqs = faqs
        self._runner = runner
        self._table = table
        self._platforms = platforms
        self._health = health
        self._notices = JobNotices(table, platforms, pending=self._pending)

    def connect(self, name: Platform, platform: AdminPlatform) -> None:
        """From now on, notices of this platform are shown by `platform`."""
        self._platforms[name] = platform

    async def resume(self) -> None:
        """Take up the notices of a process that died."""
        try:
            await self._notices.resume()
        except StateError as error:
            log.warning("notices_not_resumed", cause=str(error))

    async def stop(self) -> None:
        """Show nothing more; jobs go on."""
        await self._notices.stop()

    def is_admin(self, platform: Platform, person: str) -> bool:
        """Whether this person may."""
        return f"{platform}:{person}" in self._admins

    async def command(self, name: str, rest: str, at: NoticeAt) -> None:
        """Carry a command out: `faq`, `status` or `latency`; what else comes is explained."""
        notice = self._platforms[at.platform].notice(at)
        try:
            match name:
                case "status":
                    await self._status(at, notice)
                case "latency":
                    self._latency(at, notice)
                case "faq":
                    await self._faq(parse_faq(rest), at, notice)
                case _:
                    notice.show(admin_words(at.language).resend)
        except (RagError, StateError, OSError) as error:
            notice.show(admin_words(at.language).failed.format(reason=error))

    async def file(self, file: IncomingFile, wish: str, at: NoticeAt) -> None:
        """A file was sent: take it in if its collection was named with it, else ask for one."""
        words, platform = admin_words(at.language), self._platforms[at.platform]
        notice = platform.notice(at)
        limit = platform.file_limit
        if limit is not None and (file.size or 0) > limit:
            notice.show(words.too_large.format(name=file.name, size=_mb(file.size or 0), limit=_mb(limit)))
            return
        try:
            name = safe_name(file.name)
        except UploadError as error:
            notice.show(words.not_taken.format(reason=error))
            return
        if declared_format(name) is None:
            notice.show(words.not_taken.format(reason=unknown_suffix(name)))
        elif not wish:
            await self._ask_collection(words.choose.format(name=name), words, notice)
        elif COLLECTION.fullmatch(wish):
            await self._take(file, wish, at)
        else:
            sorry = words.bad_collection.format(name=" ".join(wish.split())[:60])
            await self._ask_collection(f"{sorry}\n\n{words.choose.format(name=name)}", words, notice)

    async def choose(self, data: str, file: IncomingFile | None, at: NoticeAt) -> None:
        """A button below the question for the collection was pressed."""
        words, notice = admin_words(at.language), self._platforms[at.platform].notice(at)
        if file is None:
            notice.show(words.file_gone)
        elif data == _NEW:
            await self._ask_collection(words.name_new, words, notice, with_new=False)
        elif COLLECTION.fullmatch(data):
            await self._take(file, data, at)
        else:
            notice.show(words.cancelled.format(name=file.name))

    async def _ask_collection(self, text: str, words: AdminWords, notice: Notice, *, with_new: bool = True) -> None:
        try:
            names = sorted({*await self._store.counts(), "public"})
        except RagError:
            names = ["public"]  # it is taken in once the store is there again
        choices = [Choice(label=name, data=name) for name in names[:_MOST_BUTTONS]]
        if with_new:
            choices.append(Choice(label=words.new_collection, data=_NEW))
        notice.show(text, [*choices, Choice(label=words.cancel, data=_CANCEL)])

    async def _take(self, file: IncomingFile, collection: str, at: NoticeAt) -> None:
        """Queue it. Raises `StateError` if that is not possible: the platform delivers the wish again."""
        if await self._notices.is_followed_at(at):
            return
        job = await self._runner.submit(FETCH, fetch_payload(file, collection, at) | self._notices.mark(at), total=1)
        self._audit("documents.upload", f"{collection}: {file.name}", at, "queued")
        self._notices.follow(job)

    async def _faq(self, request: FaqRequest, at: NoticeAt, notice: Notice) -> None:
        words = admin_words(at.language)
        match request:
            case FaqHelp():
                notice.show(words.faq_usage)
            case FaqAdd(question=question, answer=answer, collection=collection):
                draft = new_draft(question, answer=answer, collection=collection)
                await self._add(draft, at, notice)
            case FaqList():
                faqs = await self._faqs.listing(request.collection)
                notice.show(listing_text(faqs, request, words, self._faqs.book.today()))
                self._audit("faq.list", request.collection or "all collections", at)
            case FaqRemove():
                await self._remove(request, at, notice)
            case FaqWarm(collection=wanted, everything=everything):
                await self._warm([], wanted, at, everything=everything)

    async def _add(self, draft: Draft, at: NoticeAt, notice: Notice) -> None:
        words = admin_words(at.language)
        if draft.answer is None:
            await self._warm([draft.question], draft.collection, at, target=f"{draft.collection}: {draft.faq_id}")
            return
        faq = await self._faqs.add(draft)
        self._audit("faq.add", f"{faq.collection}: {faq.id}", at)
        text = words.faq_added.format(collection=faq.collection, id=faq.id)
        if faq.collection not in await self._faqs.collections():
            text += "\n" + words.faq_unread.format(collection=faq.collection)
        notice.show(text)

    async def _remove(self, request: FaqRemove, at: NoticeAt, notice: Notice) -> None:
        words, faqs, lines = admin_words(at.language), await self._faqs.listing(), list[str]()
        for given in request.ids:
            found = matching(faqs, given)
            if len(found) == 1 and (removed := await self._faqs.remove(found[0].id)) is not None:
                self._audit("faq.remove", f"{removed.collection}: {removed.id}", at)
                lines.append(words.faq_removed.format(question=removed.question))
            else:
                lines.append((words.faq_ambiguous if len(found) > 1 else words.faq_unknown).format(id=given[:20]))
        notice.show("\n".join(lines))

    async def _warm(
        self,
        questions: Sequence[str],
        collection: str | None,
        at: NoticeAt,
        *,
        everything: bool = False,
        target: str | None = None,
    ) -> None:
        if await self._notices.is_followed_at(at):
            return
        payload = {"questions": list(questions), "collection": collection, "all": everything}
        job = await self._runner.submit(WARM, payload | self._notices.mark(at), total=len(questions))
        self._audit("faq.add" if questions else "faq.warm", target or job.id, at, "queued")
        self._notices.follow(job)

    async def _status(self, at: NoticeAt, notice: Notice) -> None:
        missing = await self._health.missing()
        counts: Mapping[str, CollectionCounts] = {} if missing else await self._store.counts()
        faqs = self._faqs.book.faqs
        today = self._faqs.book.today()
        notice.show(
            status_text(
                language=at.language,
                version=self._health.version,
                problems=(*missing, *self._health.degraded()),
                counts=counts,
                faqs=len(faqs),
                unserved=sum(not faq.is_servable(today) for faq in faqs),
                jobs=await self._table.newest(_JOBS),
                pools=self._health.pools(),
            )
        )
        self._audit("status", "server", at)

    def _latency(self, at: NoticeAt, notice: Notice) -> None:
        lines, words = self._health.recent(), admin_words(at.language)
        if lines:
            notice.show(words.latency.format(turns=len(lines)), table=latency_table(lines))
        else:
            notice.show(words.no_turns)
        self._audit("latency", "server", at)

    async def _pending(self, collection: str) -> int:
        try:
            counts = (await self._store.counts()).get(collection)
        except RagError:
            return 0
        return counts.pending if counts else 0

    def _audit(self, action: str, target: str, at: NoticeAt, outcome: AuditOutcome = "done") -> None:
        audit(action, target, who=person(self._key, at.platform, at.person), outcome=outcome)


def _mb(size: int) -> str:
    return f"{size / 2**20:.1f} MB" if size % 2**20 else f"{size // 2**20} MB"
