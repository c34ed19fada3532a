"""`/status` and `/latency` as text. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from bot.admin_words import admin_words, things
from bot.state.jobs import OPEN, Job
from bot.telemetry.latency import report
from bot.telemetry.line import TurnLine
from rag.ports import CollectionCounts


def status_text(
    *,
    language: str | None,
    version: str,
    problems: Sequence[str],
    counts: Mapping[str, CollectionCounts],
    faqs: int,
    unserved: int,
    jobs: Sequence[Job],
    pools: Mapping[str, Mapping[str, float]],
) -> str:
    """How the server is: what is wrong comes first."""
    words = admin_words(language)
    lines = [f"Grapevine {version}: {words.degraded if problems else words.all_well}"]
    lines += [f"⚠️ {problem}" for problem in problems]
    lines += ["", words.documents if counts else words.no_documents]
    for name, count in sorted(counts.items()):
        held = things(language, {"documents": count.documents, "chunks": count.chunks})
        waiting = f" ({words.pending.format(count=count.pending)})" if count.pending else ""
        lines.append(f"• {name}: {words.collection.format(**held)}{waiting}")
    lines += ["", words.faqs.format(total=faqs, away=unserved), _jobs_line(words.jobs, jobs)]
    for name, figures in pools.items():
        said = ", ".join(f"{figure} {value:g}" for figure, value in figures.items())
        lines.append(words.pools.format(name=name, figures=said))
    return "\n".join(lines)


def _jobs_line(form: str, jobs: Sequence[Job]) -> str:
    running = sum(job.state == "running" or (job.state in OPEN and job.lane != job.kind) for job in jobs)
    waiting = sum(job.state in OPEN for job in jobs) - running
    failed = sum(job.state in {"failed", "interrupted"} for job in jobs)
    return form.format(running=running, queued=waiting, failed=failed, known=len(jobs))


def latency_table(lines: Sequence[TurnLine]) -> str:
    """p50 and p95 by stage, in columns."""
    figures = report(orjson.dumps(line.as_dict()) for line in lines).stages
    rows = [("stage", "n", "p50", "p95")]
    rows += [(f.stage.removesuffix("_ms"), str(f.count), f"{f.p50:.0f}", f"{f.p95:.0f}") for f in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if n else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
