"""Uploaded files between the request that brought them and the job that ingests them."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import unicodedata
from collections.abc import AsyncIterator, Iterable
from io import BufferedWriter
from pathlib import Path
from urllib.parse import quote, unquote

SOURCE = "upload"
"""The source of every document that came over HTTP: a later upload of the same id replaces it."""
_LONGEST_NAME = 200
_LONGEST_PATH = 400
"""Characters, as for every document id."""


class UploadError(Exception):
    """An upload that cannot be taken; the message tells the person why."""


class UploadTooLarge(UploadError):
    """More bytes than one upload may have."""


def safe_name(raw: str) -> str:
    """The document id for a file name as a browser sent it: a relative path without tricks, in NFC.

    Raises:
        UploadError: If nothing usable is left of it.
    """
    parts = []
    for part in unicodedata.normalize("NFC", _unquoted(raw)).replace("\\", "/").split("/"):
        # Control and format characters (bidi overrides too) would show another name than they are.
        visible = "".join(char for char in part if not unicodedata.category(char).startswith("C"))
        # Neither `..` nor a hidden or backup file, which a folder's walk passes over.
        kept = visible.strip(". ~\t\u00a0")
        if len(kept.encode()) > _LONGEST_NAME:
            raise UploadError("a file name is longer than 200 bytes; please shorten it")
        if kept and not (len(kept) == 2 and kept[1] == ":"):
            parts.append(kept)
    name = "/".join(parts)
    if not name:
        raise UploadError("a file has no usable name; send `filename` with every `file` part")
    if len(name) > _LONGEST_PATH:
        raise UploadError(f"a file's path is longer than {_LONGEST_PATH} characters; please shorten it")
    return name


def _unquoted(raw: str) -> str:
    """The name before a client percent-encoded it, as RFC 7578, 4.2 allows; browsers send it as it is."""
    try:
        plain = unquote(raw, errors="strict")
    except UnicodeDecodeError:
        return raw
    # Only if all of it is encoded: `100% sure.md` is a name, not an encoding.
    return plain if raw in {quote(plain, safe="", errors="replace"), quote(plain, errors="replace")} else raw


class Upload:
    """One request's files while they arrive. Leaves nothing behind unless it is kept."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._left = limit_bytes
        self._limit = limit_bytes
        self.names: list[str] = []

    async def add(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        """Write one file as it comes, a chunk at a time.

        Raises:
            UploadError: If the name was there already, or collides with a folder of the same upload.
            UploadTooLarge: If all files together are larger than accepted.
            OSError: If the disk does not take it.
        """
        if name in self.names:
            raise UploadError(f"two files are called `{name}`; send them one after the other or rename one")
        path = self._folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = await asyncio.to_thread(path.open, "xb")
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise UploadError(f"`{name}` is a file and a folder in the same upload; rename one") from error
        try:
            async for chunk in chunks:
                self._left -= len(chunk)
                if self._left < 0:
                    raise UploadTooLarge(f"an upload may have at most {_size(self._limit)}")
                await asyncio.to_thread(file.write, chunk)
            await asyncio.to_thread(_flush, file)
        finally:
            await asyncio.to_thread(file.close)
        self.names.append(name)

    async def keep(self, final: Path) -> None:
        """Make it last under its job's name; it is on the disk when this returns."""
        await asyncio.to_thread(_settle, self._folder, final)

    async def discard(self) -> None:
        """Remove whatever arrived; nothing happens if it was kept."""
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)


class Uploads:
    """The folder of uploads: one folder per job, and drafts of requests that are still being read."""

    def __init__(self, folder: Path, *, limit_bytes: int = 256 * 2**20) -> None:
        """`limit_bytes` is what one request may bring, all its files together."""
        self._folder = folder
        self.limit_bytes = limit_bytes

    def begin(self) -> Upload:
        """Room for one request's files."""
        # Blocking, and quick: a folder is made.
        draft = self._folder / f"draft-{secrets.token_hex(8)}"
        draft.mkdir(parents=True)
        return Upload(draft, self.limit_bytes)

    def of(self, job_id: str) -> Path:
        """Where the files of this job lie."""
        return self._folder / job_id

    async def remove(self, job_id: str) -> None:
        """The job needs its files no more."""
        await asyncio.to_thread(shutil.rmtree, self.of(job_id), ignore_errors=True)

    async def sweep(self, known: Iterable[str], *, now: float, older_than_s: float = 3600) -> None:
        """Remove what no job knows: requests that a crash cut off before they were answered.

        Young folders stay, because another process may be filling them.
        """
        await asyncio.to_thread(self._sweep, frozenset(known), now - older_than_s)

    def _sweep(self, known: frozenset[str], before: float) -> None:
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                if path.name not in known and path.stat().st_mtime < before:
                    shutil.rmtree(path, ignore_errors=True)


def _flush(file: BufferedWriter) -> None:
    file.flush()
    os.fsync(file.fileno())


def _settle(draft: Path, final: Path) -> None:
    for folder, _, _ in os.walk(draft):
        _sync(Path(folder))
    draft.rename(final)
    _sync(final.parent)


def _sync(folder: Path) -> None:
    """Put a folder's entries on the disk: a file's own fsync does not include its name."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _size(count: int) -> str:
    return f"{count // 2**20} MiB" if count >= 2**20 else f"{count} bytes"
