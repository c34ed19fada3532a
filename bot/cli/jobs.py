"""`grapevine jobs`: background work and how far it is."""

from __future__ import annotations

import click

from bot.cli.common import json_option, print_json, print_table, run, settings
from bot.jobs import job_json
from bot.state.jobs import Job, JobTable
from bot.state.sqlite import SqliteState


@click.command("jobs")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many, newest first.")
@json_option
def command(limit: int, as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """List the latest jobs (uploads, FAQ warm-ups), newest first, with what went wrong."""
    jobs = run(_read(limit))
    if as_json:
        print_json([job_json(job) for job in jobs])
        return
    if not jobs:
        click.echo("no jobs yet")
        return
    print_table(
        ("job", "kind", "state", "started", "done", "failed", "of"),
        [
            (j["id"], j["kind"], j["state"], j["created"], j["done"], j["failed"], j["total"])
            for j in map(job_json, jobs)
        ],
        numbers_from=4,
    )
    for job in jobs:
        for line in job.errors:
            click.echo(f"{job.id}: {line}", err=True)


async def _read(limit: int) -> list[Job]:
    state = await SqliteState.open(settings().data / "state.db")
    try:
        return await (await JobTable.open(state)).newest(limit)
    finally:
        await state.close()
