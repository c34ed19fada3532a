"""An open `knowledge.db` that notices when the file at its path is another one now."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from rag.stores.connection import connect
from rag.stores.schema import prepare


class StoreFile:
    """One connection, for one thread at a time.

    A damaged file is moved away and ingested again while a server runs: without a look at the path it would go on to
    serve, and to write to, a file that has no name any more.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._version = 0

    @property
    def connection(self) -> sqlite3.Connection:
        assert self._connection is not None
        return self._connection

    def reopened(self) -> bool:
        """Open the file if it is not the one that is open; whether that was so."""
        if self._connection is not None and self._identity == _identity(self._path):
            return False
        self.close()
        connection = connect(self._path)
        try:
            prepare(connection, self._path)
            self._version = connection.execute("PRAGMA data_version").fetchone()[0]
        except BaseException:
            connection.close()
            raise
        self._connection, self._identity = connection, _identity(self._path)
        return True

    def has_changed(self) -> bool:
        """Whether any other connection committed since the last call."""
        version = self.connection.execute("PRAGMA data_version").fetchone()[0]
        is_changed = version != self._version
        if is_changed:
            prepare(self.connection, self._path)  # it may be that a newer version of the program has been at it
        self._version = version
        return bool(is_changed)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
