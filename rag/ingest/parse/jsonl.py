"""JSON lines: every line a document of its own; a broken line is reported and the others go on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from rag.errors import IngestError
from rag.ingest.parse.document import ParsedDocument, Problem
from rag.ingest.parse.frontmatter import metadata
from rag.ingest.parse.markdown import first_heading, links_in, markdown_blocks

_FORM = '{"id": "...", "title": "...", "text": "..."}'
_MAX_ID = 400
_MAX_REPORTED = 50
"""Lines reported one by one; a file that is broken throughout is not worth a thousand lines."""


def parse_jsonl(text: str) -> Iterator[ParsedDocument | Problem]:
    """Documents and problems, in the order of the lines.

    Raises `IngestError` when the file is one JSON value spread over lines rather than one a line.
    """
    if text.lstrip()[:1] == "[":
        raise IngestError(f"is one JSON array; write one object a line: {_FORM}")
    seen: dict[str, int] = {}
    broken = 0
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            document = _document(line)
            identity = document.id or ""
            _check_unused(identity, seen)
        except IngestError as error:
            broken += 1
            if broken <= _MAX_REPORTED:
                yield Problem(line=number, message=str(error))
        else:
            seen[identity] = number
            yield document
    if broken > _MAX_REPORTED:
        yield Problem(line=None, message=f"{broken - _MAX_REPORTED:,} more broken lines are not listed")
    if not seen and not broken:
        raise IngestError("is empty")


def _check_unused(identity: str, seen: dict[str, int]) -> None:
    if identity in seen:
        raise IngestError(f"has the id '{identity[:60]}' that line {seen[identity]:,} already has")


def _document(line: str) -> ParsedDocument:
    try:
        fields: Any = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise IngestError(f"is not JSON ({error.msg.partition(':')[0]}); a line looks like {_FORM}") from None
    if not isinstance(fields, dict):
        raise IngestError(f"is not an object; a line looks like {_FORM}")
    identity, text = fields.get("id"), fields.get("text")
    if isinstance(identity, int) and not isinstance(identity, bool):
        identity = str(identity)
    if not isinstance(identity, str) or not identity.strip():
        raise IngestError(f'has no "id"; a line looks like {_FORM}')
    if len(identity) > _MAX_ID:
        raise IngestError(f"has an id of {len(identity):,} characters; at most {_MAX_ID} are allowed")
    if not isinstance(text, str):
        raise IngestError(f'has no "text"; a line looks like {_FORM}')
    blocks = tuple(markdown_blocks(text))
    if not blocks:
        raise IngestError('has an empty "text"')
    meta = metadata({name: _string(fields, name) for name in _METADATA if fields.get(name) not in {None, ""}})
    return ParsedDocument(
        id=identity.strip(),
        title=meta.title or first_heading(blocks) or identity.strip(),
        blocks=blocks,
        url=meta.url,
        valid_from=meta.valid_from,
        valid_until=meta.valid_until,
        links=tuple(links_in(text)),
    )


_METADATA = ("title", "url", "valid_from", "valid_until")


def _string(fields: dict[str, Any], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str | int | float):
        raise IngestError(f'its "{name}" is not a string')
    return " ".join(str(value).split())
