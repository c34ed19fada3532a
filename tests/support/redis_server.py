"""A Redis of a test's own: a `redis-server` on a free port of 127.0.0.1, in memory only."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tests.support.services import known, missing

VERSIONS = ("redis", "redis-8")
"""The one of this machine's distribution (7 in Debian 12), and 8."""


def client_of(url: str) -> Redis:
    """A client as the product's: no retries."""
    return Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_timeout=5, socket_connect_timeout=5)


@dataclass(slots=True, kw_only=True)
class RedisServer:
    """A running server that may be paused, killed and started again."""

    program: str
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
        self.process = await _launch(self.program, self.port, self.folder)


@contextlib.asynccontextmanager
async def redis_server(folder: Path, version: str = "redis") -> AsyncIterator[RedisServer]:
    """A server of one of `VERSIONS` for the length of the block; skips the test where the program is missing."""
    program = program_of(version)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = RedisServer(program=program, port=port, folder=folder, process=await _launch(program, port, folder))
    try:
        yield server
    finally:
        await server.kill()


def program_of(version: str) -> str:
    """The server's program; skips the test where it is missing."""
    if version == "redis":
        return shutil.which("redis-server") or missing("redis-server is not installed: run `make services`")
    # Not every machine can build it: required only where `make services` could.
    return known().get("GRAPEVINE_TEST_REDIS_8") or pytest.skip("Redis 8 is not there: `make services` says why")


async def _launch(program: str, port: int, folder: Path) -> asyncio.subprocess.Process:
    options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder))
    process = await asyncio.create_subprocess_exec(
        program, *options, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
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
