"""Jobs that are followed in a chat: one message that says how far a job is, then what came of it.

What stands in it is made of the job table alone. So it does not matter which process works on the job, and a process
that starts takes up the messages of one that died.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any

import structlog

from adapters.admin import AdminPlatform, NoticeAt
from bot.admin_words import admin_words, things
from bot.faqs.job import WARM
from bot.fetch_job import FETCH
from bot.ingest_job import TEXT
from bot.state.jobs import OPEN, Job, JobTable
from bot.state.owners import is_dead, new_owner
from bot.state.sqlite import StateError

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 0.5
RECENTLY_S = 120.0
"""A job that ended so shortly before a start may not have been told of."""
_MOST_ERRORS = 8
_RECENT = 50

Pending = Callable[[str], Awaitable[int]]
"""A collection's chunks that wait for their vectors."""


class JobNotices:
    """Follows jobs.

    Args:
        table: Where jobs are kept.
        platforms: Where notices are shown, by name; may be filled later on.
        pending: How many vectors are missing.
        sleep: Waits between two looks at the table.
    """

    def __init__(
        self,
        table: JobTable,
        platforms: Mapping[str, AdminPlatform],
        *,
        pending: Pending,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._table = table
        self._platforms = platforms
        self._pending = pending
        self._now = now
        self._sleep = sleep
        self._me = new_owner()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def mark(self, at: NoticeAt) -> dict[str, Any]:
        """What a job's payload carries so that it can be followed, by us or by whoever comes after us."""
        return {"notice": asdict(at), "follower": self._me}

    async def is_followed_at(self, at: NoticeAt) -> bool:
        """Whether a job that is known was asked for by this very message or button: it must not be begun twice."""
        for job in await self._table.newest(_RECENT):
            known = _at(job)
            if known is not None and (known.platform, known.conversation) == (at.platform, at.conversation):
                same_message = at.message_id is not None and known.message_id == at.message_id
                same_cause = at.message_id is None and at.reply_to is not None and known.reply_to == at.reply_to
                if same_message or same_cause:
                    return True
        return False

    def follow(self, job: Job) -> None:
        """Show how this job goes, until it has ended."""
        at = _at(job)
        if at is not None and at.platform in self._platforms and job.id not in self._tasks:
            self._tasks[job.id] = task = asyncio.create_task(self._follow(job, at), name="job notice")
            task.add_done_callback(lambda _: self._tasks.pop(job.id, None))

    async def resume(self) -> None:
        """Go on with what a process left that died."""
        for job in await self._table.newest(_RECENT):
            is_of_interest = job.state in OPEN or job.updated > self._now() - RECENTLY_S
            if is_of_interest and is_dead(str(job.payload.get("follower", "")), me=self._me):
                self.follow(job)

    async def stop(self) -> None:
        """Follow no more; the jobs go on."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, job: Job, at: NoticeAt) -> None:
        notice = self._platforms[at.platform].notice(at)
        seen: Job | None = job
        while seen is not None and seen.state in OPEN:
            notice.show(job_text(seen, at.language, pending=await self._waiting(seen)))
            await self._sleep(LOOK_EVERY_S)
            seen = await self._look(seen)
        notice.show(admin_words(at.language).job_lost if seen is None else job_text(seen, at.language))
        await notice.settled()

    async def _look(self, job: Job) -> Job | None:
        try:
            return await self._table.get(job.id)
        except StateError as error:
            log.warning("job_not_seen", job=job.id, cause=str(error))
            return job

    async def _waiting(self, job: Job) -> int:
        return await self._pending(job.payload["collection"]) if _stage(job) == "vectors" else 0


def _at(job: Job) -> NoticeAt | None:
    kept = job.payload.get("notice")
    return NoticeAt(**kept) if kept else None


def job_text(job: Job, language: str | None, *, pending: int = 0) -> str:
    """How a job goes or went, in a few lines. Pure."""
    body = _warm_text(job, language) if job.kind == WARM else _documents_text(job, language, pending)
    return "\n".join([*body, *_error_lines(job, language)])


def _documents_text(job: Job, language: str | None, pending: int) -> list[str]:
    words = admin_words(language)
    name = (job.payload.get("file") or {}).get("name", "")
    head = f"📄 {name} → {job.payload['collection']}"
    match _stage(job):
        case "waiting":
            state = words.waiting
        case "retrying":
            state = words.retrying
        case "fetching":
            state = words.fetching
        case "reading":
            state = words.reading
        case "vectors":
            state = words.vectors.format(count=pending)
        case "done" if job.found.get("chunks"):
            state = words.taken.format(**things(language, job.found))
        case "done":
            state = words.unchanged
        case _:
            state = words.not_ended
    return [head, state]


def _warm_text(job: Job, language: str | None) -> list[str]:
    words = admin_words(language)
    if job.state in OPEN:
        return [words.warming.format(done=job.done + job.failed, total=job.total or "…")]
    if job.state == "done" and not job.total:
        return [words.nothing_due]
    if not job.done:
        return [words.not_warmed]
    is_one = job.total == 1 and bool(job.payload.get("questions"))
    lines = [words.warmed_one if is_one else words.warmed.format(done=job.done)]
    return [*lines, words.with_failures.format(failed=job.failed)] if job.failed else lines


def _stage(job: Job) -> str:
    if job.state not in OPEN:
        return job.state
    if job.state == "queued" and job.attempts:
        return "retrying"
    if job.lane == FETCH:
        return "fetching" if job.state == "running" else "waiting"
    if job.lane == TEXT:
        # Between fetching and reading it waits for others, but that is no news.
        return "reading"
    return "vectors"


def _error_lines(job: Job, language: str | None) -> list[str]:
    lines = [f"• {error}" for error in job.errors[:_MOST_ERRORS]]
    more = len(job.errors) - len(lines)
    return [*lines, admin_words(language).more_errors.format(count=more)] if more else lines
