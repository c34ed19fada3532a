"""A thread that keeps a snapshot up to date with whatever any process writes to `knowledge.db`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import date
from pathlib import Path

from rag.errors import StoreUnavailable
from rag.stores.connection import explained, transaction
from rag.stores.file import StoreFile
from rag.stores.refresh import merged, refreshed
from rag.stores.snapshot import Snapshot

POLL_S = 0.2
"""`PRAGMA data_version` costs 3 us; what another process wrote is served a fraction of a second later."""


class Follower:
    """Publishes snapshots. `current` is what to search in; searches go on with the former one during a refresh."""

    def __init__(self, path: Path, today: Callable[[], date], poll_s: float = POLL_S) -> None:
        self._path = path
        self._today = today
        self._poll_s = poll_s
        self._changed = threading.Condition()
        self._wanted = 0
        self._reached = 0
        self._is_closed = False
        self._snapshot: Snapshot | None = None
        self._failure: Exception | None = None
        self._thread: threading.Thread | None = None

    @property
    def current(self) -> Snapshot:
        """The latest snapshot; loads at first use. Raises why it cannot be kept up to date."""
        if self._snapshot is None or self._failure is not None:
            self.refresh()
        if self._failure is not None:
            raise self._failure
        assert self._snapshot is not None
        return self._snapshot

    def refresh(self) -> None:
        """Return once `current` shows everything that was committed before this call. Raises what is wrong."""
        with self._changed:
            if self._is_closed:
                raise StoreUnavailable(f"the store {self._path} is closed.")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="knowledge-follower", daemon=True)
                self._thread.start()
            self._wanted += 1
            ticket = self._wanted
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._reached >= ticket or self._is_closed)
            if self._failure is not None:
                raise self._failure

    def close(self) -> None:
        """Stop the thread and close its connection."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()
        self._snapshot = None

    def _run(self) -> None:
        file = StoreFile(self._path)
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._wanted > self._reached or self._is_closed, self._poll_s)
                    if self._is_closed:
                        return
                    ticket = self._wanted
                failure: Exception | None = None
                try:
                    self._look(file)
                except Exception as error:  # noqa: BLE001 - raised in the thread of whoever asks next
                    failure = error
                    file.close()
                with self._changed:
                    self._failure, self._reached = failure, ticket
                    self._changed.notify_all()
        finally:
            file.close()

    def _look(self, file: StoreFile) -> None:
        with explained(self._path):
            is_new = file.reopened()
            today = self._today()
            known = Snapshot() if is_new or self._snapshot is None else self._snapshot
            if not is_new and not file.has_changed() and known.today == today:
                return
            with transaction(file.connection, "DEFERRED") as connection:
                # The merge sees the same state, and is published second: it may take longer than the news can wait.
                self._snapshot = refreshed(connection, known, today)
                self._snapshot = merged(connection, self._snapshot)
