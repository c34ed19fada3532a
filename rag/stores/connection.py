"""Opening `knowledge.db`, and saying in one line what is wrong when SQLite refuses."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rag.errors import StoreCorrupt, StoreError, StoreUnavailable

BUSY_TIMEOUT_S = 30.0
"""How long a writer waits for another process's transaction; ours are well below a second."""

_PRAGMAS = (
    "PRAGMA synchronous=NORMAL",  # a power cut may cost the last commits: 0.02 ms each, not 0.12
    "PRAGMA foreign_keys=ON",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA cache_size=-16000",  # KiB; with the default of 2,000 a load reads pages twice
    "PRAGMA journal_size_limit=67108864",
    "PRAGMA secure_delete=ON",  # the text of a removed document is overwritten, not just unlinked
)


def connect(path: Path) -> sqlite3.Connection:
    """A connection in WAL mode, without a transaction of its own. Raises `StoreUnavailable`, `StoreCorrupt`."""
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # The connection belongs to one thread at a time, but is closed by another.
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            # A chunk's row and its vectors take 2 to 4 KB each; pages of the usual 4096 bytes would cut most of them.
            connection.execute("PRAGMA page_size=16384")
            connection.execute("PRAGMA journal_mode=WAL").fetchone()
            for pragma in _PRAGMAS:
                connection.execute(pragma).fetchone()
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite or the file system says into an error that names the cause and the cure."""
    try:
        yield
    except sqlite3.Error as error:
        raise _explain(path, error) from error
    except (FileExistsError, NotADirectoryError) as error:
        raise StoreUnavailable(
            f"cannot open {path}: {error.filename or path.parent} is a file. Choose a folder as the data directory."
        ) from error
    except OSError as error:
        cause = error.strerror or type(error).__name__
        raise StoreUnavailable(
            f"cannot open {path}: {cause}. "
            f"Give this user write access to {path.parent} or choose another data directory."
        ) from error


@contextmanager
def transaction(connection: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
    """All of it or nothing. `IMMEDIATE` for writing, `DEFERRED` for one consistent look."""
    connection.execute(f"BEGIN {kind}")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite rolls back by itself when the disk is full
            connection.execute("ROLLBACK")
        raise


def _explain(path: Path, error: sqlite3.Error) -> StoreError:
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if primary in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return damaged(path, str(error))
    cause, cure = {
        sqlite3.SQLITE_FULL: ("the disk is full", "Nothing of this change was kept; make room and run it again."),
        sqlite3.SQLITE_IOERR: ("the disk did not read or write", "Check the disk and its free space, then try again."),
        sqlite3.SQLITE_BUSY: ("another process keeps writing to it", "Wait until it is done, then run it again."),
        sqlite3.SQLITE_LOCKED: ("another process keeps writing to it", "Wait until it is done, then run it again."),
        sqlite3.SQLITE_READONLY: ("it is not writable", f"Give this user write access to {path.parent}."),
        sqlite3.SQLITE_PERM: ("it is not accessible", f"Give this user write access to {path.parent}."),
        sqlite3.SQLITE_CANTOPEN: (
            "it cannot be opened",
            f"Give this user write access to {path.parent} or choose another data directory.",
        ),
    }.get(primary or -1, (str(error), "Try again; `grapevine doctor` says more."))
    return StoreUnavailable(f"cannot use {path}: {cause}. {cure}")


def damaged(path: Path, detail: str) -> StoreCorrupt:
    """The error for a file that cannot be trusted any more, with the way back."""
    return StoreCorrupt(
        f"{path} is damaged ({detail}). Move it away together with {path.name}-wal and {path.name}-shm, "
        "then run `grapevine ingest` again."
    )
