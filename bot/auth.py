"""The admin's credentials: token, one-time login links, sessions."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from bot.state.sessions import SessionTable

LINK_LIFETIME_S = 300.0
SESSION_LIFETIME_S = 12 * 3600.0
TOKEN_FILE = "admin-token"  # noqa: S105 - a file's name

Via = Literal["token", "session", "cli"]
"""How an admin was known."""


class AuthError(Exception):
    """The admin token cannot be read or made; the message says which file and what to do."""


def admin_token(configured: str | None, data: Path) -> tuple[str, Path | None]:
    """The admin token, and the file it lies in if it was not configured.

    Without a configured token, one of 256 random bits is made in `data/admin-token` (mode 600) at first use. Several
    processes may do so at once: all get the same.

    Raises:
        AuthError: If the file cannot be written, read, or holds no token.
    """
    if configured:
        return configured, None
    path = data / TOKEN_FILE
    try:
        if not path.exists():
            data.mkdir(parents=True, exist_ok=True)
            _write_once(path, secrets.token_urlsafe(32))
        token = path.read_text("ascii").strip()
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except (OSError, UnicodeDecodeError) as error:
        raise AuthError(f"{path} cannot be used ({error}); set GRAPEVINE_ADMIN_TOKEN or mend the folder") from error
    if len(token) < 16:
        raise AuthError(f"{path} holds no token; delete it, and the next start makes a new one")
    return token, path


def _write_once(path: Path, text: str) -> None:
    """Write a file that others see whole or not at all; whoever comes second leaves the first one's."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()


class Failures:
    """Counts wrong tokens per address: a token bucket of `burst`, one more guess every `refill_s` seconds."""

    def __init__(
        self, *, burst: int = 20, refill_s: float = 6.0, keep: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst = burst
        self._refill_s = refill_s
        self._keep = keep
        self._clock = clock
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """Seconds until this address may try again; 0 if it may now."""
        over = self._level(address) - (self._burst - 1)
        return max(0.0, over * self._refill_s)

    def note(self, address: str) -> None:
        """A wrong token came from this address."""
        self._spent[address] = (self._level(address) + 1, self._clock())
        self._spent.move_to_end(address)
        while len(self._spent) > self._keep:
            self._spent.popitem(last=False)

    def _level(self, address: str) -> float:
        spent, at = self._spent.get(address, (0.0, 0.0))
        return max(0.0, spent - (self._clock() - at) / self._refill_s)


class Sessions:
    """One-time login links, and the sessions they become."""

    def __init__(
        self,
        table: SessionTable,
        *,
        key: str,
        clock: Callable[[], float] = time.time,
        link_lifetime_s: float = LINK_LIFETIME_S,
        lifetime_s: float = SESSION_LIFETIME_S,
    ) -> None:
        """`key` is the admin token: sessions do not outlive it."""
        self._table = table
        self._key = key
        self._clock = clock
        self._link_lifetime_s = link_lifetime_s
        self.lifetime_s = lifetime_s

    async def make_link(self) -> str:
        """The secret part of a login link, good once, for five minutes."""
        link, now = secrets.token_urlsafe(32), self._clock()
        await self._table.add_link(link, expires_at=now + self._link_lifetime_s, now=now)
        return link

    async def redeem(self, link: str) -> str | None:
        """A new session for this link; None if the link is unknown, used or too old."""
        now = self._clock()
        if not await self._table.use_link(link, now=now):
            return None
        session = secrets.token_urlsafe(32)
        await self._table.add_session(session, key=self._key, expires_at=now + self.lifetime_s, now=now)
        return session

    async def is_open(self, session: str) -> bool:
        """Whether this session is signed in."""
        return await self._table.is_session(session, key=self._key, now=self._clock())

    async def end(self, session: str) -> bool:
        """Sign out; False if it was not signed in."""
        return await self._table.end_session(session)
