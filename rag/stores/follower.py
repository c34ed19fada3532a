"""A thread that keeps a snapshot up to date with whatever any process writes to `knowledge.db`."""

from __future__ import annotations

import threading
import time
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

REST_S = 1.0
"""So long after the last change the many small segments that an ingest leaves are made few."""


class Follower:
    """Publishes snapshots. `current` is what to search in; searches go on with the former one during a refresh."""

    def __init__(
        self,
        path: Path,
        today: Callable[[], date],
        poll_s: float = POLL_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._monotonic = monotonic
        self._today = today
        self._poll_s = poll_s
        self._changed = threading.Condition()
        self._wanted = 0
        self._reached = 0
        self._is_closed = False
        self._snapshot: Snapshot | None = None
        self._failure: Exception | None = None
        self._thread: threading.Thread | None = None
        self._unsettled_since: float | None = None
        """When the last change came; None once its segments have been tidied up."""

    @property
    def is_started(self) -> bool:
        """Whether anybody asked for a snapshot yet."""
        return self._thread is not None

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
            is_changed = is_new or file.has_changed() or known.today != today
            now = self._monotonic()
            is_at_rest = not is_changed and self._unsettled_since is not None and now > self._unsettled_since + REST_S
            if not is_changed and not is_at_rest:
                return
            with transaction(file.connection, "DEFERRED") as connection:
                # The merge sees the same state, and is published second: it may take longer than the news can wait.
                self._snapshot = refreshed(connection, known, today)
                self._snapshot = merged(connection, self._snapshot, is_at_rest=is_at_rest)
            self._unsettled_since = now if is_changed else None
