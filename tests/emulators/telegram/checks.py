"""The server's rules for texts, entities and keyboards."""

from __future__ import annotations

import json
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
    return text, kept[:MAX_ENTITIES]


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
