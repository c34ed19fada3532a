"""Real files of every format, made by code: what a person's folder holds, the hostile ones included."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from hashlib import md5
from pathlib import Path

import docx

PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + bytes(17)


def pdf(*pages: Sequence[str], title: str | None = None, password: str | None = None) -> bytes:
    """A PDF with a page for each list of lines, blank where there are none; encrypted (RC4, 40 bit) with a `password`.

    An encrypted one cannot be opened without its password; its streams are left as they are, as nobody gets so far.
    """
    objects: list[bytes] = [b"<< /Type /Catalog /Pages 2 0 R >>", b""]
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    kids = []
    for lines in pages:
        stream = b"BT /F1 11 Tf 50 760 Td 14 TL " + b" ".join(_pdf_string(line) + b" Tj T*" for line in lines) + b" ET"
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
        kids.append(len(objects) + 1)
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % len(objects)
        )
    references = b" ".join(b"%d 0 R" % kid for kid in kids)
    objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (references, len(kids))
    trailer = b"/Root 1 0 R"
    if title is not None:
        objects.append(b"<< /Title " + _pdf_string(title) + b" >>")
        trailer += b" /Info %d 0 R" % len(objects)
    if password is not None:
        objects.append(_encryption(password))
        trailer += b" /Encrypt %d 0 R /ID [<%s> <%s>]" % (len(objects), b"00" * 16, b"00" * 16)
    return _pdf_file(objects, trailer)


def _pdf_file(objects: Sequence[bytes], trailer: bytes) -> bytes:
    out = io.BytesIO(b"%PDF-1.4\n")
    out.seek(0, io.SEEK_END)
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.writelines(b"%010d 00000 n \n" % offset for offset in offsets)
    out.write(b"trailer << /Size %d %s >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, trailer, start))
    return out.getvalue()


def _pdf_string(text: str) -> bytes:
    escaped = text.encode("latin-1").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
    return b"(" + escaped + b")"


def _encryption(password: str) -> bytes:
    """The standard security handler, revision 2 (PDF 1.7 specification, 7.6.3)."""
    padding = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")
    padded = (password.encode("latin-1") + padding)[:32]
    owner = _rc4(md5(padded).digest()[:5], padded)
    key = md5(padded + owner + struct.pack("<i", -4) + bytes(16)).digest()[:5]
    user = _rc4(key, padding)
    return b"<< /Filter /Standard /V 1 /R 2 /P -4 /O <%s> /U <%s> >>" % (owner.hex().encode(), user.hex().encode())


def _rc4(key: bytes, data: bytes) -> bytes:
    state = list(range(256))
    j = 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    out = bytearray()
    i = j = 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)


def word_document(title: str, paragraphs: Sequence[str], *, rows: Sequence[Sequence[str]] = ()) -> bytes:
    """A docx with a title, a heading above each paragraph, a list and a table."""
    document = docx.Document()
    document.add_heading(title, 0)
    for number, paragraph in enumerate(paragraphs, 1):
        document.add_heading(f"Part {number}", 1)
        document.add_paragraph(paragraph)
    document.add_paragraph("first point", style="List Bullet")
    document.add_paragraph("second point", style="List Bullet")
    if rows:
        table = document.add_table(rows=0, cols=len(rows[0]))
        for row in rows:
            for cell, text in zip(table.add_row().cells, row, strict=True):
                cell.text = text
    document.add_paragraph("The end.")
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def zip_bomb(unpacked_bytes: int) -> bytes:
    """A docx whose one picture unpacks to that many zeros."""
    out = io.BytesIO(word_document("Bomb", ["text"]))
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as package, package.open("word/media/x.bin", "w") as part:
        block = bytes(1 << 20)
        for _ in range(unpacked_bytes >> 20):
            part.write(block)
    return out.getvalue()


def spreadsheet() -> bytes:
    """Enough of an xlsx to be one."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as package:
        package.writestr("xl/workbook.xml", "<workbook/>")
    return out.getvalue()


def vietnamese_cp1258(text: str) -> bytes:
    """`text` as old Vietnamese Windows programs wrote it: letters with their shape, tone marks after them."""
    import unicodedata  # noqa: PLC0415 - only here

    out = bytearray()
    for letter in text:
        parts = unicodedata.normalize("NFD", letter)
        tones = "".join(part for part in parts if part in "\u0300\u0301\u0303\u0309\u0323")
        base = unicodedata.normalize("NFC", "".join(part for part in parts if part not in tones))
        out += (base + tones).encode("cp1258")
    return bytes(out)


def mixed_folder(folder: Path, *, count: int = 300) -> dict[str, str]:
    """`count` files of all formats, good and bad, in folders; returns the outcome that each must have."""
    expected: dict[str, str] = {}
    for number in range(count):
        name, content, outcome = _mixed(number)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        expected[name] = outcome
    return expected


def _mixed(number: int) -> tuple[str, bytes, str]:
    place = f"dept-{number % 5}/{'sub/' if number % 3 == 0 else ''}file-{number:03}"
    prose = f"Policy number {number} covers theft. The fee is {number * 1000} a year. Claims are paid in {number} days."
    rows = "".join(f"Item {n};{n * number};ok\n" for n in range(12))
    lines = "".join(json.dumps({"id": f"{number}/{n}", "title": f"Note {n}", "text": prose}) + "\n" for n in range(3))
    kinds: tuple[tuple[str, Callable[[], bytes], str], ...] = (
        (
            ".md",
            f"# Policy {number}\n\n{prose}\n\n## Fees\n\n| A | B |\n|---|---|\n| 1 | {number} |\n".encode,
            "added",
        ),
        (
            ".html",
            f"<html><title>Page {number}</title><body><h1>Page</h1><p>{prose}</p></body></html>".encode,
            "added",
        ),
        (".txt", lambda: (prose + "\n\n" + prose).encode("utf-16"), "added"),
        (".csv", f"Name;Price;State\n{rows}".encode, "added"),
        (".jsonl", lines.encode, "added"),
        (".pdf", lambda: pdf([prose], [f"Second page of {number}."], title=f"Paper {number}"), "added"),
        (
            ".docx",
            lambda: word_document(f"Report {number}", [prose], rows=[["Code", "Fee"], ["A1", str(number)]]),
            "added",
        ),
        (
            ".md",
            lambda: vietnamese_cp1258(f"# Điều khoản {number}\n\nBảo hiểm chi trả trong {number} ngày làm việc."),
            "added",
        ),
        (".txt", lambda: b"", "failed"),
        (".png", lambda: PNG, "skipped"),
        (".txt", lambda: PNG, "failed"),
        (".md", lambda: pdf([prose]), "added"),
        (".pdf", lambda: pdf([], []), "failed"),
        (".pdf", lambda: pdf([prose], password="secret"), "failed"),
        (".docx", spreadsheet, "failed"),
        (".md", lambda: zlib.compress(prose.encode() * 50), "failed"),
        (".txt", f"<!DOCTYPE html><html><body><p>{prose}</p></body></html>".encode, "added"),
        (".jsonl", (lines + "{broken\n").encode, "added"),
        (".xyz", prose.encode, "skipped"),
        (".docx", lambda: word_document(f"Half {number}", [prose])[:900], "failed"),
    )
    suffix, content, outcome = kinds[number % len(kinds)]
    return place + suffix, content(), outcome
