"""Nothing becomes clickable that we did not mean to be: what Telegram makes live by itself is shown as code. Pure.

The server and the clients find addresses, @mentions, /commands, #hashtags, $CASHTAGS, mail addresses, phone and card
numbers in any text (https://core.telegram.org/bots/api#messageentity). A document or a model could that way make an
answer carry a link, a mention or a command of its choice. Within code nothing is looked for, and the words stay as
they were written, to be read and copied; invisible characters in between would break what somebody copies.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterator

from telegramify_markdown import MessageEntity, utf16_len

_OPAQUE = {"code", "pre", "text_link"}
# The ends of international domains, but not Vietnamese words that follow a full stop without a space.
_TOP = r"(?:[a-z]{2,}|xn--[a-z0-9-]+|[^\W\d_a-z\u00c0-\u024f\u1e00-\u1eff]{2,})"
_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
# After the rules of TDLib's MessageEntity.cpp, wider where those depend on lists.
_LIVE = re.compile(
    r"(?:https?://|tg://|ton://|www\.)[^\s<>\"]+"
    r"|(?<![\w.+-])[\w.+-]+@(?:[\w-]+\.)+[a-z]{2,}"
    rf"|(?<![\w@.-])(?:[\w-]+\.)+{_TOP}(?:[:/?#][^\s<>\"]*)?(?![\w@])"
    rf"|(?<![\w@.-])(?:{_OCTET}\.){{3}}{_OCTET}(?:[:/][^\s<>\"]*)?(?![\w.])"
    r"|(?<!\w)@\w{2,32}"
    r"|(?<![\w/<>])/[a-z0-9_]{1,64}(?:@\w{3,32})?(?![\w/<>])"
    r"|(?<!\w)#\w*[^\W\d_]\w*"
    r"|(?<![\w$])\$(?-i:[A-Z]{1,8})(?![\w$])",
    re.IGNORECASE,
)
_BETWEEN = "\u2060"
"""WORD JOINER: no width, no break, and no part of any name or number."""
_CLOSING = ".,;:!?…)]}>'\"”’»"
_CANDIDATE = re.compile(r"(?<!\S)[^\s@/#$.]*[@/#$.]\S+")
"""Spares most words the costly pattern: a full stop at the end of a word is none."""
# Telephone numbers with a country code, with the trunk's zero (Viet Nam and most others), of Vietnamese hotlines, in
# the American way; then card numbers. Not dates, prices or amounts: 2026-11-21, 1.200.000, 12 500 000.
_NUMBER = re.compile(
    r"(?<!\w)(?:\+\d(?:[ .()-]{0,2}\d){6,14}"
    r"|\+?\d(?:[ -]?\d){12,18}"
    r"|0[1-9](?:[ .()-]{0,2}\d){7,9}"
    r"|\(0\d{1,4}\)(?:[ .-]?\d){6,9}"
    r"|1[89]00(?:[ .-]?\d){4,6}"
    r"|\(\d{3}\) ?\d{3}[ -]\d{4}"
    r"|\d{3}-\d{3}-\d{4})(?!\w)"
)


def without_live_words(text: str, entities: list[MessageEntity], allowed_urls: Collection[str]) -> list[MessageEntity]:
    """Entities under which nothing becomes clickable by itself, unless it is an allowed address."""
    covered = [(e.offset, e.offset + e.length) for e in entities if e.type in _OPAQUE]
    added: list[MessageEntity] = []
    for begin, end in (*_live_words(text, allowed_urls), *(match.span() for match in _NUMBER.finditer(text))):
        offset = utf16_len(text[:begin])
        for first, last in _rest(offset, offset + utf16_len(text[begin:end]), covered):
            added.append(MessageEntity("code", first, last - first))
            covered.append((first, last))
    return disjoint_code([*entities, *added]) if added else entities


def _rest(first: int, last: int, covered: Collection[tuple[int, int]]) -> list[tuple[int, int]]:
    """The parts of a range that are not covered yet: of `x.vn`, where the dot is code already, `x` and `vn`."""
    parts = [(first, last)]
    for begin, end in covered:
        if begin < last and first < end:
            parts = [(a, b) for one, two in parts for a, b in ((one, min(two, begin)), (max(one, end), two)) if a < b]
    return parts


def broken(text: str) -> str:
    """The same to read, with nothing to click although there are no entities: invisible characters keep it apart."""
    # Whole words: what a break leaves of one could be live again.
    words = {word.span() for word in _CANDIDATE.finditer(text) if _LIVE.search(text, word.start(), word.end())}
    spans = sorted({*words, *(match.span() for match in _NUMBER.finditer(text))}, reverse=True)
    edge = len(text)
    for begin, last in spans:
        end = min(last, edge)
        text, edge = text[:begin] + _BETWEEN.join(text[begin:end]) + text[end:], begin
    return text


def _live_words(text: str, allowed_urls: Collection[str]) -> Iterator[tuple[int, int]]:
    for candidate in _CANDIDATE.finditer(text):
        for match in _LIVE.finditer(text, candidate.start(), candidate.end()):
            word = match[0].rstrip(_CLOSING)
            if word and word not in allowed_urls:
                yield match.start(), match.start() + len(word)


def disjoint_code(entities: list[MessageEntity]) -> list[MessageEntity]:
    """Cut bold, italic and the like around `code`: Telegram lets nothing else overlap with it."""
    codes = sorted((e for e in entities if e.type == "code"), key=lambda e: e.offset)
    ends = [code.offset + code.length for code in codes]
    result = list(codes)
    for entity in entities:
        if entity.type == "code":
            continue
        first, last = entity.offset, entity.offset + entity.length
        if entity.type not in {"blockquote", "expandable_blockquote"}:  # a quotation may contain code
            for code in codes[bisect_right(ends, first) :]:
                if code.offset >= last:
                    break
                if first < code.offset:
                    result.append(entity.copy_with(offset=first, length=code.offset - first))
                first = code.offset + code.length
        if first == entity.offset:
            result.append(entity)
        elif first < last:
            result.append(entity.copy_with(offset=first, length=last - first))
    return sorted(result, key=lambda e: (e.offset, -e.length))
