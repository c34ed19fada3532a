"""The HTTP session to the Bot API: through the configured proxy, trusting whom it should, and knowing its clock."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from types import SimpleNamespace

from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import TelegramNetworkError
from aiogram.methods import TelegramMethod
from aiogram.methods.base import TelegramType
from aiohttp import ClientSession, TraceConfig, TraceRequestEndParams

log = logging.getLogger(__name__)

_SKEW_S = 60.0


class TelegramSession(AiohttpSession):
    """aiogram's session, which by itself reads neither HTTPS_PROXY nor NO_PROXY nor SSL_CERT_FILE.

    Args:
        api: The Bot API server.
        connect: Makes the client, with the tracing that it is given.
        wall: This machine's clock, seconds since the epoch.
    """

    def __init__(
        self,
        *,
        api: TelegramAPIServer,
        connect: Callable[[TraceConfig], ClientSession],
        wall: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(api=api)
        self._connect = connect
        self._wall = wall
        self._offset_s = 0.0
        self._has_told_skew = False

    def server_time(self) -> float:
        """Seconds since the epoch by Telegram's clock, as far as its last answer told; else by this machine's."""
        return self._wall() + self._offset_s

    @property
    def offset_s(self) -> float:
        """How far Telegram's clock is ahead of this machine's."""
        return self._offset_s

    async def create_session(self) -> ClientSession:
        """The client, made when it is first needed, or was closed."""
        if self._session is None or self._session.closed:
            tracing = TraceConfig()
            tracing.on_request_end.append(self._note_date)
            self._session = self._connect(tracing)
        return self._session

    async def make_request(
        self,
        bot: Bot,
        method: TelegramMethod[TelegramType],
        timeout: int | None = None,  # noqa: ASYNC109 - aiogram's signature
    ) -> TelegramType:
        """One call. A page in another encoding, as some proxies answer with, counts as no answer."""
        try:
            return await super().make_request(bot, method, timeout)
        except UnicodeDecodeError:  # aiogram reads strict UTF-8; nobody who waits out a failed call would expect this
            raise TelegramNetworkError(method=method, message="the answer is not text") from None

    async def _note_date(self, _: ClientSession, __: SimpleNamespace, params: TraceRequestEndParams) -> None:
        date = params.response.headers.get("Date")
        if date is not None:
            try:
                self._offset_s = parsedate_to_datetime(date).timestamp() - self._wall()
            except ValueError:  # a proxy's invention: the last known offset stands
                return
            if abs(self._offset_s) > _SKEW_S and not self._has_told_skew:
                self._has_told_skew = True
                log.warning("this machine's clock is %.0f s off Telegram's; set it right", -self._offset_s)
