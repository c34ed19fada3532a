"""A Redis of a test's own: Debian's `redis-server` on a free port of 127.0.0.1, in memory only."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tests.support.services import missing


def client_of(url: str) -> Redis:
    """A client as the product's: no retries."""
    return Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_timeout=5, socket_connect_timeout=5)


@dataclass(slots=True, kw_only=True)
class RedisServer:
    """A running server that may be paused, killed and started again."""

    port: int
    folder: Path
    process: asyncio.subprocess.Process

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def pause(self) -> None:
        """Let it answer nothing, connections staying open."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        """End it without a word, everything in it lost."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def start(self) -> None:
        """Start it again, empty."""
        self.process = await _launch(self.port, self.folder)


@contextlib.asynccontextmanager
async def redis_server(folder: Path) -> AsyncIterator[RedisServer]:
    """A server for the length of the block; skips the test where the program is missing."""
    if shutil.which("redis-server") is None:
        missing("redis-server is not installed: run `make services`")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = RedisServer(port=port, folder=folder, process=await _launch(port, folder))
    try:
        yield server
    finally:
        await server.kill()


async def _launch(port: int, folder: Path) -> asyncio.subprocess.Process:
    options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder))
    process = await asyncio.create_subprocess_exec(
        "redis-server", *options, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    client = client_of(f"redis://127.0.0.1:{port}/0")
    try:
        async with asyncio.timeout(20):
            while True:
                assert process.returncode is None, "redis-server ended at once"
                with contextlib.suppress(RedisError, OSError):
                    await client.ping()
                    return process
                await asyncio.sleep(0.02)
    finally:
        await client.aclose()
