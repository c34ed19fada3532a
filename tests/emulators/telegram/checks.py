"""The server's rules for texts, entities and keyboards."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.emulators.telegram.errors import bad_request
from tests.emulators.telegram.world import Json

MAX_UTF16 = 4096
MAX_ENTITIES = 100
ENTITY_TYPES = {
    "mention", "hashtag", "cashtag", "bot_command", "url", "email", "phone_number", "bold", "italic", "underline",
    "strikethrough", "spoiler", "blockquote", "expandable_blockquote", "code", "pre", "text_link", "text_mention",
    "custom_emoji", "date_time",
}  # fmt: skip

ACTIONS = {
    "typing", "upload_photo", "record_video", "upload_video", "record_voice", "upload_voice", "upload_document",
    "choose_sticker", "find_location", "record_video_note", "upload_video_note",
}  # fmt: skip
SCOPES = {
    "default", "all_private_chats", "all_group_chats", "all_chat_administrators", "chat", "chat_administrators",
    "chat_member",
}  # fmt: skip


def command_scope(params: Json, chats: set[int]) -> str:
    """`default`, `all_private_chats`, ..., or `chat:<id>`, checked."""
    scope = parsed(params.get("scope"), "BotCommandScope") or {"type": "default"}
    if scope.get("type") not in SCOPES:
        raise bad_request("can't parse BotCommandScope: unsupported type specified")
    if not scope["type"].startswith("chat"):
        return str(scope["type"])
    if int(scope.get("chat_id") or 0) not in chats:
        raise bad_request("chat not found")
    return f"{scope['type']}:{scope['chat_id']}"


def utf16(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def parsed(value: Any, what: str) -> Any:
    """A parameter that may come as JSON text (form bodies) or as a value (JSON bodies)."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise bad_request(f"can't parse {what} JSON object") from error


def content(params: Json) -> tuple[str, list[Json]]:
    """The text and entities as the server keeps them: trimmed, checked, entities beyond the hundredth dropped."""
    if params.get("parse_mode"):
        raise bad_request("unsupported parse_mode")  # the adapter sends entities; a parse mode is a mistake
    raw = str(params.get("text", ""))
    text = raw.strip()
    if not text:
        raise bad_request("message text is empty")
    if utf16(text) > MAX_UTF16:
        raise bad_request("message is too long")
    shift = utf16(raw[: len(raw) - len(raw.lstrip())])
    entities = parsed(params.get("entities", []), "entities") or []
    checked = [_entity(entity, raw, shift, utf16(text)) for entity in entities]
    kept = sorted((e for e in checked if e is not None), key=lambda e: (e["offset"], -e["length"]))
    return text, sorted([*kept[:MAX_ENTITIES], *found_entities(text, kept)], key=lambda e: e["offset"])


def _entity(entity: Any, raw: str, shift: int, length: int) -> Json | None:
    if not isinstance(entity, dict) or entity.get("type") not in ENTITY_TYPES:
        raise bad_request(f"can't parse entities: unsupported entity {entity!r}")
    begin, end = int(entity["offset"]), int(entity["offset"]) + int(entity["length"])
    encoded = raw.encode("utf-16-le")
    if begin < 0 or end > len(encoded) // 2 or end <= begin:
        raise bad_request("ENTITY_BOUNDS_INVALID")
    for where, at in (("begins", begin), ("ends", end)):
        if at * 2 < len(encoded) and 0xDC <= encoded[at * 2 + 1] <= 0xDF:
            raise bad_request(f"entity {where} in a middle of a UTF-16 symbol at byte offset {at}")
    if entity["type"] == "text_link" and not str(entity.get("url", "")).startswith(("http://", "https://", "tg://")):
        return None  # the server drops links it does not understand
    begin, end = max(0, begin - shift), min(length, end - shift)
    return {**entity, "offset": begin, "length": end - begin} if end > begin else None


def keyboard(params: Json) -> Json | None:
    """An inline keyboard, checked."""
    markup = parsed(params.get("reply_markup"), "reply keyboard markup")
    if not markup or not markup.get("inline_keyboard"):
        return None
    if sum(len(row) for row in markup["inline_keyboard"]) > 100:
        raise bad_request("REPLY_MARKUP_TOO_LONG")
    for row in markup["inline_keyboard"]:
        for button in row:
            if not button.get("text"):
                raise bad_request("text buttons are unallowed in the inline keyboard")
            data = button.get("callback_data")
            if data is not None and not 1 <= len(data.encode()) <= 64:
                raise bad_request("BUTTON_DATA_INVALID")
            if data is None and not button.get("url"):
                raise bad_request("can't parse inline keyboard button: a button must have exactly one action")
    return dict(markup)


# What the server makes clickable by itself in anything that is sent, after TDLib's MessageEntity.cpp, with its words of
# any script; whatever it might take for the end of an address is one here.
_FOUND = {
    "mention": r"(?<!\w)@\w{2,32}",
    "bot_command": r"(?<![\w/<>])/[a-z0-9_]{1,64}(?:@\w{3,32})?(?![\w/<>])",
    "hashtag": r"(?<!\w)#(?=\w*[^\W\d_])\w{1,256}(?![\w#])",
    "cashtag": r"(?<![\w$])\$[A-Z]{1,8}(?![\w$])",
    "url": r"(?<![\w.@-])(?:(?:https?|tg)://[^\s]+|(?:[\w-]+\.)+(?:com|net|org|vn|io|example|me|info)(?![\w@]))",
    "email": r"(?<![\w.@-])[\w.+-]+@(?:[\w-]+\.)+[a-z]{2,}",
    "phone_number": r"(?<![\w+])\+\d(?:[ .()-]?\d){6,14}(?!\w)",
    "bank_card": r"(?<![\w-])\d(?:[ -]?\d){12,18}(?![\w-])",
}
_FOUND_ALL = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in _FOUND.items()), re.IGNORECASE)


def found_entities(text: str, given: list[Json]) -> list[Json]:
    """What becomes clickable without the bot's asking: all but what lies in code or in a link."""
    opaque = [e for e in given if e["type"] in {"code", "pre", "text_link", "text_mention", "url", "email", "mention"}]
    found: list[Json] = []
    for match in _FOUND_ALL.finditer(text):
        kind = str(match.lastgroup)
        if kind == "cashtag" and match[0] != match[0].upper():
            continue
        begin, length = utf16(text[: match.start()]), utf16(match[0])
        if not any(e["offset"] < begin + length and begin < e["offset"] + e["length"] for e in opaque):
            found.append({"type": kind, "offset": begin, "length": length})
    return found


def user_entities(text: str) -> list[Json]:
    """Commands and mentions as the server marks them in what people write."""
    found: list[Json] = []
    at = 0
    for word in text.split(" "):
        kind = "bot_command" if word.startswith("/") and len(word) > 1 else "mention" if word.startswith("@") else None
        if kind is not None:
            bare = word.rstrip(",.!?:")
            found.append({"type": kind, "offset": at, "length": utf16(bare)})
        at += utf16(word) + 1
    return found
