"""The few fields at the head of a Markdown file: `key: value` lines between two `---`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from rag.errors import IngestError

_FENCED = re.compile(r"\A---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_FIELD = re.compile(r"^(title|url|valid_from|valid_until)[ \t]*:[ \t]*(.*)$", re.IGNORECASE)
_URL = re.compile(r"https?://[^\s<>\"']+\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What a document says about itself; None where it says nothing."""

    title: str | None = None
    url: str | None = None
    valid_from: str | None = None
    valid_until: str | None = None


def split_front_matter(text: str) -> tuple[Metadata, str]:
    """The metadata and the text below it. Fields of other programs are passed over.

    Raises `IngestError` for a date or an address that is none: an unread expiry date would be served for ever.
    """
    found = _FENCED.match(text)
    if found is None or ":" not in found[1]:
        return Metadata(), text
    fields: dict[str, str] = {}
    for line in found[1].splitlines():
        field = _FIELD.match(line)
        if field and (value := _unquoted(field[2])):
            fields[field[1].lower()] = value
    return metadata(fields), text[found.end() :]


def metadata(fields: dict[str, str]) -> Metadata:
    """Checked metadata from the strings given, wherever they came from.

    Raises `IngestError` naming the field, what it holds and what it should hold.
    """
    url = fields.get("url")
    if url is not None and not _URL.match(url):
        raise IngestError(f"url: {_shown(url)} is not an address that begins with http:// or https://")
    valid_from, valid_until = _date(fields, "valid_from"), _date(fields, "valid_until")
    if valid_from and valid_until and valid_until < valid_from:
        raise IngestError(f"valid_until: {valid_until} is before valid_from: {valid_from}")
    return Metadata(title=fields.get("title"), url=url, valid_from=valid_from, valid_until=valid_until)


def _date(fields: dict[str, str], name: str) -> str | None:
    value = fields.get(name)
    if value is None:
        return None
    try:
        return datetime.fromisoformat(value).date().isoformat()
    except ValueError:
        raise IngestError(f"{name}: {_shown(value)} is not a date like 2026-12-31") from None


def _unquoted(value: str) -> str:
    value = value.strip()
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1].strip()
    return value.partition(" #")[0].rstrip()


def _shown(value: str) -> str:
    return f"'{value[:60]}…'" if len(value) > 60 else f"'{value}'"
