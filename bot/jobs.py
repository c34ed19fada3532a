"""Background work inside `serve`: takes jobs from the table, runs them, writes down how far they are."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog

from bot.state.jobs import MAX_ERRORS, Job, JobState, JobTable
from bot.state.owners import is_dead, new_owner
from bot.state.sqlite import StateError
from rag.errors import RagError

log = structlog.get_logger(__name__)

HEARTBEAT_S = 3.0
STALE_S = 15.0
"""A running job not heard of for so long is taken over."""
KEEP_S = 7 * 24 * 3600.0
"""How long a job is known after it ended."""
TIDY_EVERY_S = 3600.0
_LINE = 300
"""Characters of an error's one line."""


class JobRun:
    """One job being done: what its handler reads and reports to. Reports are kept in memory and written soon."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.payload: Mapping[str, Any] = job.payload
        # Started again, it counts anew; handed on to a later stage, it goes on from what the earlier one reported.
        is_later_stage = job.lane != job.kind
        self.done = job.done if is_later_stage else 0
        self.failed = job.failed if is_later_stage else 0
        self.items = job.total
        self.errors: list[str] = list(job.errors) if is_later_stage else []
        self.found: dict[str, int] = dict(job.found) if is_later_stage else {}
        self.changed = asyncio.Event()

    def total(self, items: int) -> None:
        """There are this many items."""
        self.items = items
        self.changed.set()

    def advance(self, *, done: int = 0, failed: int = 0) -> None:
        """So many more items succeeded and failed."""
        self.done += done
        self.failed += failed
        self.changed.set()

    def restart(self, items: int) -> None:
        """Count anew, over this many items."""
        self.done = self.failed = 0
        self.errors.clear()
        self.found.clear()
        self.total(items)

    def find(self, counts: Mapping[str, int]) -> None:
        """So much more came of it, by kind of thing."""
        for kind, count in counts.items():
            self.found[kind] = self.found.get(kind, 0) + count
        self.changed.set()

    def error(self, line: str) -> None:
        """Say what went wrong with one item, for the person who started the job."""
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(one_line(line))
        self.changed.set()


Handler = Callable[[JobRun], Coroutine[Any, Any, None]]


class JobFailed(Exception):
    """A handler gives up on its job; the message is the reason that its owner reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind:
    """How jobs of one kind, or one stage of them, are done."""

    handler: Handler
    is_resumable: bool
    """Whether it may be started again from the beginning after a crash; otherwise it ends as `interrupted`."""
    next_lane: str | None = None
    """Where it goes on after this stage; None: then it is done."""
    ended: Callable[[Job], Awaitable[None]] | None = None
    """Called once it will never run again (done, failed or interrupted), to tidy up."""
    sweep: Callable[[frozenset[str], float], Awaitable[None]] | None = None
    """Called now and then with the ids of all jobs and the time: remove what belongs to none of them."""
    max_attempts: int = 3
    retry_s: tuple[float, ...] = (5.0, 30.0)
    """How long to wait after the first, second, ... failed attempt; the last one repeats."""


def explain_expected(error: Exception) -> str | None:
    """An expected error's own line; None for a bug."""
    return str(error) if isinstance(error, RagError | StateError | OSError) else None


class JobRunner:
    """Runs jobs: one at a time per lane, so that bulk work is bounded and uploads keep their order."""

    def __init__(
        self,
        table: JobTable,
        kinds: Mapping[str, JobKind],
        *,
        explain: Callable[[Exception], str | None] = explain_expected,
        clock: Callable[[], float] = time.time,
        poll_s: float = 1.0,
        report_s: float = 0.2,
    ) -> None:
        """`kinds` maps a lane to how it is worked: a job starts in the one that is called as its kind.

        `explain` puts an expected error into one line; None means that it is a bug and only the log says more.
        """
        self._table = table
        self._kinds = kinds
        self._explain = explain
        self._clock = clock
        self._poll_s = poll_s
        self._report_s = report_s
        self._owner = new_owner()
        self._wake = {kind: asyncio.Event() for kind in kinds}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Take up what a dead process left, then whatever comes."""
        await self._table.orphan(partial(is_dead, me=self._owner))
        self._tasks = [asyncio.create_task(self._lane(kind), name=f"jobs {kind}") for kind in self._kinds]
        self._tasks.append(asyncio.create_task(self._tidy(), name="jobs tidy"))

    async def stop(self) -> None:
        """Stop now: what runs and may be resumed goes back to the queue, the rest is marked as interrupted."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def submit(self, kind: str, payload: Mapping[str, Any], *, total: int = 0, job_id: str | None = None) -> Job:
        """Queue a job; it is on the disk when this returns."""
        if kind not in self._kinds:
            raise KeyError(kind)
        job = await self._table.add(
            job_id=job_id or new_job_id(), kind=kind, payload=payload, total=total, now=self._clock()
        )
        self._wake[kind].set()
        return job

    async def _tidy(self) -> None:
        while True:
            try:
                await self._table.prune(before=self._clock() - KEEP_S)
                known = frozenset(await self._table.ids())
                for kind in self._kinds.values():
                    if kind.sweep is not None:
                        await kind.sweep(known, self._clock())
            except (StateError, OSError) as error:
                log.warning("jobs_not_tidied", cause=str(error))
            await asyncio.sleep(TIDY_EVERY_S)

    async def _lane(self, lane: str) -> None:
        wake = self._wake[lane]
        while True:
            wake.clear()
            try:
                now = self._clock()
                job = await self._table.claim(lane, owner=self._owner, now=now, stale_before=now - STALE_S)
                if job is not None:
                    await self._run(job, self._kinds[lane])
                    continue
            except Exception:  # one of the three edges that must not die
                log.exception("job_lane_failed", lane=lane)
            # Jobs may also be queued by another process, and retries come due.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await wake.wait()

    async def _run(self, job: Job, kind: JobKind) -> None:
        if job.attempts > 1 and not kind.is_resumable:
            await self._end(job, kind, "interrupted", "the server stopped while this ran; start it again")
            return
        if job.attempts > kind.max_attempts:
            await self._end(job, kind, "interrupted", f"the server stopped {kind.max_attempts} times while this ran")
            return
        run = JobRun(job)
        work = asyncio.create_task(kind.handler(run))
        reporter = asyncio.create_task(self._report(run))
        try:
            await asyncio.wait({work, reporter}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await _cancel(work, reporter)
            await self._give_back(job, kind, run)
            raise
        is_lost = not work.done()
        await _cancel(work, reporter)
        if is_lost:
            log.warning("job_lost", job=job.id, kind=job.kind)
            return
        await self._settle(job, kind, run, work.exception())

    async def _report(self, run: JobRun) -> None:
        """Write progress down as it comes, else signs of life; returns when the job is not ours any more."""
        while True:
            try:
                if not await self._write(run):
                    return
            except StateError as error:
                log.warning("job_report_failed", job=run.job.id, cause=str(error))
            await asyncio.sleep(self._report_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_S):
                    await run.changed.wait()

    async def _write(self, run: JobRun) -> bool:
        run.changed.clear()
        return await self._table.report(
            run.job.id,
            owner=self._owner,
            done=run.done,
            total=run.items,
            failed=run.failed,
            errors=run.errors,
            found=run.found,
            now=self._clock(),
        )

    async def _settle(self, job: Job, kind: JobKind, run: JobRun, error: BaseException | None) -> None:
        await self._write(run)
        if error is None:
            state: JobState = "failed" if run.failed and not run.done else "done"
            if state == "done" and kind.next_lane is not None:
                await self._table.hand_on(job.id, owner=self._owner, lane=kind.next_lane, now=self._clock())
                self._wake[kind.next_lane].set()
                return
            await self._end(job, kind, state, None)
            return
        if not isinstance(error, Exception):
            raise error
        reason = str(error) if isinstance(error, JobFailed) else self._explain(error)
        if reason is None:
            log.error("job_failed", job=job.id, kind=job.kind, exc_info=error)
            reason = f"an internal error; the log has it under job {job.id}"
        else:
            log.warning("job_failed", job=job.id, kind=job.kind, reason=one_line(reason))
        if isinstance(error, JobFailed) or not kind.is_resumable or job.attempts >= kind.max_attempts:
            await self._end(job, kind, "failed", reason)
        else:
            delay_s = kind.retry_s[min(job.attempts, len(kind.retry_s)) - 1]
            await self._table.requeue(job.id, owner=self._owner, now=self._clock(), delay_s=delay_s)

    async def _give_back(self, job: Job, kind: JobKind, run: JobRun) -> None:
        if kind.is_resumable:
            await self._table.requeue(job.id, owner=self._owner, now=self._clock(), counts=False)
        else:
            await self._write(run)
            await self._end(job, kind, "interrupted", "the server was stopped while this ran; start it again")

    async def _end(self, job: Job, kind: JobKind, state: JobState, reason: str | None) -> None:
        line = None if reason is None else one_line(reason)
        await self._table.finish(job.id, owner=self._owner, state=state, now=self._clock(), reason=line)
        log.info("job", job=job.id, kind=job.kind, state=state)
        if kind.ended is not None:
            await kind.ended(job)


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def new_job_id() -> str:
    """Sixteen random hex digits."""
    return secrets.token_hex(8)


def one_line(text: str) -> str:
    """The text on one line of bounded length."""
    flat = " ".join(text.split())
    return flat if len(flat) <= _LINE else flat[: _LINE - 1] + "…"


def job_json(job: Job) -> dict[str, Any]:
    """A job as the API and `grapevine jobs --json` show it."""
    return {
        "id": job.id,
        "kind": job.kind,
        # Between two stages it is under way, whatever the table calls it.
        "state": "running" if job.state == "queued" and job.lane != job.kind else job.state,
        "done": job.done,
        "total": job.total,
        "failed": job.failed,
        "errors": list(job.errors),
        **({"found": dict(job.found)} if job.found else {}),
        "created": _moment(job.created),
        "updated": _moment(job.updated),
    }


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
