"""What a file really is: by its name, corrected by its first bytes. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from rag.errors import IngestError

Format = Literal["md", "html", "txt", "csv", "jsonl", "pdf", "docx"]

SUFFIXES: dict[str, Format] = {
    ".md": "md",
    ".markdown": "md",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".txt": "txt",
    ".text": "txt",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".pdf": "pdf",
    ".docx": "docx",
}
READABLE = "md, html, txt, csv, jsonl, pdf, docx"
"""The formats as a person is told of them."""

HEAD_BYTES = 4096
"""How much of a file `recognise` wants to see."""

_NAMES: dict[Format, str] = {
    "md": "Markdown",
    "html": "HTML",
    "txt": "plain text",
    "csv": "CSV",
    "jsonl": "JSON lines",
    "pdf": "a PDF",
    "docx": "a Word document (docx)",
}

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"GIF8", "a GIF image"),
    (8, b"WEBP", "a WebP image"),
    (0, b"BM\x00", "a bitmap image"),
    (0, b"II*\x00", "a TIFF image"),
    (0, b"MM\x00*", "a TIFF image"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ\x90", "a program"),
    (0, b"\xca\xfe\xba\xbe", "a program"),
    (0, b"\xcf\xfa\xed\xfe", "a program"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\xfd7zXZ\x00", "an xz archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (0, b"SQLite format 3\x00", "an SQLite database"),
    (0, b"ID3", "an MP3 recording"),
    (4, b"ftyp", "a video or audio file"),
    (0, b"OggS", "an Ogg recording"),
    (8, b"WAVE", "a WAV recording"),
)
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_PACKAGE = "EncryptedPackage".encode("utf-16-le")
_HTML_START = re.compile(
    rb"\A(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.{0,2000}?-->\s*)*<(?:!doctype\s+html|html|head|body)\b",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """How a file will be read."""

    format: Format
    warning: str | None = None
    """Said when the name promised something else."""


def declared_format(name: str) -> Format | None:
    """The format that a file's name promises; None when its ending is not one that can be read."""
    return SUFFIXES.get(PurePosixPath(name).suffix.lower())


def recognise(name: str, head: bytes) -> Recognised:
    """How to read the file called `name` that begins with `head`.

    Raises `IngestError` for what cannot be read at all, whatever its name says.
    """
    declared = declared_format(name)
    if declared is None:
        raise IngestError(unknown_suffix(name))
    found = _by_content(head, declared)
    if found == declared:
        return Recognised(format=declared)
    suffix = PurePosixPath(name).suffix.lower()
    return Recognised(format=found, warning=f"named {suffix} but is {_NAMES[found]}; read as that")


def unknown_suffix(name: str) -> str:
    """The line for a file whose ending says that it cannot be read."""
    suffix = PurePosixPath(name).suffix.lower()
    subject = f"{suffix[:20]} is not a format" if suffix else "a name without an ending is not one"
    return f"{subject} that can be read: {READABLE}"


def _by_content(head: bytes, declared: Format) -> Format:
    if b"%PDF-" in head[:1024]:
        return "pdf"
    if head.startswith(b"PK\x03\x04"):
        return "docx"  # or another zip: the docx reader says which
    if head.startswith(_OLE):
        raise IngestError(_old_office(head))
    for offset, magic, kind in _SIGNATURES:
        if head.startswith(magic, offset):
            raise IngestError(f"is {kind}, not a document; convert it to one of: {READABLE}")
    if head.startswith(b"{\\rtf"):
        raise IngestError("is a rich-text file (RTF); save it as docx or txt")
    if declared in {"txt", "md"} and _HTML_START.match(head):
        return "html"
    if declared in {"pdf", "docx"}:
        return _text_behind_wrong_name(head, declared)
    return declared


def _old_office(head: bytes) -> str:
    if _ENCRYPTED_PACKAGE in head:
        return "is a password-protected Office document; remove the password and ingest it again"
    return "is an old or password-protected Office document (doc, xls, ppt); save it as docx without a password"


def _text_behind_wrong_name(head: bytes, declared: Format) -> Format:
    """A file called .pdf or .docx that is neither: text is read as text, anything else is refused."""
    if _HTML_START.match(head):
        return "html"
    # A damaged PDF or docx is binary: zero bytes, or next to no spaces between its bytes.
    if b"\x00" in head or not any(byte in head for byte in b" \n"):
        raise IngestError(f"is not {_NAMES[declared]}, although its name says so; it may be damaged")
    return "txt"
