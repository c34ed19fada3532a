"""A live message's three calls over Slack's web API, and what Slack's refusals mean for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientConnectorError, ClientError
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from adapters.live.errors import ChatGone, MessageGone, PlatformError, Rejected, Throttled, Unavailable
from adapters.slack.render import SlackScreen

_MESSAGE_GONE = {"message_not_found", "cant_update_message", "cant_delete_message", "edit_window_closed"}
_CHAT_GONE = {
    "account_inactive", "as_user_not_supported", "cannot_dm_bot", "channel_not_found", "ekm_access_denied",
    "invalid_auth", "is_archived", "is_inactive", "messages_tab_disabled", "missing_scope", "no_permission",
    "not_authed", "not_in_channel", "restricted_action", "restricted_action_read_only_channel",
    "restricted_action_thread_locked", "thread_not_found", "token_expired", "token_revoked", "user_disabled",
}  # fmt: skip
_NOT_NOW = {"fatal_error", "internal_error", "request_timeout", "service_unavailable", "team_added_to_org"}
_NOTHING_HAPPENED = {"service_unavailable", "team_added_to_org"}


@dataclass(slots=True, kw_only=True)
class SlackTransport:
    """Posts and edits in one channel, direct message or thread."""

    client: AsyncWebClient
    channel: str
    thread_ts: str | None = None
    heading: str | None = None
    """Posted first, as the root of a thread for the answer: a slash command leaves no message to answer to."""
    _root_ts: str | None = field(default=None, init=False)

    async def post(self, screen: SlackScreen) -> str:
        """Send a new message; its timestamp, which is its id in the channel."""
        try:
            if self.heading is not None and self._root_ts is None:
                root = await self.client.chat_postMessage(
                    channel=self.channel, markdown_text=self.heading, unfurl_links=False, unfurl_media=False
                )
                self._root_ts = str(root["ts"])
            posted = await self.client.chat_postMessage(
                channel=self.channel,
                thread_ts=self.thread_ts or self._root_ts,
                unfurl_links=False,
                unfurl_media=False,
                **_content(screen),
            )
        except (SlackClientError, ClientError, OSError, TimeoutError) as error:
            raise meaning(error) from None  # the original may carry the request, and with it the token
        return str(posted["ts"])

    async def edit(self, message_id: str, screen: SlackScreen) -> None:
        """Replace a message's text. Slack takes an identical text without complaint."""
        try:
            await self.client.chat_update(channel=self.channel, ts=message_id, **_content(screen))
        except (SlackClientError, ClientError, OSError, TimeoutError) as error:
            raise meaning(error) from None

    async def delete(self, message_id: str) -> None:
        """Take a message away."""
        try:
            await self.client.chat_delete(channel=self.channel, ts=message_id)
        except (SlackClientError, ClientError, OSError, TimeoutError) as error:
            raise meaning(error) from None


def _content(screen: SlackScreen) -> dict[str, Any]:
    if not screen.is_plain:
        return {"markdown_text": screen.markdown}  # excludes `text` and `blocks`
    return {"text": screen.markdown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"), "mrkdwn": False}


def meaning(error: Exception) -> PlatformError:
    """The platform error that an exception of the client stands for, without addresses and tokens."""
    match error:
        case SlackApiError():
            return _refusal(error)
        case ClientConnectorError():
            return Unavailable("no connection", may_have_happened=False)
        case asyncio.TimeoutError() | TimeoutError():
            return Unavailable("no answer in time", may_have_happened=True)
        case _:
            return Unavailable(type(error).__name__, may_have_happened=True)


def _refusal(error: SlackApiError) -> PlatformError:
    response: Any = error.response
    status = int(getattr(response, "status_code", 0) or 0)
    data = getattr(response, "data", None)
    code = str(data.get("error") or "") if isinstance(data, dict) else ""
    result: PlatformError
    if status == 429 or code in {"ratelimited", "rate_limited", "message_limit_exceeded"}:
        headers = {str(k).lower(): v for k, v in dict(getattr(response, "headers", None) or {}).items()}
        result = Throttled(_seconds(headers.get("retry-after")))
    elif code in _MESSAGE_GONE:
        result = MessageGone(code)
    elif code in _CHAT_GONE:
        result = ChatGone(code)
    elif code in _NOT_NOW or status >= 500 or not code:
        result = Unavailable(code or f"HTTP {status}", may_have_happened=code not in _NOTHING_HAPPENED)
    else:
        result = Rejected(code)
    return result


def _seconds(value: object) -> float:
    """Retry-After, which is a whole number of seconds; a minute's share where it is missing or odd."""
    try:
        return max(1.0, float(str(value)))
    except ValueError:
        return 5.0
