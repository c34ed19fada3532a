"""Claims, owed turns and lanes in SQLite: in the state file, or in memory."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any

from bot.state.ports import REFUSED, OwedTurn
from bot.state.sqlite import SqliteState

_FIELDS = "event_id, trace_id, platform, lane, payload, accepted_at, owner, tries, message_id, final"
_SELECT = f"SELECT {_FIELDS} FROM turns"  # noqa: S608 - constant
_SETTLE = (
    "UPDATE turns SET settled = 1, payload = NULL, final = NULL, message_id = NULL, lane = '', owner = '', "
    "is_stopping = 0 WHERE event_id = ? AND settled = 0"
)


class SqliteTurns:
    """A `Journal`, and so a `TurnStore`. Wakes nobody in other processes: they look for themselves.

    Settled turns keep their event and the moment of its acceptance, nothing of what was said.
    """

    def __init__(self, state: SqliteState, *, now: Callable[[], float] = time.time) -> None:
        self._state = state
        self._now = now

    async def claim(self, turn: OwedTurn, *, most_waiting: int) -> int | None:
        """See `TurnStore.claim`."""

        def work(db: sqlite3.Connection) -> int | None:
            db.execute("BEGIN IMMEDIATE")
            if db.execute("SELECT 1 FROM turns WHERE event_id = ?", (turn.event_id,)).fetchone():
                return None
            place, lane = REFUSED, ""
            if turn.lane:
                before = "SELECT COUNT(*) FROM turns WHERE lane = ? AND settled = 0"
                waiting = int(db.execute(before, (turn.lane,)).fetchone()[0])
                if waiting <= most_waiting:
                    place, lane = waiting, turn.lane
            _insert(db, turn, lane)
            self._alive(db, turn.owner)
            return place

        return await self._state.run(work)

    async def position(self, event_id: str) -> int | None:
        """See `TurnStore.position`."""
        return await self._state.run(
            lambda db: _first(
                db.execute(
                    "SELECT (SELECT COUNT(*) FROM turns o WHERE o.lane = t.lane AND t.lane <> '' AND o.settled = 0 "
                    "AND o.rowid < t.rowid) FROM turns t WHERE event_id = ? AND settled = 0",
                    (event_id,),
                )
            )
        )

    async def follower(self, event_id: str) -> OwedTurn | None:
        """See `TurnStore.follower`."""

        def work(db: sqlite3.Connection) -> OwedTurn | None:
            line = _line(db, event_id)
            return line[1] if len(line) > 1 and line[0].event_id == event_id else None

        return await self._state.run(work)

    async def absorb(self, event_id: str, owner: str, *, follower: str, payload: bytes) -> bool:
        """See `TurnStore.absorb`."""

        def work(db: sqlite3.Connection) -> bool:
            db.execute("BEGIN IMMEDIATE")
            line = _line(db, event_id)
            if [turn.event_id for turn in line] != [event_id, follower] or line[0].owner != owner:
                return False
            db.execute("UPDATE turns SET payload = ? WHERE event_id = ?", (payload, event_id))
            db.execute(_SETTLE, (follower,))
            return True

        return await self._state.run(work)

    async def record(
        self, event_id: str, owner: str, *, message_id: str | None = None, final: bytes | None = None
    ) -> bool:
        """See `TurnStore.record`."""
        return await self._changes(
            "UPDATE turns SET message_id = COALESCE(?, message_id), final = COALESCE(?, final) "
            "WHERE event_id = ? AND owner = ? AND settled = 0",
            (message_id, final, event_id, owner),
        )

    async def settle(self, event_id: str, owner: str) -> bool:
        """See `TurnStore.settle`."""

        def work(db: sqlite3.Connection) -> bool:
            # What was only waited for on a connection is never delivered again: there is no claim to keep.
            waited_for = "DELETE FROM turns WHERE event_id = ? AND owner = ? AND payload = X''"
            if db.execute(waited_for, (event_id, owner)).rowcount == 1:
                return True
            return db.execute(f"{_SETTLE} AND owner = ?", (event_id, owner)).rowcount == 1

        return await self._state.run(work)

    async def release(self, event_id: str, owner: str) -> None:
        """See `TurnStore.release`."""
        await self._changes("UPDATE turns SET owner = '' WHERE event_id = ? AND owner = ?", (event_id, owner))

    async def beat(self, owner: str) -> frozenset[str]:
        """See `TurnStore.beat`."""

        def work(db: sqlite3.Connection) -> frozenset[str]:
            db.execute("INSERT OR REPLACE INTO owners (owner, beat_at) VALUES (?, ?)", (owner, self._now()))
            return _column(db.execute("SELECT event_id FROM turns WHERE owner = ? AND settled = 0", (owner,)))

        return await self._state.run(work)

    async def owners(self) -> frozenset[str]:
        """See `TurnStore.owners`."""
        return await self._state.run(lambda db: _column(db.execute("SELECT owner FROM owners")))

    async def bury(self, owner: str) -> None:
        """See `TurnStore.bury`."""
        await self._changes("UPDATE owners SET beat_at = 0 WHERE owner = ?", (owner,))

    async def take_over(self, owner: str, *, lapse_s: float) -> list[OwedTurn]:
        """See `TurnStore.take_over`."""

        def work(db: sqlite3.Connection) -> list[OwedTurn]:
            db.execute("BEGIN IMMEDIATE")
            self._alive(db, owner)
            since = self._now() - lapse_s
            db.execute("DELETE FROM owners WHERE owner <> ? AND beat_at <= ?", (owner, since))
            ids = _column(
                db.execute(
                    "SELECT event_id FROM turns WHERE settled = 0 AND owner <> ? "
                    "AND owner NOT IN (SELECT owner FROM owners)",
                    (owner,),
                )
            )
            taken = (self._take(db, event_id, owner) for event_id in ids)
            return sorted((turn for turn in taken if turn), key=lambda turn: turn.accepted_at)

        return await self._state.run(work)

    def _take(self, db: sqlite3.Connection, event_id: str, owner: str) -> OwedTurn | None:
        db.execute(
            "UPDATE turns SET owner = ?, tries = tries + 1, is_stopping = 0 WHERE event_id = ?", (owner, event_id)
        )
        turn = _turn(db.execute(f"{_SELECT} WHERE event_id = ?", (event_id,)).fetchone())
        if turn.payload:
            return turn
        db.execute("DELETE FROM turns WHERE event_id = ?", (event_id,))
        return None

    async def lead(self, name: str, owner: str, *, lapse_s: float) -> bool:
        """See `TurnStore.lead`."""

        def work(db: sqlite3.Connection) -> bool:
            db.execute("BEGIN IMMEDIATE")
            self._alive(db, owner)
            alive = "SELECT owner FROM leads JOIN owners USING (owner) WHERE name = ? AND owner <> ? AND beat_at > ?"
            if db.execute(alive, (name, owner, self._now() - lapse_s)).fetchone():
                return False
            db.execute("INSERT OR REPLACE INTO leads (name, owner) VALUES (?, ?)", (name, owner))
            return True

        return await self._state.run(work)

    async def resign(self, name: str, owner: str) -> None:
        """See `TurnStore.resign`."""
        await self._changes("DELETE FROM leads WHERE name = ? AND owner = ?", (name, owner))

    async def ask_stop(self, lane: str) -> str | None:
        """See `TurnStore.ask_stop`."""

        def work(db: sqlite3.Connection) -> str | None:
            head = "SELECT event_id FROM turns WHERE lane = ? AND settled = 0 ORDER BY rowid LIMIT 1"
            row = db.execute(head, (lane,)).fetchone()
            if row is None:
                return None
            db.execute("UPDATE turns SET is_stopping = 1 WHERE event_id = ? AND settled = 0", row)
            return str(row[0])

        return await self._state.run(work)

    async def stopping(self) -> frozenset[str]:
        """See `TurnStore.stopping`."""
        return await self._state.run(
            lambda db: _column(db.execute("SELECT event_id FROM turns WHERE settled = 0 AND is_stopping = 1"))
        )

    async def prune(self, *, before: float) -> int:
        """See `TurnStore.prune`."""
        return await self._state.run(
            lambda db: (
                db.execute(
                    "DELETE FROM turns WHERE settled = 1 AND is_unshared = 0 AND accepted_at < ?", (before,)
                ).rowcount
            )
        )

    async def count(self) -> int:
        """How many answers are owed."""
        return await self._state.run(lambda db: _first(db.execute("SELECT COUNT(*) FROM turns WHERE settled = 0")) or 0)

    # Beside a shared store.

    async def keep(self, turn: OwedTurn, *, is_shared: bool) -> bool:
        """See `Journal.keep`."""

        def work(db: sqlite3.Connection) -> bool:
            db.execute("BEGIN IMMEDIATE")
            row = db.execute("SELECT settled FROM turns WHERE event_id = ?", (turn.event_id,)).fetchone()
            if row is None:
                _insert(db, turn, turn.lane)
            elif row[0]:
                return False
            db.execute(
                "UPDATE turns SET owner = ?, tries = ?, payload = ?, message_id = COALESCE(?, message_id), "
                "final = COALESCE(?, final), is_unshared = ? WHERE event_id = ?",
                (turn.owner, turn.tries, turn.payload, turn.message_id, turn.final, not is_shared, turn.event_id),
            )
            return True

        return await self._state.run(work)

    async def keep_new(self, turn: OwedTurn) -> bool:
        """See `Journal.keep_new`."""

        def work(db: sqlite3.Connection) -> bool:
            db.execute("BEGIN IMMEDIATE")
            if db.execute("SELECT 1 FROM turns WHERE event_id = ?", (turn.event_id,)).fetchone():
                return False
            _insert(db, turn, turn.lane)
            return True

        return await self._state.run(work)

    async def note_unshared(self, event_id: str) -> None:
        """See `Journal.note_unshared`."""
        await self._changes("UPDATE turns SET is_unshared = 1 WHERE event_id = ?", (event_id,))

    async def note_shared(self, event_id: str) -> None:
        """See `Journal.note_shared`."""
        await self._changes("UPDATE turns SET is_unshared = 0 WHERE event_id = ?", (event_id,))

    async def get(self, event_id: str) -> OwedTurn | None:
        """See `Journal.get`."""

        def work(db: sqlite3.Connection) -> OwedTurn | None:
            row = db.execute(f"{_SELECT} WHERE event_id = ? AND settled = 0", (event_id,)).fetchone()
            return None if row is None else _turn(row)

        return await self._state.run(work)

    async def unshared(self, owner: str) -> tuple[list[tuple[OwedTurn, bool]], list[str]]:
        """See `Journal.unshared`."""

        def work(db: sqlite3.Connection) -> tuple[list[tuple[OwedTurn, bool]], list[str]]:
            owed = db.execute(
                f"SELECT {_FIELDS}, is_unshared FROM turns WHERE settled = 0 AND (is_unshared = 1 OR owner = ?) "  # noqa: S608 - constant
                "ORDER BY rowid",
                (owner,),
            )
            done = db.execute("SELECT event_id FROM turns WHERE is_unshared = 1 AND settled = 1")
            return [(_turn(row[:-1]), bool(row[-1])) for row in owed], sorted(_column(done))

        return await self._state.run(work)

    async def forget(self, event_id: str) -> None:
        """See `Journal.forget`."""

        # Nor is the shared store to be told that it was settled: it knows better.
        def work(db: sqlite3.Connection) -> None:
            db.execute(_SETTLE, (event_id,))
            db.execute("UPDATE turns SET is_unshared = 0 WHERE event_id = ?", (event_id,))

        await self._state.run(work)

    def _alive(self, db: sqlite3.Connection, owner: str) -> None:
        """An owner that has never beaten is alive from now on."""
        db.execute("INSERT OR IGNORE INTO owners (owner, beat_at) VALUES (?, ?)", (owner, self._now()))

    async def _changes(self, statement: str, values: tuple[Any, ...]) -> bool:
        return await self._state.run(lambda db: db.execute(statement, values).rowcount == 1)


def _insert(db: sqlite3.Connection, turn: OwedTurn, lane: str) -> None:
    row = (turn.event_id, turn.trace_id, turn.platform, lane, turn.payload, turn.accepted_at, turn.owner, turn.tries)
    db.execute(
        f"INSERT INTO turns ({_FIELDS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - constant
        (*row, turn.message_id, turn.final),
    )


def _line(db: sqlite3.Connection, event_id: str) -> list[OwedTurn]:
    """The first two of the lane that this event is in."""
    return [
        _turn(row)
        for row in db.execute(
            f"{_SELECT} WHERE settled = 0 AND lane <> '' "  # noqa: S608 - constant
            "AND lane = (SELECT lane FROM turns WHERE event_id = ?) ORDER BY rowid LIMIT 2",
            (event_id,),
        )
    ]


def _turn(row: tuple[Any, ...]) -> OwedTurn:
    values = dict(zip(_FIELDS.split(", "), row, strict=True))
    return OwedTurn(**values | {"payload": values["payload"] or b""})


def _column(rows: sqlite3.Cursor) -> frozenset[str]:
    return frozenset(row[0] for row in rows)


def _first(rows: sqlite3.Cursor) -> int | None:
    row = rows.fetchone()
    return None if row is None else int(row[0])
