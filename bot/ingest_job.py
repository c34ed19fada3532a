"""Jobs of kind `documents`: what was uploaded goes through the ingest, and its files go when it is over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from bot.jobs import JobFailed, JobKind, JobRun
from bot.state.jobs import Job
from bot.uploads import Uploads
from rag.errors import EmbeddingMismatch, StoreTooNew
from rag.ingest.outcome import FileOutcome, IngestReport, Progress
from rag.ingest.pipeline import IngestOptions, ingest
from rag.ingest.sandbox import ParserPool
from rag.ports import Embedder, KnowledgeStore


class Ingests(Protocol):
    """What this needs of the ingest: everything is in place, vectors included, when it returns."""

    async def __call__(
        self,
        paths: Sequence[Path],
        *,
        collection: str,
        source: str,
        on_progress: Callable[[Progress], None],
    ) -> IngestReport: ...


def ingests(store: KnowledgeStore, embedder: Embedder | None, pool: ParserPool) -> Ingests:
    """The ingest over these parts."""

    async def work(
        paths: Sequence[Path], *, collection: str, source: str, on_progress: Callable[[Progress], None]
    ) -> IngestReport:
        options = IngestOptions(collection=collection)
        return await ingest(
            paths, store=store, embedder=embedder, options=options, pool=pool, source=source, on_progress=on_progress
        )

    return work


def documents_kind(ingest_all: Ingests, uploads: Uploads) -> JobKind:
    """How `documents` jobs are done. They may be started again: what is in place already needs no work."""

    async def handler(run: JobRun) -> None:
        folder = uploads.of(run.job.id)
        if not folder.is_dir():
            raise JobFailed("the uploaded files are gone; upload them again")

        def on_progress(progress: Progress) -> None:
            run.total(progress.files_total)
            if progress.latest is not None:
                _note(run, progress.latest)

        try:
            report = await ingest_all(
                [folder], collection=run.payload["collection"], source=run.payload["source"], on_progress=on_progress
            )
        except (EmbeddingMismatch, StoreTooNew) as error:
            raise JobFailed(str(error)) from error  # trying again cannot help
        # The report is what counts: progress may have left out files that were set aside.
        run.restart(len(report.outcomes))
        for outcome in report.outcomes:
            _note(run, outcome)

    async def ended(job: Job) -> None:
        await uploads.remove(job.id)

    async def sweep(known: frozenset[str], now: float) -> None:
        await uploads.sweep(known, now=now)

    # A store or an embedder that is away for a quarter of an hour costs nobody their upload.
    return JobKind(
        handler=handler,
        is_resumable=True,
        ended=ended,
        sweep=sweep,
        max_attempts=6,
        retry_s=(5.0, 30.0, 120.0, 300.0, 600.0),
    )


def _note(run: JobRun, outcome: FileOutcome) -> None:
    """Count a file. One that was passed over counts as failed: whoever uploads it expects to find it."""
    if outcome.outcome in {"failed", "skipped"}:
        run.advance(failed=1)
        run.error(f"{outcome.file}: {outcome.reason or 'was not read'}")
    else:
        run.advance(done=1)
        for note in outcome.notes:
            run.error(f"{outcome.file}: {note}")
