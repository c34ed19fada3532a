"""Jobs: accepted once, done in order, and there again after whatever happens to the process."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from bot.jobs import JobFailed, JobKind, JobRun, JobRunner, job_json
from bot.state.jobs import Job, JobTable
from bot.state.owners import is_dead
from bot.state.sqlite import SqliteState
from tests.support.admin import grapevine


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[JobTable]:
    state = await SqliteState.open(folder / "state.db")
    try:
        yield await JobTable.open(state)
    finally:
        await state.close()


def runner_for(table: JobTable, **kinds: JobKind) -> JobRunner:
    return JobRunner(
        table,
        kinds,
        explain=lambda error: str(error) if isinstance(error, OSError) else None,
        poll_s=0.02,
        report_s=0.01,
    )


async def ended(table: JobTable, job_id: str) -> Job:
    while True:
        job = await table.get(job_id)
        assert job is not None
        if job.state not in {"queued", "running"}:
            return job
        await asyncio.sleep(0.01)


async def test_a_job_tells_how_far_it_is(tmp_path: Path) -> None:
    """Total, done, failed and what went wrong can be read while it runs."""
    go_on = asyncio.Event()

    async def handler(run: JobRun) -> None:
        run.total(3)
        run.advance(done=1)
        run.advance(failed=1)
        run.error("b.pdf: is\nencrypted")
        await go_on.wait()
        run.advance(done=1)

    async with opened(tmp_path) as table:
        runner = runner_for(table, work=JobKind(handler=handler, is_resumable=True))
        await runner.start()
        job = await runner.submit("work", {})
        while (seen := await table.get(job.id)) is None or seen.failed == 0:
            await asyncio.sleep(0.01)
        shown = job_json(seen)
        assert (shown["state"], shown["done"], shown["total"], shown["failed"]) == ("running", 1, 3, 1)
        assert shown["errors"] == ["b.pdf: is encrypted"]
        go_on.set()
        last = await ended(table, job.id)
        assert (last.state, last.done, last.failed) == ("done", 2, 1)
        await runner.stop()


async def test_jobs_of_a_kind_run_one_at_a_time_in_order(tmp_path: Path) -> None:
    """Ten jobs submitted at once, with two servers on the same folder, run one after the other as they came."""
    order: list[int] = []
    running = 0

    async def handler(run: JobRun) -> None:
        nonlocal running
        running += 1
        assert running == 1
        order.append(run.payload["n"])
        await asyncio.sleep(0)
        running -= 1

    async with opened(tmp_path) as one, opened(tmp_path) as two:
        runners = [runner_for(table, work=JobKind(handler=handler, is_resumable=True)) for table in (one, two)]
        jobs = [await runners[n % 2].submit("work", {"n": n}) for n in range(10)]
        for runner in runners:
            await runner.start()
        for job in jobs:
            assert (await ended(one, job.id)).state == "done"
        assert order == list(range(10))
        for runner in runners:
            await runner.stop()


async def test_kinds_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """A long warm-up does not hold an upload back."""
    never = asyncio.Event()

    async def slow(run: JobRun) -> None:
        await never.wait()

    async def quick(run: JobRun) -> None:
        run.advance(done=1)

    async with opened(tmp_path) as table:
        runner = runner_for(
            table, slow=JobKind(handler=slow, is_resumable=True), quick=JobKind(handler=quick, is_resumable=True)
        )
        await runner.start()
        await runner.submit("slow", {})
        job = await runner.submit("quick", {})
        assert (await ended(table, job.id)).state == "done"
        await runner.stop()


async def test_a_stopped_server_goes_on_with_what_it_was_doing(tmp_path: Path) -> None:
    """A clean stop puts the running job back first in line; the attempt is not held against it."""
    started = asyncio.Event()

    async def endless(run: JobRun) -> None:
        started.set()
        await asyncio.Event().wait()

    async def done(run: JobRun) -> None:
        run.advance(done=1)

    async with opened(tmp_path) as table:
        runner = runner_for(table, work=JobKind(handler=endless, is_resumable=True))
        await runner.start()
        job = await runner.submit("work", {})
        await started.wait()
        await runner.stop()
        waiting = await table.get(job.id)
        assert waiting is not None
        assert (waiting.state, waiting.attempts) == ("queued", 0)
    async with opened(tmp_path) as table:
        runner = runner_for(table, work=JobKind(handler=done, is_resumable=True))
        await runner.start()
        assert (await ended(table, job.id)).state == "done"
        await runner.stop()


_KILLED = """
import asyncio, sys
from pathlib import Path
from bot.jobs import JobKind, JobRunner
from bot.state.jobs import JobTable
from bot.state.sqlite import SqliteState

async def main():
    state = await SqliteState.open(Path(sys.argv[1]) / "state.db")
    table = await JobTable.open(state)
    async def handler(run):
        run.total(5)
        run.advance(done=2)
        print("running", flush=True)
        await asyncio.Event().wait()
    kinds = {name: JobKind(handler=handler, is_resumable=name == "again") for name in ("again", "once")}
    runner = JobRunner(table, kinds, poll_s=0.02, report_s=0.01)
    await runner.start()
    for name in kinds:
        await runner.submit(name, {"n": 1}, job_id=name)
    await runner.submit("again", {"n": 2}, job_id="next")
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_jobs_survive_a_killed_server(tmp_path: Path) -> None:
    """After kill -9 a new server takes the job up at once, or says that it was interrupted; the queue follows."""
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _KILLED, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert server.stdout is not None
    assert [await server.stdout.readline() for _ in range(2)] == [b"running\n", b"running\n"]
    server.kill()
    await server.wait()

    tidied: list[str] = []

    async def handler(run: JobRun) -> None:
        run.total(1)
        run.advance(done=1)

    async def tidy(job: Job) -> None:
        tidied.append(job.id)

    async with opened(tmp_path) as table:
        before = await table.get("again")
        assert before is not None
        assert before.state == "running"
        again = JobKind(handler=handler, is_resumable=True, ended=tidy)
        once = JobKind(handler=handler, is_resumable=False, ended=tidy)
        runner = runner_for(table, again=again, once=once)
        await runner.start()
        resumed, interrupted, following = [await ended(table, job_id) for job_id in ("again", "once", "next")]
        assert (resumed.state, resumed.done, resumed.attempts) == ("done", 1, 2)
        assert interrupted.state == "interrupted"
        assert interrupted.errors == ("the server stopped while this ran; start it again",)
        assert following.state == "done"
        assert sorted(tidied) == ["again", "next", "once"]
        await runner.stop()


async def test_a_job_that_a_live_server_runs_is_left_alone(tmp_path: Path) -> None:
    """A second server on the same folder does not start what the first one is doing."""
    starts = 0

    async def handler(run: JobRun) -> None:
        nonlocal starts
        starts += 1
        await asyncio.Event().wait()

    async with opened(tmp_path) as one, opened(tmp_path) as two:
        first, second = [runner_for(table, work=JobKind(handler=handler, is_resumable=True)) for table in (one, two)]
        await first.start()
        await first.submit("work", {})
        while not starts:
            await asyncio.sleep(0.01)
        assert await two.claim("work", owner="second", now=1e12, stale_before=0) is None
        await two.orphan(partial(is_dead, me=second._owner))
        await first.stop()
        assert starts == 1


async def test_a_silent_owner_loses_its_job(tmp_path: Path) -> None:
    """Who has not been heard of for a while is taken for dead, and cannot write into the job any more."""
    async with opened(tmp_path) as table:
        await table.add(job_id="j", kind="work", payload={}, total=1, now=100.0)
        assert await table.claim("work", owner="a", now=100.0, stale_before=85.0) is not None
        assert await table.claim("work", owner="b", now=110.0, stale_before=95.0) is None
        taken = await table.claim("work", owner="b", now=116.0, stale_before=101.0)
        assert taken is not None
        assert taken.attempts == 2
        assert not await table.report("j", owner="a", done=1, total=1, failed=0, errors=(), now=117.0)
        await table.finish("j", owner="a", state="done", now=117.0)
        job = await table.get("j")
        assert job is not None
        assert (job.state, job.owner) == ("running", "b")


async def test_a_dependency_that_is_away_costs_a_retry_and_not_the_job(tmp_path: Path) -> None:
    """An error that may pass is tried again; the job ends as done."""
    attempts = 0

    async def handler(run: JobRun) -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise OSError("the database is away")
        run.advance(done=1)

    async with opened(tmp_path) as table:
        runner = runner_for(table, work=JobKind(handler=handler, is_resumable=True, retry_s=(0.0,)))
        await runner.start()
        job = await ended(table, (await runner.submit("work", {})).id)
        assert (job.state, job.done, attempts) == ("done", 1, 3)
        await runner.stop()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (JobFailed("the files are gone"), "the files are gone"),
        (OSError("the disk is full"), "the disk is full"),
        (ValueError("secret inside"), "an internal error; the log has it under job"),
    ],
    ids=["given up", "expected", "bug"],
)
async def test_a_job_that_fails_says_why_in_one_line(tmp_path: Path, error: Exception, reason: str) -> None:
    """The owner reads a reason; a bug's text stays in the log; the next job runs."""
    errors = [error]

    async def handler(run: JobRun) -> None:
        if errors:
            raise errors.pop()

    async with opened(tmp_path) as table:
        runner = runner_for(table, work=JobKind(handler=handler, is_resumable=True, max_attempts=1))
        await runner.start()
        first, second = [await runner.submit("work", {}) for _ in range(2)]
        failed = await ended(table, first.id)
        assert failed.state == "failed"
        assert len(failed.errors) == 1
        assert failed.errors[0].startswith(reason)
        assert "secret" not in failed.errors[0]
        assert (await ended(table, second.id)).state == "done"
        await runner.stop()


async def test_nothing_but_failures_is_a_failed_job(tmp_path: Path) -> None:
    """A job of which no item succeeded is not called done; its errors are bounded and every one is counted."""

    async def handler(run: JobRun) -> None:
        for n in range(250):
            run.advance(failed=1)
            run.error(f"{n}: " + "x" * 1000)

    async with opened(tmp_path) as table:
        runner = runner_for(table, work=JobKind(handler=handler, is_resumable=True))
        await runner.start()
        job = await ended(table, (await runner.submit("work", {})).id)
        assert (job.state, job.failed, len(job.errors)) == ("failed", 250, 100)
        assert max(map(len, job.errors)) <= 300
        await runner.stop()


async def test_old_jobs_are_forgotten_and_open_ones_never(tmp_path: Path) -> None:
    """Pruning takes what ended before the given time."""
    async with opened(tmp_path) as table:
        for job_id in ("old", "waiting"):
            await table.add(job_id=job_id, kind=job_id, payload={}, total=0, now=1.0)
        await table.claim("old", owner="a", now=1.0, stale_before=0.0)
        await table.finish("old", owner="a", state="done", now=2.0)
        assert await table.prune(before=3.0) == ["old"]
        assert await table.ids() == {"waiting"}


async def test_the_command_lists_jobs(tmp_path: Path) -> None:
    """`grapevine jobs --json` prints what the API shows, newest first."""
    async with opened(tmp_path) as table:
        for n in range(3):
            await table.add(job_id=str(n), kind="documents", payload={"private": 1}, total=n, now=float(n))
    done = await grapevine("jobs", "--json", "--limit", "2", data=tmp_path)
    assert done.code == 0, done.err
    jobs = json.loads(done.out)
    assert [job["id"] for job in jobs] == ["2", "1"]
    assert jobs[0]["created"] == "1970-01-01T00:00:02.000Z"
    assert "private" not in done.out


async def test_a_stage_hands_on_and_makes_room(tmp_path: Path) -> None:
    """While one job is in its second stage the next one runs its first; a crash there does not repeat the first."""
    firsts: list[int] = []
    go_on = asyncio.Event()

    async def first(run: JobRun) -> None:
        firsts.append(run.payload["n"])
        run.total(2)
        run.advance(done=1, failed=1)
        run.error("b.pdf: is damaged")

    async def second(run: JobRun) -> None:
        await go_on.wait()

    kinds = {
        "work": JobKind(handler=first, is_resumable=True, next_lane="work.later"),
        "work.later": JobKind(handler=second, is_resumable=True),
    }
    async with opened(tmp_path) as table:
        runner = runner_for(table, **kinds)
        await runner.start()
        jobs = [await runner.submit("work", {"n": n}) for n in range(3)]
        while {job.lane for job in await table.newest()} != {"work.later"}:
            await asyncio.sleep(0.01)
        shown = [job_json(job) for job in await table.newest()]
        assert {(job["state"], job["done"], job["failed"]) for job in shown} == {("running", 1, 1)}
        await runner.stop()
    go_on.set()
    async with opened(tmp_path) as table:
        runner = runner_for(table, **kinds)
        await runner.start()
        for job in jobs:
            last = await ended(table, job.id)
            assert (last.state, last.done, last.failed, last.errors) == ("done", 1, 1, ("b.pdf: is damaged",))
        assert firsts == [0, 1, 2]
        await runner.stop()
