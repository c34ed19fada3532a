"""A local server that speaks `rerank`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web


class Endpoint:
    """Scores a passage by the number in it; `status` and `raw` make it answer something else."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.status = 200
        self.raw: bytes | None = None
        self.held = asyncio.Event()
        self.held.set()
        self.url = ""

    async def rerank(self, request: web.Request) -> web.Response:
        self.bodies.append(body := await request.json())
        self.keys.append(request.headers.get("Authorization"))
        await self.held.wait()
        if self.raw is not None or self.status != 200:
            return web.Response(status=self.status, body=self.raw or b"no")
        scores = [int("".join(filter(str.isdigit, text)) or 0) / 100 for text in body["documents"]]
        # Best first, as real endpoints answer.
        order = sorted(range(len(scores)), key=lambda at: -scores[at])
        return web.json_response({"id": "x", "results": [{"index": at, "relevance_score": scores[at]} for at in order]})


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    endpoint = Endpoint()
    app = web.Application()
    app.router.add_post("/v1/rerank", endpoint.rerank)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/rerank"
    yield endpoint
    endpoint.held.set()
    await runner.cleanup()
