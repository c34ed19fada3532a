"""`grapevine` as a process of its own: commands that end, and a server that is told to stop."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

COMMAND = (sys.executable, "-m", "bot.cli")
ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "bot" / "sample"


def environment(data: Path, **settings: str) -> dict[str, str]:
    """The environment of a process: this one's without our settings, and the given ones."""
    ours = re.compile(r"GRAPEVINE_|OPENAI_|EMBEDDING_|TELEGRAM_|SLACK_|NEO4J_|REDIS_|LLM_|HTTPS?_PROXY", re.IGNORECASE)
    inherited = {name: value for name, value in os.environ.items() if not ours.match(name)}
    return {**inherited, "GRAPEVINE_DATA": str(data), **settings}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str


async def grapevine(*args: str, data: Path, stdin: bytes = b"", **settings: str) -> Finished:
    """Run `grapevine ARGS` to its end, in the data folder's parent (no `.env` of ours lies there)."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *args,
        env=environment(data, **settings),
        cwd=data.parent,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(stdin)
    return Finished(code=process.returncode or 0, out=out.decode(), err=err.decode())


@dataclass(slots=True, kw_only=True)
class Server:
    """A running `grapevine serve`."""

    process: asyncio.subprocess.Process
    address: str
    log: Path
    said: list[str] = field(default_factory=list)
    """What it has printed on standard error."""

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and wait until it has ended; the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(how)
        return await self.process.wait()


@asynccontextmanager
async def serving(data: Path, **settings: str) -> AsyncIterator[Server]:
    """`grapevine serve` on a free port, ready for questions; terminated at the end."""
    log = data.parent / "serve.log"
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        "serve",
        env=environment(data, **{"GRAPEVINE_PORT": "0", "GRAPEVINE_LOG": str(log)} | settings),
        cwd=data.parent,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    said: list[str] = []
    reading: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(60):
            while not (said and said[-1].startswith("address ")):
                line = (await process.stderr.readline()).decode()
                assert line, f"serve ended with {await process.wait()}: {''.join(said)}"
                said.append(line)
        server = Server(process=process, address=said[-1].split()[1], log=log, said=said)
        reading = asyncio.create_task(_read_on(process.stderr, said))
        yield server
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(40):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        if reading is not None:
            await reading


async def _read_on(stream: asyncio.StreamReader, said: list[str]) -> None:
    while line := await stream.readline():
        said.append(line.decode())
