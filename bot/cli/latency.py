"""`grapevine latency`: the report made from the log."""

from __future__ import annotations

from dataclasses import asdict
from typing import IO

import click

from bot.cli.common import json_option, print_json, print_table
from bot.telemetry.latency import LatencyReport, report


@click.command("latency")
@click.argument("file", type=click.File("rb"), default="-")
@json_option
def command(file: IO[bytes], as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Print p50, p95 and p99 per stage from the log FILE (`-`, the default: standard input).

    Milliseconds. A stage counts only the turns in which it happened.
    """
    found = report(file)
    if as_json:
        print_json({**asdict(found), "success_share": found.success_share, "cache_share": found.cache_share})
        return
    if not found.turns:
        raise click.ClickException("no turns in this log; is it the file that GRAPEVINE_LOG names?")
    _print(found)


def _print(found: LatencyReport) -> None:
    print_table(
        ("stage", "turns", "p50 ms", "p95 ms", "p99 ms"),
        [(s.stage.removesuffix("_ms"), s.count, f"{s.p50:.1f}", f"{s.p95:.1f}", f"{s.p99:.1f}") for s in found.stages],
    )
    outcomes = ", ".join(f"{name} {count}" for name, count in sorted(found.outcomes.items(), key=lambda x: -x[1]))
    click.echo(f"\n{found.turns} turns: {outcomes}")
    click.echo(f"success {found.success_share:.1%}, from cache {found.cache_share:.1%}")
    if found.skipped:
        click.echo(f"{found.skipped} lines were no JSON and were passed over", err=True)
