"""A parsing process: reads jobs from standard input, writes what became of them to standard output.

Started by `rag.ingest.sandbox` as a fresh interpreter (`python -m rag.ingest.worker`), not by `multiprocessing`:
that would import the parent's main module, and with it the whole bot, into every child. A file that hangs, crashes
or eats memory takes down only this process. It ends with its parent in every case: at the end of standard input,
by a signal from the kernel (Linux), and by its allowance of processor time.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import os
import resource
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

from rag.errors import IngestError
from rag.ingest.chunk import CHUNKER_VERSION, build_document
from rag.ingest.frames import (
    CHUNKS_PER_FRAME,
    Begun,
    Complete,
    Finished,
    Frame,
    Job,
    More,
    Same,
    Trouble,
    packed,
    read_message,
)
from rag.ingest.parse import PARSER_VERSION, ParseLimits, check_size, parse_file
from rag.ingest.parse.document import ParsedDocument, Problem

_PR_SET_PDEATHSIG = 1
_NICENESS = 5
"""Live questions go before reading files, but files are still read (at 10, two busy neighbours starved it)."""
_COLLECT_EVERY = 8 * 2**20
_PIPE_BYTES = 2**19
_COSTS_OF_A_FILE = 2**16
"""Bytes read between two collections; a file counts for 64 KiB more, as a docx of any size leaves cycles."""


def main() -> None:
    """Serve jobs until standard input ends. Arguments: memory limit in bytes, processor seconds per file, parent."""
    memory_bytes, cpu_s, parent = (int(value) for value in sys.argv[1:4])
    _end_with(parent)
    out = os.fdopen(os.dup(1), "wb")
    _widen(out)
    os.dup2(2, 1)  # whatever a library prints must not get between the frames
    _limit_memory(memory_bytes)
    os.nice(_NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches the whole group; the parent decides
    gc.disable()  # records are trees without cycles, and collecting after every file cost a quarter (measured)
    since_collected = 0
    while (job := read_message(sys.stdin.buffer)) is not None:
        _allow_processor_time(cpu_s)
        if _serve(job, out):
            return
        since_collected += _COSTS_OF_A_FILE + _size(job.path)
        if since_collected > _COLLECT_EVERY:
            gc.collect()
            since_collected = 0


def _serve(job: Job, out: BinaryIO) -> bool:
    """Write all frames of one job; whether this process should end."""
    end = Finished()
    try:
        out.writelines(packed(frame) for frame in frames(job))
    except _Unchanged:
        end = Finished(is_unchanged=True)
    except IngestError as error:
        end = Finished(error=str(error))
    except MemoryError:
        end = Finished(error="needs more memory to be read than a file is given", is_exhausted=True)
    except RecursionError:
        end = Finished(error="is nested too deeply to be read")
    except OSError as error:
        end = Finished(error=_why_unreadable(error))
    except Exception as error:  # noqa: BLE001 - the edge of this process: a reader's bug must cost one file only
        end = Finished(error=_bug(error))
    out.write(packed(end))
    out.flush()
    return end.is_exhausted


class _Unchanged(Exception):
    """The store holds exactly this file."""


def frames(job: Job) -> Iterator[Frame]:
    """What becomes of one file. Raises `IngestError`, `OSError`, or whatever a hostile file makes a reader raise."""
    path = Path(job.path)
    check_size(path.stat().st_size, ParseLimits(max_bytes=job.max_bytes))
    mark = _file_hash(path)
    if job.is_known and mark in job.known:
        raise _Unchanged
    size = path.stat().st_size
    for parsed in parse_file(path, file_id=job.file_id, limits=ParseLimits(max_bytes=job.max_bytes)):
        if isinstance(parsed, Problem):
            yield Trouble(line=str(parsed))
        else:
            yield from _document(job, parsed, mark, size)


def _document(job: Job, parsed: ParsedDocument, mark: str, size: int) -> Iterator[Frame]:
    is_own = parsed.id is not None and not parsed.id.startswith(f"{job.file_id}#")
    document_id = parsed.id or job.file_id
    content_hash = _content_hash(parsed) if is_own else mark
    if is_own and content_hash in job.known:
        yield Same(id=document_id)
        return
    document = build_document(
        parsed,
        collection=job.collection,
        source=job.source,
        document_id=document_id,
        file=job.file_id,
        content_hash=content_hash,
        size=size if not is_own else sum(len(block.text.encode()) for block in parsed.blocks),
    )
    if not document.chunks:
        raise IngestError("holds no text")
    yield Begun(document=replace(document, chunks=()), warnings=parsed.warnings, is_own=is_own)
    for at in range(0, len(document.chunks), CHUNKS_PER_FRAME):
        yield More(chunks=document.chunks[at : at + CHUNKS_PER_FRAME])
    yield Complete()


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def _file_hash(path: Path) -> str:
    """Of the file's bytes and of everything that decides what is made of them."""
    digest = blake2b(f"{PARSER_VERSION}/{CHUNKER_VERSION}".encode(), digest_size=16)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _content_hash(parsed: ParsedDocument) -> str:
    digest = blake2b(f"{PARSER_VERSION}/{CHUNKER_VERSION}/own".encode(), digest_size=16)
    for field in (parsed.id, parsed.title, parsed.url, parsed.valid_from, parsed.valid_until):
        digest.update(f"{field}\x00".encode(errors="replace"))
    for block in parsed.blocks:
        digest.update(f"{block.kind}{block.level}{block.page}\x00{block.text}\x00".encode(errors="replace"))
    return digest.hexdigest()


def _why_unreadable(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "cannot be read: permission denied; give the user who runs this the right to read it"
    if isinstance(error, FileNotFoundError):
        return "cannot be read: it is gone"
    return f"cannot be read: {error.strerror or type(error).__name__}"


def _bug(error: Exception) -> str:
    """Where it happened, without the message: that may quote the document."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}:{frame.lineno}"
    return f"cannot be read: its reader stumbled ({type(error).__name__} at {place}); the file may be damaged"


def _widen(pipe: BinaryIO) -> None:
    """A pipe of 64 KiB wakes the parent sixty times for each MB of text. Linux lets a user have a wider one."""
    if sys.platform == "linux":
        with suppress(OSError):  # no more than a user may have, or no pipe
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _end_with(parent: int) -> None:
    """Ask Linux for a kill when the parent dies, however it dies; elsewhere the other two ways have to do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above
        os._exit(0)


def _limit_memory(limit: int) -> None:
    """Bound the address space and write no core file. macOS refuses some of these; the others still hold."""
    for name, value in (("RLIMIT_AS", limit), ("RLIMIT_DATA", limit), ("RLIMIT_CORE", 0)):
        kind = getattr(resource, name, None)
        if kind is not None:
            try:
                resource.setrlimit(kind, (value, value))
            except (ValueError, OSError):
                continue


def _allow_processor_time(seconds: int) -> None:
    """Move the processor-time limit ahead: the backstop for a hanging file whose parent is gone."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = int(usage.ru_utime + usage.ru_stime)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (used + seconds + 1, hard))


if __name__ == "__main__":
    main()
