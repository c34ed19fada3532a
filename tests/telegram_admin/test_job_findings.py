"""What a job says of what came of it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from bot.jobs import job_json
from bot.state.jobs import JobTable
from bot.state.sqlite import SqliteState


async def test_jobs_of_an_earlier_version_are_still_known(tmp_path: Path) -> None:
    """A state file from before jobs said what they found opens as it is, and its jobs go on."""
    state = await SqliteState.open(tmp_path / "state.db")
    table = await JobTable.open(state)
    await table.add(job_id="old", kind="documents", payload={}, total=1, now=1.0)
    await state.close()
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.execute("ALTER TABLE jobs DROP COLUMN found")
    db.close()
    state = await SqliteState.open(tmp_path / "state.db")
    table = await JobTable.open(state)
    job = await table.claim("documents", owner="me", now=2.0, stale_before=0.0)
    assert job is not None
    assert "found" not in job_json(job)
    found = {"documents": 1, "chunks": 2, "entities": 3}
    await table.report("old", owner="me", done=1, total=1, failed=0, errors=(), found=found, now=3.0)
    told = await table.get("old")
    assert told is not None
    assert job_json(told)["found"] == found
    await state.close()
