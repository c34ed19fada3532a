"""Jobs of kind `documents`: what was uploaded goes through the ingest, and its files go when it is over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bot.jobs import JobFailed, JobKind, JobRun
from bot.state.jobs import Job
from bot.uploads import Uploads
from rag.errors import EmbeddingMismatch, StoreTooNew
from rag.ingest.outcome import FileOutcome, Progress
from rag.ingest.pipeline import IngestOptions, ingest
from rag.ingest.sandbox import ParserPool
from rag.ingest.vectors import attach_pending
from rag.ports import Embedder, KnowledgeStore

TEXT, VECTORS = "documents", "documents.vectors"
"""The two lanes of a `documents` job."""


def documents_kinds(
    store: KnowledgeStore, embedder: Embedder | None, pool: ParserPool, uploads: Uploads
) -> Mapping[str, JobKind]:
    """How `documents` jobs are done: text first, one upload after the other, then the vectors, in a lane of their own.

    So an upload is found by its words as soon as it is read, however many vectors earlier ones still wait for. Both
    stages may be started again: what is in place already needs no work.
    """
    work = _Work(store=store, embedder=embedder, pool=pool, uploads=uploads)
    # A store or an embedder that is away for a quarter of an hour costs nobody their upload.
    patient = JobKind(
        handler=work.text,
        is_resumable=True,
        ended=work.ended,
        sweep=work.sweep,
        max_attempts=6,
        retry_s=(5.0, 30.0, 120.0, 300.0, 600.0),
    )
    if embedder is None:
        return {TEXT: patient}
    return {TEXT: replace(patient, next_lane=VECTORS), VECTORS: replace(patient, handler=work.vectors, sweep=None)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """The two stages."""

    store: KnowledgeStore
    embedder: Embedder | None
    pool: ParserPool
    uploads: Uploads

    async def text(self, run: JobRun) -> None:
        """Read the files and make their text searchable."""
        folder = self.uploads.of(run.job.id)
        if not folder.is_dir():
            raise JobFailed("the uploaded files are gone; upload them again")

        def on_progress(progress: Progress) -> None:
            run.total(progress.files_total)
            if progress.latest is not None:
                _note(run, progress.latest)

        try:
            if self.embedder is not None:
                await self.store.check_embedding(self.embedder.name, self.embedder.dimensions)
            report = await ingest(
                [folder],
                store=self.store,
                embedder=None,
                options=IngestOptions(collection=run.payload["collection"]),
                pool=self.pool,
                source=run.payload["source"],
                on_progress=on_progress,
            )
        except (EmbeddingMismatch, StoreTooNew) as error:
            raise JobFailed(str(error)) from error  # trying again cannot help
        # The report is what counts: a later word on a file replaces an earlier one.
        run.restart(len(report.outcomes))
        for outcome in report.outcomes:
            _note(run, outcome)

    async def vectors(self, _run: JobRun) -> None:
        """Wait until nothing is pending any more, by doing it."""
        assert self.embedder is not None
        await attach_pending(self.store, self.embedder)
        await self.store.refresh()

    async def ended(self, job: Job) -> None:
        await self.uploads.remove(job.id)

    async def sweep(self, known: frozenset[str], now: float) -> None:
        await self.uploads.sweep(known, now=now)


def _note(run: JobRun, outcome: FileOutcome) -> None:
    """Count a file. One that was passed over counts as failed: whoever uploads it expects to find it."""
    if outcome.outcome in {"failed", "skipped"}:
        run.advance(failed=1)
        run.error(f"{outcome.file}: {outcome.reason or 'was not read'}")
    else:
        run.advance(done=1)
        run.find({"documents": outcome.documents, "chunks": outcome.chunks, "entities": outcome.names})
        for note in outcome.notes:
            run.error(f"{outcome.file}: {note}")
