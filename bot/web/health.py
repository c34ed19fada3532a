"""`/healthz`: the process lives; `/readyz`: it can serve."""

from __future__ import annotations

from aiohttp import web

from bot.turn import new_trace_id
from bot.web.errors import error_json, json_response
from bot.web.services import SERVICES


async def healthz(request: web.Request) -> web.Response:  # noqa: ARG001 - a handler takes a request
    """Answer as long as the event loop turns."""
    return json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """200, with what is degraded, or 503 with what is still missing."""
    missing = await request.app[SERVICES].missing()
    degraded = list(request.app[SERVICES].degraded())
    if not missing:
        return json_response({"status": "ready"} | ({"degraded": degraded} if degraded else {}))
    body = error_json("not_ready", "Not ready: " + "; ".join(missing), new_trace_id())
    return json_response({**body, "missing": list(missing)}, status=503, headers={"Retry-After": "1"})
