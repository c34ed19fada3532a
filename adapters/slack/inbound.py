"""Slack payloads to `Inbound`: what was meant for us, from whom, and where. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from adapters.ports import Inbound

Payload = Mapping[str, Any]

_REFERENCE = re.compile(
    r"<(?:@(?P<user>[UW]\w+)|#\w+\|(?P<channel>[^>]*)|(?P<url>(?:https?|mailto|tel):[^|>]+))(?:\|(?P<label>[^>]*))?>"
)


def place_of(conversation: str) -> tuple[str, str | None]:
    """Channel and thread of a conversation."""
    channel, _, thread = conversation.partition("/")
    return channel, thread or None


def is_direct(channel: str) -> bool:
    """A direct message with the bot: ids of those begin with D."""
    return channel.startswith("D")


def from_event(body: Payload, *, me: str, received_at: float) -> Inbound | None:
    """What an Events API delivery says to us; None for everything else: other bots, edits, our own messages.

    One post can arrive as two events (`app_mention` and `message`), and each event several times; all of them have the
    same event id here, made of team, channel and timestamp.
    """
    event = body.get("event") or {}
    kind, user, channel, ts = (str(event.get(name) or "") for name in ("type", "user", "channel", "ts"))
    is_mention = kind == "app_mention"
    is_message = kind == "message" and event.get("channel_type") == "im"
    if not (is_mention or is_message) or event.get("subtype") or event.get("bot_id") or user in {"", me, "USLACKBOT"}:
        return None
    if not channel or not ts:
        return None
    thread = str(event.get("thread_ts") or "") or ("" if is_direct(channel) else ts)
    return Inbound(
        platform="slack",
        conversation=f"{channel}/{thread}" if thread else channel,
        sender=user,
        text=plain_text(str(event.get("text") or ""), me=me),
        event_id=f"slack:{_team(body)}:{channel}:{ts}",
        received_at=received_at,
        place=_place(body, event, channel),
        is_private=is_direct(channel),
    )


def from_command(body: Payload, *, me: str, received_at: float) -> Inbound | None:
    """What a slash command asks. A command has no timestamp; its `trigger_id` is its own."""
    user, channel, trigger = (str(body.get(name) or "") for name in ("user_id", "channel_id", "trigger_id"))
    if not user or not channel or not trigger:
        return None
    return Inbound(
        platform="slack",
        conversation=channel,
        sender=user,
        text=plain_text(str(body.get("text") or ""), me=me),
        event_id=f"slack:{_team(body)}:command:{trigger}",
        received_at=received_at,
        place="" if is_direct(channel) else channel,
        is_private=is_direct(channel),
    )


def plain_text(text: str, *, me: str) -> str:
    """The words as typed: without our own mention, with names and addresses instead of Slack's references to them."""

    def spoken(match: re.Match[str]) -> str:
        if match["user"]:
            return "" if match["user"] == me else f"@{match['label'] or match['user']}"
        if match["url"]:
            return match["url"].removeprefix("mailto:").removeprefix("tel:")
        return f"#{match['channel']}"

    text = _REFERENCE.sub(spoken, text)
    text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return " ".join(text.split(" ")).strip(" \n\t,:;")


def _team(body: Payload) -> str:
    return str(body.get("team_id") or "")


def _place(body: Payload, event: Payload, channel: str) -> str:
    """The channel, or nothing for a direct message; for people from outside the workspace with a `*` before it."""
    home = _team(body)
    teams = {str(event.get(name) or home) for name in ("user_team", "source_team")}
    is_outside = bool(body.get("is_ext_shared_channel")) or bool(home and teams != {home})
    place = "" if is_direct(channel) else channel
    return f"*{place}" if is_outside else place
