"""`GET /dashboard`: the admin page; `GET /api/performance`: the last turns and where their time went."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import orjson
from aiohttp import web

from bot.telemetry.latency import report
from bot.telemetry.line import TurnLine
from bot.web.admin import ADMIN, require_admin
from bot.web.assets import ASSETS
from bot.web.errors import ApiError, json_response
from bot.web.login import sign_in_page


async def dashboard(request: web.Request) -> web.Response:
    """The page; for strangers, one that says how to sign in. It holds no data itself."""
    try:
        await require_admin(request)
    except ApiError as error:
        if error.status == 403:
            return sign_in_page(request, 403, "Another site opened this page. To go on, open it from here:")
        return sign_in_page(request, error.status, "")
    return web.Response(
        body=request.app[ASSETS].page("dashboard.html", limit=str(request.app[ADMIN].uploads.limit_bytes)),
        content_type="text/html",
        charset="utf-8",
        headers={"Cache-Control": "no-store"},
    )


async def performance(request: web.Request) -> web.Response:
    """The last turns, newest first, and p50, p95, p99 per stage over them."""
    await require_admin(request)
    lines = tuple(request.app[ADMIN].recent())
    return json_response(await asyncio.to_thread(performance_json, lines))


async def pool_status(request: web.Request) -> web.Response:
    """By pool, how many connections are in use, idle and waited for."""
    await require_admin(request)
    return json_response({"pools": request.app[ADMIN].pools()})


def performance_json(lines: Sequence[TurnLine]) -> dict[str, Any]:
    """What `/api/performance` answers about these turns."""
    turns = [line.as_dict() for line in lines]
    found = report(orjson.dumps(turn) for turn in turns)
    return {
        "turns": turns[::-1],
        "stages": [asdict(stage) for stage in found.stages],
        "outcomes": found.outcomes,
        "success_share": found.success_share,
        "cache_share": found.cache_share,
    }
