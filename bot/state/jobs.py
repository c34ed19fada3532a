"""The job table: work that was accepted and outlives the request, the process and a crash."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

import orjson

T = TypeVar("T")

JobState = Literal["queued", "running", "done", "failed", "interrupted"]
OPEN: frozenset[JobState] = frozenset({"queued", "running"})
MAX_ERRORS = 100
"""How many of a job's errors are kept; `failed` counts all of them."""

_SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS jobs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        lane TEXT NOT NULL,
        payload BLOB NOT NULL,
        state TEXT NOT NULL,
        done INTEGER NOT NULL DEFAULT 0,
        total INTEGER NOT NULL DEFAULT 0,
        failed INTEGER NOT NULL DEFAULT 0,
        errors BLOB NOT NULL DEFAULT X'5B5D',
        created REAL NOT NULL,
        updated REAL NOT NULL,
        not_before REAL NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0,
        owner TEXT,
        found BLOB NOT NULL DEFAULT X'7B7D'
    ) STRICT
    """,
    "CREATE INDEX IF NOT EXISTS jobs_open ON jobs (lane, seq) WHERE state IN ('queued', 'running')",
)


class Transacts(Protocol):
    """What a table needs of the state file."""

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` as one short transaction. Raises `StateError`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One piece of background work, as it stood when it was read."""

    id: str
    kind: str
    """What it is: `documents`, `faq.warm`."""
    lane: str
    """Which line it stands in: its kind's, or that of a later stage which it was handed on to."""
    payload: Mapping[str, Any]
    """What its handler needs; never shown to anybody."""
    state: JobState
    done: int
    total: int
    """How many items there are; 0 until that is known."""
    failed: int
    errors: tuple[str, ...]
    """One line each, oldest first, at most `MAX_ERRORS`."""
    created: float
    """Seconds since the epoch, as is `updated`."""
    updated: float
    attempts: int
    """How often it was started."""
    owner: str | None
    """The process that runs it."""
    found: Mapping[str, int] = field(default_factory=dict)
    """What came of it so far, by kind of thing: `documents`, `chunks`, `entities`."""


class JobTable:
    """Jobs in the state file. In each lane one runs at a time, first come first served, whatever the process."""

    def __init__(self, state: Transacts) -> None:
        self._state = state

    @classmethod
    async def open(cls, state: Transacts) -> JobTable:
        """The table in this state file, made when it is not there."""

        def work(db: sqlite3.Connection) -> None:
            for statement in _SCHEMA:
                db.execute(statement)
            if "found" not in {row[1] for row in db.execute("PRAGMA table_info(jobs)")}:  # a file of an earlier version
                db.execute("ALTER TABLE jobs ADD COLUMN found BLOB NOT NULL DEFAULT X'7B7D'")

        await state.run(work)
        return cls(state)

    async def add(self, *, job_id: str, kind: str, payload: Mapping[str, Any], total: int, now: float) -> Job:
        """Record a job as queued; it is on the disk when this returns."""
        row = (job_id, kind, kind, orjson.dumps(payload), total, now, now)
        return await self._one(
            "INSERT INTO jobs (id, kind, lane, payload, state, total, created, updated) "
            "VALUES (?, ?, ?, ?, 'queued', ?, ?, ?) RETURNING *",
            row,
        )

    async def claim(self, lane: str, *, owner: str, now: float, stale_before: float) -> Job | None:
        """Start the oldest open job of this lane, unless it waits for a retry or somebody runs it.

        A job that says running but has not been heard of since `stale_before` is taken over.
        """
        rows = await self._rows(
            # The strict order is on purpose: the later of two uploads of one document must win.
            "UPDATE jobs SET state = 'running', owner = :owner, attempts = attempts + 1, updated = :now "
            "WHERE seq = (SELECT seq FROM jobs WHERE lane = :lane AND state IN ('queued', 'running') "
            "             ORDER BY seq LIMIT 1) "
            "AND ((state = 'queued' AND not_before <= :now) OR (state = 'running' AND updated < :stale)) "
            "RETURNING *",
            {"lane": lane, "owner": owner, "now": now, "stale": stale_before},
        )
        return rows[0] if rows else None

    async def report(
        self,
        job_id: str,
        *,
        owner: str,
        done: int,
        total: int,
        failed: int,
        errors: Sequence[str],
        now: float,
        found: Mapping[str, int] | None = None,
    ) -> bool:
        """Write down how far it is, which also says that it is alive; False if it is not this owner's any more."""
        row = (done, total, failed, orjson.dumps(errors[:MAX_ERRORS]), orjson.dumps(found or {}), now, job_id, owner)
        return await self._state.run(
            lambda db: (
                db.execute(
                    "UPDATE jobs SET done = ?, total = ?, failed = ?, errors = ?, found = ?, updated = ? "
                    "WHERE id = ? AND owner = ? AND state = 'running'",
                    row,
                ).rowcount
                == 1
            )
        )

    async def finish(self, job_id: str, *, owner: str, state: JobState, now: float, reason: str | None = None) -> None:
        """End it; a `reason` becomes the last of its errors."""

        def work(db: sqlite3.Connection) -> None:
            row = db.execute("SELECT errors FROM jobs WHERE id = ?", (job_id,)).fetchone()
            errors = [*orjson.loads(row[0])[: MAX_ERRORS - 1], reason] if row and reason else None
            db.execute(
                "UPDATE jobs SET state = ?, updated = ?, errors = COALESCE(?, errors), owner = NULL "
                "WHERE id = ? AND owner = ?",
                (state, now, None if errors is None else orjson.dumps(errors), job_id, owner),
            )

        await self._state.run(work)

    async def requeue(self, job_id: str, *, owner: str, now: float, delay_s: float = 0, counts: bool = True) -> None:
        """Put it back to be started again after `delay_s`; `counts`: the attempt is held against it."""
        await self._state.run(
            lambda db: db.execute(
                "UPDATE jobs SET state = 'queued', owner = NULL, updated = ?, not_before = ?, attempts = attempts - ? "
                "WHERE id = ? AND owner = ?",
                (now, now + delay_s, 0 if counts else 1, job_id, owner),
            )
        )

    async def hand_on(self, job_id: str, *, owner: str, lane: str, now: float) -> None:
        """Its first stage is over: put it in line for the next one, what it has reported so far included."""
        await self._state.run(
            lambda db: db.execute(
                "UPDATE jobs SET state = 'queued', lane = ?, owner = NULL, attempts = 0, updated = ? "
                "WHERE id = ? AND owner = ?",
                (lane, now, job_id, owner),
            )
        )

    async def orphan(self, is_dead: Callable[[str], bool]) -> None:
        """Let jobs whose owner is known to be dead be taken over now instead of when they have grown stale."""

        def work(db: sqlite3.Connection) -> None:
            owners = [row[0] for row in db.execute("SELECT DISTINCT owner FROM jobs WHERE state = 'running'")]
            for owner in owners:
                if is_dead(owner):
                    db.execute("UPDATE jobs SET updated = 0 WHERE state = 'running' AND owner = ?", (owner,))

        await self._state.run(work)

    async def get(self, job_id: str) -> Job | None:
        """One job; None if there is none of this id."""
        rows = await self._rows("SELECT * FROM jobs WHERE id = ?", (job_id,))
        return rows[0] if rows else None

    async def newest(self, limit: int = 50) -> list[Job]:
        """The latest jobs, newest first."""
        return await self._rows("SELECT * FROM jobs ORDER BY seq DESC LIMIT ?", (limit,))

    async def ids(self) -> set[str]:
        """The ids of all jobs that are still known."""
        return await self._state.run(lambda db: {row[0] for row in db.execute("SELECT id FROM jobs")})

    async def prune(self, *, before: float) -> list[str]:
        """Forget jobs that ended before this time (seconds since the epoch); their ids."""
        return await self._state.run(
            lambda db: [
                row[0]
                for row in db.execute(
                    "DELETE FROM jobs WHERE state NOT IN ('queued', 'running') AND updated < ? RETURNING id", (before,)
                ).fetchall()
            ]
        )

    async def _one(self, statement: str, values: Sequence[Any]) -> Job:
        return (await self._rows(statement, values))[0]

    async def _rows(self, statement: str, values: Sequence[Any] | Mapping[str, Any]) -> list[Job]:
        def work(db: sqlite3.Connection) -> list[Job]:
            cursor = db.execute(statement, values)
            names = [column[0] for column in cursor.description]
            return [_job(dict(zip(names, row, strict=True))) for row in cursor.fetchall()]

        return await self._state.run(work)


def _job(row: Mapping[str, Any]) -> Job:
    as_kept = ("id", "kind", "lane", "state", "done", "total", "failed", "created", "updated", "attempts", "owner")
    return Job(
        **{name: row[name] for name in as_kept},
        payload=orjson.loads(row["payload"]),
        errors=tuple(orjson.loads(row["errors"])),
        found=orjson.loads(row["found"]),
    )
