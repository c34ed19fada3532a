"""A few long-lived parsing processes: each file has a time limit and a memory limit, and can take down only itself."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from rag.errors import IngestError
from rag.ingest.frames import (
    LENGTH_BYTES,
    Begun,
    Complete,
    Finished,
    Frame,
    Job,
    More,
    Same,
    Trouble,
    length_of,
    packed,
    unpacked,
)
from rag.records import Chunk, Document

_BUFFER_BYTES = 1 << 20
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxLimits:
    """What one file may cost its parsing process."""

    time_s: float = 60.0
    """Seconds spent waiting for the process; time in which the store is the slower one is not counted."""
    memory_bytes: int = 2**30
    files_per_process: int = 500
    """After so many files a process is replaced, in case a library leaks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A document as the store takes it."""

    document: Document
    warnings: tuple[str, ...]
    is_own: bool
    """Whether it carries an id of its own rather than its file's."""


Result = Read | Same | Trouble
"""What a file gives, in order. That it is unchanged as a whole is said by `Unchanged`."""


class Unchanged(Exception):
    """The file's content is what the store already holds."""


class _Died(Exception):
    """The process ended, or had to be ended, before the file was done."""


class ParserPool:
    """Parsing processes, started when first needed. Use as an async context manager, on one event loop."""

    def __init__(
        self,
        *,
        processes: int = 2,
        limits: SandboxLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.processes = processes
        self._limits = limits or SandboxLimits()
        self._clock = clock
        self._idle: list[_Process] = []
        self._all: set[_Process] = set()
        self._slots = asyncio.Semaphore(processes)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all processes, whatever they are doing."""
        processes, self._all = self._all, set()
        self._idle.clear()
        for process in processes:
            await process.kill()

    async def read(self, job: Job) -> AsyncGenerator[Result, None]:
        """What the file of `job` gives.

        Raises `IngestError` with the line its owner reads, and `Unchanged`.
        """
        async with self._slots:
            given = 0
            while True:
                process = self._idle.pop() if self._idle else await self._start()
                was_used = process.files > 0
                try:
                    async with aclosing(self._converse(process, job)) as results:
                        async for result in results:
                            given += 1
                            yield result
                except _Died as death:
                    # What an earlier file left behind may be the cause: once more in a fresh process.
                    if was_used and not given and not isinstance(death, _TookTooLong):
                        continue
                    raise IngestError(str(death)) from None
                return

    async def _start(self) -> _Process:
        process = await _Process.start(self._limits)
        self._all.add(process)
        return process

    async def _converse(self, process: _Process, job: Job) -> AsyncGenerator[Result, None]:
        is_reusable = False
        try:
            end = None
            frames = process.frames(job, self._limits, self._clock)
            async with aclosing(frames), aclosing(_assembled(frames)) as results:
                async for result in results:
                    if isinstance(result, Finished):
                        end = result
                    else:
                        yield result
            assert end is not None
            if end.is_exhausted:
                mib = self._limits.memory_bytes // 2**20
                raise _Died(f"needs more than {mib:,} MiB of memory to be read; split it")
            is_reusable = process.files < self._limits.files_per_process
            if end.is_unchanged:
                raise Unchanged
            if end.error is not None:
                raise IngestError(end.error)
        finally:
            if is_reusable and process in self._all:
                self._idle.append(process)
            else:
                self._all.discard(process)
                await process.kill()


class _TookTooLong(_Died):
    """It ran out of time, as it would again."""


async def _assembled(frames: AsyncIterator[Frame]) -> AsyncGenerator[Result | Finished, None]:
    """Whole documents from their frames."""
    begun: Begun | None = None
    chunks: list[Chunk] = []
    async for frame in frames:
        if isinstance(frame, Begun):
            begun, chunks = frame, []
        elif isinstance(frame, More):
            chunks.extend(frame.chunks)
        elif isinstance(frame, Complete):
            assert begun is not None
            document = replace(begun.document, chunks=tuple(chunks))
            yield Read(document=document, warnings=begun.warnings, is_own=begun.is_own)
            begun, chunks = None, []
        else:
            yield frame


class _Process:
    """One parsing process and the pipe to it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.files = 0

    @classmethod
    async def start(cls, limits: SandboxLimits) -> _Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # a file called docx.py in the working directory is not the library
            "-m",
            "rag.ingest.worker",
            str(limits.memory_bytes),
            str(int(limits.time_s) + 1),
            str(os.getpid()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=_environment(os.environ),
            limit=_BUFFER_BYTES,
        )
        return cls(process)

    async def frames(self, job: Job, limits: SandboxLimits, clock: Callable[[], float]) -> AsyncGenerator[Frame, None]:
        """All frames of one job, the last one a `Finished`. Raises `_Died`."""
        self.files += 1
        assert self._process.stdin is not None
        left = limits.time_s
        try:
            self._process.stdin.write(packed(job))
            await self._process.stdin.drain()
            while True:
                began = clock()
                async with asyncio.timeout(max(0.0, left)):
                    frame = await self._frame()
                left -= clock() - began
                yield frame
                if isinstance(frame, Finished):
                    return
        except TimeoutError:
            raise _TookTooLong(f"took longer than {limits.time_s:g} s to read and was given up") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            raise _Died(await self._cause_of_death(limits)) from None

    async def _frame(self) -> Frame:
        assert self._process.stdout is not None
        header = await self._process.stdout.readexactly(LENGTH_BYTES)
        frame: Frame = unpacked(await self._process.stdout.readexactly(length_of(header)))
        return frame

    async def _cause_of_death(self, limits: SandboxLimits) -> str:
        code = await self._process.wait()
        if code == -signal.SIGXCPU:
            return f"took longer than {limits.time_s:g} s to read and was given up"
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        mib = limits.memory_bytes // 2**20
        return f"crashed its reader ({how}); it may be damaged, or need more than {mib:,} MiB of memory"

    async def kill(self) -> None:
        """End it now and wait until it is gone."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()


def _environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """What a child needs, and none of the keys and tokens that the bot's environment holds."""
    kept = {name: inherited[name] for name in ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR") if name in inherited}
    paths = [str(_ROOT), *filter(None, inherited.get("PYTHONPATH", "").split(os.pathsep))]
    return kept | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1"}
