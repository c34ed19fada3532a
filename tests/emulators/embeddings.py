"""An embeddings endpoint for tests, as strict as OpenAI's, with faults that are scripted per request.

    async with EmbeddingsServer(key="sk-secret") as server:
        server.faults += [Fault(429, {"retry-after": "3"}), Fault(500)]   # the next two requests
        server.permits = asyncio.Semaphore(0)                             # hold the answers; `release` lets one go

The vector of a text is made of its hash; `vector_of` computes it for the test.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from aiohttp import web
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Fault:
    """What a request gets instead of vectors; status 0 cuts the connection."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    code: str | None = None
    body: str | None = None
    """Sent as it is; None: an error as OpenAI words it."""


def vector_of(text: str, dimensions: int) -> NDArray[np.float32]:
    """The unit vector that belongs to `text`."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
    vector = np.random.default_rng(seed).standard_normal(dimensions)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


class EmbeddingsServer:
    """The server; see the module's docstring."""

    def __init__(self, *, key: str = "sk-secret", dimensions: int = 16) -> None:
        self.base_url = ""
        self.dimensions = dimensions
        self.can_shorten = True
        """Whether it honours `dimensions`."""
        self.knows_base64 = True
        self.shuffles = False
        """Whether the vectors come in another order than the texts."""
        self.length = 1.0
        """Of its vectors."""
        self.faults: list[Fault] = []
        self.requests: list[dict[str, Any]] = []
        self.most_at_once = 0
        self.permits: asyncio.Semaphore | None = None
        self._at_once = 0
        self._key = key
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/embeddings", self._answer)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1.0, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if self.permits is not None:
                await self.permits.acquire()
            return self._respond(request, body)
        finally:
            self._at_once -= 1

    def _respond(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if given != self._key:
            return _error(401, f"Incorrect API key provided: {given}.", "invalid_api_key")
        if self.faults:
            return self._fail(request, self.faults.pop(0))
        texts = body["input"]
        if body["model"] == "unknown":
            return _error(404, "The model `unknown` does not exist", "model_not_found")
        if not texts or len(texts) > 2048 or not all(texts):
            return _error(400, f"'$.input' is invalid: {texts[:1]}", None)
        if any(len(text.encode()) > 8191 for text in texts) or sum(len(text.encode()) for text in texts) > 300_000:
            return _error(400, f"maximum context length exceeded: {texts[:1]}", None)
        width = body.get("dimensions", self.dimensions) if self.can_shorten else self.dimensions
        data = [self._entry(index, text, width, body.get("encoding_format")) for index, text in enumerate(texts)]
        return web.json_response({"object": "list", "data": data[::-1] if self.shuffles else data, "usage": {}})

    def _entry(self, index: int, text: str, width: int, encoding: str | None) -> dict[str, Any]:
        vector = vector_of(text, width) * np.float32(self.length)
        as_base64 = encoding == "base64" and self.knows_base64
        embedding = base64.b64encode(vector.tobytes()).decode() if as_base64 else vector.tolist()
        return {"object": "embedding", "index": index, "embedding": embedding}

    def _fail(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        if fault.status == 0:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if fault.body is not None:
            return web.Response(status=fault.status, text=fault.body, content_type="application/json")
        return _error(fault.status, "Please slow down: the text was ...", fault.code, fault.headers)


def _error(status: int, message: str, code: str | None, headers: Mapping[str, str] | None = None) -> web.Response:
    body = {"error": {"message": message, "type": "error", "param": None, "code": code}}
    return web.json_response(body, status=status, headers=headers)
