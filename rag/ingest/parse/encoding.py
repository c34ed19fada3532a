"""Bytes to text without ever guessing silently: UTF-8 and UTF-16 are certain, two Windows code pages are a said guess.

Old Vietnamese files are the reason for the guess: Windows-1258 bytes read as Windows-1252 give text that looks
like text and finds nothing. The guess is checked against what Vietnamese syllables and Western words look like;
what fits neither is refused with the cure.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from dataclasses import dataclass

from rag.errors import IngestError

_BOMS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16: its mark begins with the same two bytes
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\x80-\x9f\ufffe\uffff]")
_SAVE_AS = "save it as UTF-8 and ingest it again"
_BINARY = "is not text: it holds binary data"

_VIETNAMESE_SYLLABLE = re.compile(
    r"(?:ngh|ch|gh|gi|kh|ng|nh|ph|qu|th|tr|[bcdđghklmnpqrstvx])?"
    r"[aăâeêioôơuưy]{1,3}"
    r"(?:ch|ng|nh|[cmnpt])?"
)
_TONES = str.maketrans("", "", "\u0300\u0301\u0303\u0309\u0323")
_WORD = re.compile(r"[^\W\d_]+")
_GLUED_SYMBOL = re.compile(
    r"[A-Za-z][\u00a1-\u00bf\u00d7\u00f7\u0192\u02c6\u02dc\u2020-\u2022\u2030\u20ac\u2122][A-Za-z]"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """Text, and what had to be assumed to get it."""

    text: str
    encoding: str
    warning: str | None = None


def decode(data: bytes) -> Decoded:
    """The text in `data`: NFC, line ends as line feeds, without control characters.

    Raises `IngestError` when it is not text or its encoding cannot be told.
    """
    decoded = _decoded(data)
    text = decoded.text.replace("\r\n", "\n").replace("\r", "\n")
    controls = len(_CONTROLS.findall(text[:200_000]))
    if controls * 50 > len(text[:200_000]):
        raise IngestError(_BINARY)
    if controls or len(text) > 200_000:
        text = _CONTROLS.sub("", text)
    return Decoded(text=unicodedata.normalize("NFC", text), encoding=decoded.encoding, warning=decoded.warning)


def _decoded(data: bytes) -> Decoded:
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return _marked(data[len(bom) :], encoding)
    sample = data[:65_536]
    if b"\x00" in sample:
        return _unmarked_utf16(data, sample)
    try:
        return Decoded(text=data.decode("utf-8"), encoding="utf-8")
    except UnicodeDecodeError as error:
        return _damaged_utf8(data, error) or _legacy(data)


def _marked(body: bytes, encoding: str) -> Decoded:
    try:
        return Decoded(text=body.decode(encoding), encoding=encoding)
    except UnicodeDecodeError as error:
        name = encoding[: encoding.rfind("-")].upper() if encoding != "utf-8" else "UTF-8"
        raise IngestError(f"says it is {name} but is damaged at byte {error.start:,}; {_SAVE_AS}") from None


def _unmarked_utf16(data: bytes, sample: bytes) -> Decoded:
    """UTF-16 without its mark has zeros in every other byte of Latin text; anything else with zeros is binary."""
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    half = max(1, len(sample) // 2)
    if max(even, odd) < 0.3 * half or min(even, odd) > 0.02 * half:
        raise IngestError(_BINARY)
    encoding = "utf-16-le" if odd > even else "utf-16-be"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        raise IngestError(_BINARY) from None
    return Decoded(text=text, encoding=encoding, warning="read as UTF-16, which it does not say it is")


def _damaged_utf8(data: bytes, error: UnicodeDecodeError) -> Decoded | None:
    """UTF-8 with a few broken bytes stays UTF-8: guessing a code page would spoil all the rest of it."""
    text = data.decode("utf-8", errors="replace")
    broken = text.count("\ufffd")
    intact = len(text) - len(text.encode("ascii", errors="ignore")) - broken
    if intact < 10 * broken:
        return None
    lines = data.count(b"\n", 0, error.start) + 1
    return Decoded(
        text=text, encoding="utf-8", warning=f"{broken} broken UTF-8 character(s), the first in line {lines}"
    )


def _legacy(data: bytes) -> Decoded:
    sample = data[:262_144]
    if _looks_vietnamese(sample.decode("cp1258", errors="replace")):
        name, encoding = "Windows-1258 (Vietnamese)", "cp1258"
    elif _looks_western(sample.decode("cp1252", errors="replace")):
        name, encoding = "Windows-1252 (Western European)", "cp1252"
    else:
        raise IngestError(f"its encoding is neither UTF-8 nor UTF-16 and cannot be told; {_SAVE_AS}")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise IngestError(f"looks like {name} but line {line:,} is not; {_SAVE_AS}") from None
    return Decoded(text=text, encoding=encoding, warning=f"is not UTF-8; read as {name}")


def _marked_words(text: str) -> list[str]:
    return [word for word in _WORD.findall(unicodedata.normalize("NFC", text)) if not word.isascii()]


def _looks_vietnamese(text: str) -> bool:
    """Whether nine in ten of the words with marks are Vietnamese syllables, some with marks only Vietnamese has."""
    words = _marked_words(text)
    if "\ufffd" in text or not words:
        return False
    syllables = sum(_is_syllable(word) for word in words)
    proper = sum(any(letter in "ăđơưĂĐƠƯ" or ord(letter) >= 0x1EA0 for letter in word) for word in words)
    return syllables >= 0.9 * len(words) and proper >= 0.2 * len(words)


def _is_syllable(word: str) -> bool:
    bare = unicodedata.normalize("NFC", unicodedata.normalize("NFD", word.lower()).translate(_TONES))
    return _VIETNAMESE_SYLLABLE.fullmatch(bare) is not None


def _looks_western(text: str) -> bool:
    """Whether the words with marks are mostly ASCII letters, as in every language that Windows-1252 was made for.

    Cyrillic, Greek, Chinese or Japanese bytes give words made of nothing but marked letters; old Vietnamese and
    Mac encodings put symbols inside words.
    """
    if "\ufffd" in text or _GLUED_SYMBOL.search(text):
        return False
    marked = "".join(_marked_words(text))
    ascii_letters = sum(letter.isascii() for letter in marked)
    strange = sum(letter in "¤¦¨¬¯´¸¹ƒˆ˜‡‰" for letter in text)
    return ascii_letters >= 0.6 * len(marked) and strange * 200 <= len(text)
