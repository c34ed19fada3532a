"""`/api/v1/jobs`: how far background work is."""

from __future__ import annotations

from aiohttp import web

from bot.jobs import job_json
from bot.state.jobs import Job
from bot.web.admin import ADMIN, require_admin
from bot.web.errors import ApiError, json_response

_NEWEST = 50


async def one(request: web.Request) -> web.Response:
    """One job."""
    await require_admin(request)
    job = await request.app[ADMIN].jobs.get(request.match_info["id"])
    if job is None:
        raise ApiError(404, "unknown_job", "There is no such job; jobs are forgotten some days after they end.")
    return json_response(job_json(job))


async def newest(request: web.Request) -> web.Response:
    """The latest jobs, newest first."""
    await require_admin(request)
    jobs = await request.app[ADMIN].jobs.newest(_NEWEST)
    return json_response({"jobs": [job_json(job) for job in jobs]})


def accepted(job: Job) -> web.Response:
    """202: the work will be done, and here is where to look how far it is."""
    return json_response({"job": job.id}, status=202, headers={"Location": f"/api/v1/jobs/{job.id}"})
