"""Documents that come one by one over HTTP, as if they lay in a folder called `upload`."""

from __future__ import annotations

from pathlib import Path

import orjson

from rag.errors import IngestError, InputError
from rag.ingest.discover import Discovered, SourceFile, check_document_id
from rag.ingest.parse.frontmatter import metadata
from rag.ingest.parse.sniff import declared_format, unknown_suffix

UPLOAD = "upload"
"""The source of everything that was not ingested from a folder."""


def uploaded_file(path: Path, name: str) -> Discovered:
    """A file that lies at `path` for now and that its sender calls `name`: that is its id.

    Raises `InputError` for a name that cannot be an id or promises a format that cannot be read.
    """
    identity = check_document_id(name)
    if declared_format(identity) is None:
        raise InputError(f"{identity[:80]}: {unknown_suffix(identity)}")
    return _one(path, identity)


def uploaded_text(
    folder: Path,
    *,
    id: str,  # noqa: A002 - the contract's word
    title: str,
    text: str,
    url: str | None = None,
    valid_from: str | None = None,
    valid_until: str | None = None,
) -> Discovered:
    """A document given as text, written into `folder` (the caller's to remove) for the reading process.

    Raises `InputError` for an id that cannot be one, a date that is none, or an empty text.
    """
    identity = check_document_id(id)
    if not text.strip():
        raise InputError("the document's text is empty")
    fields = {"title": title.strip(), "url": url, "valid_from": valid_from, "valid_until": valid_until}
    given = {name: value for name, value in fields.items() if value}
    try:
        metadata(given)
    except IngestError as error:
        raise InputError(str(error)) from None
    path = folder / "document.jsonl"
    # A lone surrogate (JSON allows "\ud800") is no text; it becomes a question mark rather than an error.
    line = {
        name: value.encode("utf-8", "replace").decode()
        for name, value in {**given, "id": identity, "text": text}.items()
    }
    path.write_bytes(orjson.dumps(line) + b"\n")
    return _one(path, identity, as_lines=True)


def _one(path: Path, identity: str, *, as_lines: bool = False) -> Discovered:
    # The reading process goes by the ending of the file's id.
    name = f"{identity}.jsonl" if as_lines else identity
    file = SourceFile(path=str(path), id=name, source=UPLOAD, size=path.stat().st_size)
    return Discovered(files=(file,), set_aside=(), folders=())
