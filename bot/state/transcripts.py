"""Transcripts in SQLite: in the state file, or in memory. What is forgotten is overwritten, not only unlinked."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from adapters.past import PastAnswer
from adapters.ports import Platform
from bot.state.sqlite import SqliteState
from bot.state.transcript_body import decode_past, encode_body
from bot.state.transcript_ports import Lane, Mark, MessageKind, Rated, Rating

_SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS past (
        id TEXT PRIMARY KEY,
        platform TEXT NOT NULL,
        conversation TEXT NOT NULL,
        place TEXT NOT NULL,
        person TEXT NOT NULL,
        asked_at REAL NOT NULL,
        question_id TEXT,
        handle TEXT,
        body BLOB NOT NULL,
        is_unshared INTEGER NOT NULL DEFAULT 0
    ) STRICT
    """,
    "CREATE INDEX IF NOT EXISTS past_lane ON past (platform, conversation, person, asked_at)",
    "CREATE INDEX IF NOT EXISTS past_person ON past (platform, person)",
    "CREATE INDEX IF NOT EXISTS past_asked ON past (asked_at)",
    "CREATE INDEX IF NOT EXISTS past_question ON past (platform, conversation, question_id)",
    """
    CREATE TABLE IF NOT EXISTS past_messages (
        platform TEXT NOT NULL,
        conversation TEXT NOT NULL,
        message_id TEXT NOT NULL,
        past_id TEXT NOT NULL,
        PRIMARY KEY (platform, conversation, message_id)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX IF NOT EXISTS past_messages_of ON past_messages (past_id)",
    """
    CREATE TABLE IF NOT EXISTS past_ratings (
        past_id TEXT NOT NULL,
        platform TEXT NOT NULL,
        person TEXT NOT NULL,
        verdict TEXT NOT NULL,
        reason TEXT,
        at REAL NOT NULL,
        PRIMARY KEY (past_id, person)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX IF NOT EXISTS past_ratings_person ON past_ratings (platform, person)",
    """
    CREATE TABLE IF NOT EXISTS past_marks (
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        at REAL NOT NULL,
        PRIMARY KEY (kind, key)
    ) STRICT, WITHOUT ROWID
    """,
)
_FIELDS = "id, platform, conversation, place, person, asked_at, question_id, handle, body"
_SELECT = f"SELECT {_FIELDS} FROM past"  # noqa: S608 - constant


class SqliteTranscripts:
    """A `TranscriptStore`, and a process's own record beside a shared one."""

    def __init__(self, state: SqliteState) -> None:
        self._state = state

    @classmethod
    async def open(cls, state: SqliteState) -> SqliteTranscripts:
        """The tables in this state file, made when they are not there."""

        def work(db: sqlite3.Connection) -> None:
            db.execute("PRAGMA secure_delete = ON")
            for statement in _SCHEMA:
                db.execute(statement)

        await state.run(work)
        return cls(state)

    async def put(self, past: PastAnswer, *, is_unshared: bool = False) -> bool:
        """See `TranscriptStore.put`. `is_unshared`: the shared store does not know it (so)."""
        body = encode_body(past)

        def work(db: sqlite3.Connection) -> bool:
            if past.asked_at <= _marked(db, "forget", f"{past.platform}:{past.person}"):
                return False
            db.execute(
                f"INSERT OR REPLACE INTO past ({_FIELDS}, is_unshared) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - constant
                (
                    past.id,
                    past.platform,
                    past.conversation,
                    past.place,
                    past.person,
                    past.asked_at,
                    past.question_id,
                    past.handle,
                    body,
                    is_unshared,
                ),
            )
            _index(db, past.id, past.platform, past.conversation, past.handle)
            return True

        return await self._state.run(work)

    async def shown(self, past_id: str, handle: str, *, is_unshared: bool = False) -> None:
        """See `TranscriptStore.shown`."""

        def work(db: sqlite3.Connection) -> None:
            row: tuple[str, str] | None
            row = db.execute("SELECT platform, conversation FROM past WHERE id = ?", (past_id,)).fetchone()
            if row is not None:
                change = "UPDATE past SET handle = ?, is_unshared = MAX(is_unshared, ?) WHERE id = ?"
                db.execute(change, (handle, is_unshared, past_id))
                _index(db, past_id, row[0], row[1], handle)

        await self._state.run(work)

    async def drop(self, past_id: str) -> None:
        """See `TranscriptStore.drop`."""
        await self._state.run(lambda db: _remove(db, [past_id]))

    async def latest(self, lane: Lane, *, limit: int) -> list[PastAnswer]:
        """See `TranscriptStore.latest`."""

        def work(db: sqlite3.Connection) -> list[PastAnswer]:
            where = "platform = ? AND conversation = ? AND person = ? AND asked_at > ?"
            who = (lane.platform, lane.conversation, lane.person, _marked(db, "new", lane.key))
            rows = db.execute(f"{_SELECT} WHERE {where} ORDER BY asked_at DESC, rowid DESC LIMIT ?", (*who, limit))
            return [_past(row) for row in rows]

        return await self._state.run(work)

    async def get(self, past_id: str) -> PastAnswer | None:
        """See `TranscriptStore.get`."""
        return await self._state.run(lambda db: _one(db.execute(f"{_SELECT} WHERE id = ?", (past_id,))))

    async def find(
        self, platform: Platform, conversation: str, message_id: str, *, kind: MessageKind
    ) -> PastAnswer | None:
        """See `TranscriptStore.find`."""
        where = {
            "question": "platform = ? AND conversation = ? AND question_id = ? ORDER BY asked_at DESC, rowid DESC",
            "answer": "id = (SELECT past_id FROM past_messages WHERE platform = ? AND conversation = ? "
            "AND message_id = ?)",
        }[kind]
        key = (platform, conversation, message_id)
        return await self._state.run(lambda db: _one(db.execute(f"{_SELECT} WHERE {where}", key)))

    async def mark(self, mark: Mark) -> int:
        """See `TranscriptStore.mark`."""

        def work(db: sqlite3.Connection) -> int:
            db.execute(
                "INSERT INTO past_marks VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET at = MAX(at, excluded.at)",
                (mark.kind, mark.key, mark.at),
            )
            if mark.kind == "new":
                return 0
            platform, _, person = mark.key.partition(":")
            who = (platform, person, mark.at)
            found = db.execute("SELECT id FROM past WHERE platform = ? AND person = ? AND asked_at <= ?", who)
            ids = [row[0] for row in found]
            _remove(db, ids)
            db.execute("DELETE FROM past_ratings WHERE platform = ? AND person = ? AND at <= ?", who)
            return len(ids)

        erased = await self._state.run(work)
        if mark.kind == "forget":
            # What was there before stands in the log of writes until that begins anew.
            await self._state.run(lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
        return erased

    async def move(self, platform: Platform, old: str, new: str) -> None:
        """See `TranscriptStore.move`."""

        def work(db: sqlite3.Connection) -> None:
            where = (platform, old)
            people = db.execute("SELECT DISTINCT person FROM past WHERE platform = ? AND conversation = ?", where)
            for (person,) in people.fetchall():
                before, after = (Lane(platform=platform, conversation=c, person=person).key for c in (old, new))
                db.execute("UPDATE OR REPLACE past_marks SET key = ? WHERE kind = 'new' AND key = ?", (after, before))
            db.execute("DELETE FROM past_messages WHERE platform = ? AND conversation = ?", where)
            db.execute(
                "UPDATE past SET conversation = ?, place = IIF(place = ?, ?, place), question_id = NULL, handle = NULL "
                "WHERE platform = ? AND conversation = ?",
                (new, old, new, *where),
            )

        await self._state.run(work)

    async def rate(self, past_id: str, rating: Rating) -> bool:
        """See `TranscriptStore.rate`."""

        def work(db: sqlite3.Connection) -> bool:
            row = db.execute("SELECT platform FROM past WHERE id = ?", (past_id,)).fetchone()
            if row is None:
                return False
            kept = (past_id, row[0], rating.person, rating.verdict, rating.reason, rating.at)
            db.execute("INSERT OR REPLACE INTO past_ratings VALUES (?, ?, ?, ?, ?, ?)", kept)
            return True

        return await self._state.run(work)

    async def rated(self, *, since: float) -> list[Rated]:
        """See `TranscriptStore.rated`."""

        def work(db: sqlite3.Connection) -> list[Rated]:
            where = "WHERE id IN (SELECT past_id FROM past_ratings WHERE at >= ?) ORDER BY asked_at, rowid"
            found = [_past(row) for row in db.execute(f"{_SELECT} {where}", (since,))]
            return [Rated(past=past, ratings=_ratings(db, past.id, since)) for past in found]

        return await self._state.run(work)

    async def prune(self, *, before: float) -> int:
        """See `TranscriptStore.prune`."""

        def work(db: sqlite3.Connection) -> int:
            ids = [row[0] for row in db.execute("SELECT id FROM past WHERE asked_at < ?", (before,))]
            _remove(db, ids)
            db.execute("DELETE FROM past_marks WHERE at < ?", (before,))
            return len(ids)

        return await self._state.run(work)

    # For a process that shares them.

    async def unshared(self, *, since: float | None) -> list[Rated]:
        """What the shared store may not know; with `since` everything asked from then on, too. Oldest first."""

        def work(db: sqlite3.Connection) -> list[Rated]:
            where = "WHERE is_unshared = 1 OR asked_at >= ? ORDER BY asked_at, rowid"
            found = [
                _past(row) for row in db.execute(f"{_SELECT} {where}", (float("inf") if since is None else since,))
            ]
            return [Rated(past=past, ratings=_ratings(db, past.id, 0.0)) for past in found]

        return await self._state.run(work)

    async def note_unshared(self, past_id: str, *, is_unshared: bool = True) -> None:
        """Whether the shared store has still to be told how this one is."""
        change = "UPDATE past SET is_unshared = ? WHERE id = ?"
        await self._state.run(lambda db: db.execute(change, (is_unshared, past_id)))

    async def file_id(self) -> str:
        """What tells this state file from other replicas' ones."""
        return (await self._state.kept_secret("transcripts", 8)).hex()

    async def marks(self, *, since: float = 0.0) -> list[Mark]:
        """The marks set since then."""
        return await self._state.run(
            lambda db: [
                Mark(kind=row[0], key=row[1], at=row[2])
                for row in db.execute("SELECT kind, key, at FROM past_marks WHERE at >= ?", (since,))
            ]
        )


def _marked(db: sqlite3.Connection, kind: str, key: str) -> float:
    row = db.execute("SELECT at FROM past_marks WHERE kind = ? AND key = ?", (kind, key)).fetchone()
    return float(row[0]) if row else float("-inf")


def _index(db: sqlite3.Connection, past_id: str, platform: str, conversation: str, handle: str | None) -> None:
    db.execute("DELETE FROM past_messages WHERE past_id = ?", (past_id,))
    rows = [(platform, conversation, message_id, past_id) for message_id in (handle or "").split(",") if message_id]
    db.executemany("INSERT OR REPLACE INTO past_messages VALUES (?, ?, ?, ?)", rows)


def _remove(db: sqlite3.Connection, ids: Iterable[str]) -> None:
    rows = [(past_id,) for past_id in ids]
    db.executemany("DELETE FROM past_messages WHERE past_id = ?", rows)
    db.executemany("DELETE FROM past_ratings WHERE past_id = ?", rows)
    db.executemany("DELETE FROM past WHERE id = ?", rows)


def _ratings(db: sqlite3.Connection, past_id: str, since: float) -> tuple[Rating, ...]:
    rows = db.execute(
        "SELECT person, verdict, reason, at FROM past_ratings WHERE past_id = ? AND at >= ? ORDER BY at, person",
        (past_id, since),
    )
    return tuple(Rating(person=row[0], verdict=row[1], reason=row[2], at=row[3]) for row in rows)


def _one(rows: sqlite3.Cursor) -> PastAnswer | None:
    row = rows.fetchone()
    return None if row is None else _past(row)


def _past(row: tuple[str, Platform, str, str, str, float, str | None, str | None, bytes]) -> PastAnswer:
    return decode_past(
        past_id=row[0],
        platform=row[1],
        conversation=row[2],
        place=row[3],
        person=row[4],
        asked_at=row[5],
        question_id=row[6],
        handle=row[7],
        body=row[8],
    )
