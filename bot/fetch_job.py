"""Jobs of kind `documents.fetch`: a file that an admin sent in a chat is fetched, then taken in like any upload.

The job is on the disk before the platform is told that the admin's wish has arrived: nothing has to be sent again after
a crash, wherever it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from adapters.admin import AdminPlatform, FileUnavailable, IncomingFile, NoticeAt
from bot.ingest_job import TEXT
from bot.jobs import JobFailed, JobKind, JobRun
from bot.state.jobs import Job
from bot.uploads import SOURCE, UploadError, Uploads, safe_name

FETCH = "documents.fetch"


def fetch_payload(file: IncomingFile, collection: str, at: NoticeAt) -> dict[str, Any]:
    """What a job of this kind needs."""
    return {"collection": collection, "source": SOURCE, "platform": at.platform, "file": asdict(file)}


def fetch_kind(platforms: Mapping[str, AdminPlatform], uploads: Uploads) -> JobKind:
    """How `documents.fetch` jobs are done; `platforms` may be filled later on."""

    async def handler(run: JobRun) -> None:
        folder = uploads.of(run.job.id)
        if folder.is_dir():
            return  # fetched before a restart
        platform = platforms.get(run.payload["platform"])
        if platform is None:
            raise JobFailed(f"this server has no {run.payload['platform']} any more, where the file is")
        file = IncomingFile(**run.payload["file"])
        draft = uploads.begin()
        try:
            await draft.add(safe_name(file.name), platform.fetch(file))
            await draft.keep(folder)
        except (FileUnavailable, UploadError) as error:
            raise JobFailed(str(error)) from error
        finally:
            await draft.discard()

    async def ended(job: Job) -> None:
        await uploads.remove(job.id)

    return JobKind(
        handler=handler,
        is_resumable=True,
        next_lane=TEXT,
        ended=ended,
        max_attempts=6,
        retry_s=(2.0, 10.0, 60.0, 300.0),
    )
