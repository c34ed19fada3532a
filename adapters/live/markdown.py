"""Unfinished Markdown made presentable: pure functions of the text. `cutting.py` cuts what is too long.

The point of `heal` is that a preview never shows what the next token would take back: a marker without its text, half
a link, half a table row. What cannot be shown yet is held back; what is open is closed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_FENCE = re.compile(r"^(?P<indent>[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?)(?P<run>`{3,}|~{3,})(?P<info>[^`\n]*)$")
_BARE_MARKERS = re.compile(r"[\s>]*(?:\d{1,9}[.)]?)?[-+*_=>#|`~:\s]*(?:\[[ xX]?\]?)?\s*")
_TABLE_ROW = re.compile(r"[ \t]*\|")
_TABLE_RULE = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-*:?[ \t]*)*")
_BLOCK_START = re.compile(r"[ \t]*(?:[-+*]|\d{1,9}[.)]|#{1,6}|>|\|)(?:\s|$)")
_RUN = re.compile(r"\\.|`+|\*+|_+|~+|!?\[|\]", re.DOTALL)
_LONGEST_LINK_TEXT = 300
_LONGEST_URL = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Healed:
    """The presentable form of a text that may still grow."""

    markdown: str
    upto: int
    """How many characters of the source it shows; the rest is held back."""
    reopen: str
    """What has to stand before the rest of the text if it continues in another message."""


def heal(text: str) -> Healed:
    """Hold back what the next token could change into something else, and close what is open."""
    fence = open_fence(text)
    if fence is not None:
        return _heal_fence(text, fence)
    kept = text
    while True:
        shorter = _without_loose_end(kept)
        opened = _open_marks(shorter)
        cut = opened.hold_from
        if cut is None and shorter == kept:
            break
        kept = shorter if cut is None else shorter[:cut]
    kept = kept.rstrip()
    marks = _open_marks(kept).marks
    return Healed(
        markdown=kept + "".join(reversed(marks)),
        upto=len(kept),
        reopen="".join(marks) + ("" if marks else _table_head(text)),
    )


@dataclass(frozen=True, slots=True)
class _Fence:
    line_at: int
    body_at: int | None
    """Where its content begins; None while its first line is not complete."""
    indent: str
    run: str
    opener: str


def open_fence(text: str) -> _Fence | None:
    """The code fence that is still open at the end."""
    fence: _Fence | None = None
    at = 0
    for line in text.split("\n"):
        bare = line.rstrip("\r")
        match = _FENCE.match(bare)
        if fence is None:
            if match:
                body_at = at + len(line) + 1 if at + len(line) < len(text) else None
                fence = _Fence(at, body_at, re.sub(r"[^ \t>]", " ", match["indent"]), match["run"], bare)
        elif match and match["run"].startswith(fence.run) and not match["info"].strip():
            fence = None
        at += len(line) + 1
    return fence


def _heal_fence(text: str, fence: _Fence) -> Healed:
    body = "" if fence.body_at is None else text[fence.body_at :]
    lines = body.split("\n")
    if set(lines[-1].strip()) <= {fence.run[0]}:  # perhaps the beginning of the closing fence
        body = "\n".join(lines[:-1])
    body = body.rstrip()
    if not body.strip() or fence.body_at is None:
        before = heal(text[: fence.line_at])
        return Healed(markdown=before.markdown, upto=before.upto, reopen="")
    upto = fence.body_at + len(body)
    opener = fence.indent + fence.run + fence.opener.partition(fence.run)[2] + "\n"
    return Healed(markdown=f"{text[:upto]}\n{fence.indent}{fence.run}", upto=upto, reopen=opener)


def _without_loose_end(text: str) -> str:
    """Without a trailing line that holds only markers, an unfinished table row, or a table that is not yet one."""
    is_line_open = not text.endswith("\n")
    text = text.rstrip().removesuffix("\\") if is_line_open else text.rstrip()
    start = text.rfind("\n") + 1
    line = text[start:]
    if _FENCE.match(line):  # it closes a fence: none is open
        return text
    if line and _BARE_MARKERS.fullmatch(line) and not (_TABLE_RULE.fullmatch(line) and _is_table_at(text, start)):
        return text[:start]
    if _TABLE_ROW.match(line):
        if is_line_open:
            return text[:start]
        if not _is_table_at(text, start):
            return text[:start]
    return text if is_line_open else text + "\n"


def _is_table_at(text: str, start: int) -> bool:
    """Whether the row that begins at `start` belongs to a table whose rule has been seen, or is that rule."""
    rows = [*_rows_before(text, start), text[start:].split("\n", 1)[0]]
    return len(rows) > 1 and _TABLE_RULE.fullmatch(rows[1]) is not None


def _rows_before(text: str, start: int) -> list[str]:
    """The unbroken run of table rows that ends just before `start`, in order."""
    rows: list[str] = []
    while start > 0:
        begin = text.rfind("\n", 0, start - 1) + 1
        line = text[begin : start - 1]
        if not _TABLE_ROW.match(line):
            break
        rows.append(line)
        start = begin
    return rows[::-1]


def _table_head(text: str) -> str:
    """Header and rule of the table that the text ends in, to be repeated where it continues."""
    if not text.endswith("\n"):
        return ""
    rows = _rows_before(text, len(text))
    if len(rows) < 3 or not _TABLE_RULE.fullmatch(rows[1]):
        return ""
    return f"{rows[0]}\n{rows[1]}\n"


@dataclass(slots=True)
class _Open:
    marks: list[str]
    """Closers that are missing, outermost first (for these marks opener and closer are the same)."""
    hold_from: int | None
    """From here on nothing can be shown yet."""


def _open_marks(text: str) -> _Open:
    """Inline constructs of the last paragraph that are still open. Emphasis does not reach beyond a block."""
    stack: list[tuple[str, int]] = []
    links: list[int] = []
    at = _paragraph_start(text)
    while match := _RUN.search(text, at):
        run, begin, at = match[0], match.start(), match.end()
        if run[0] == "`":
            close = re.compile(rf"(?<!`){run}(?!`)").search(text, at)
            if close is None:  # a span without content is held back, any other is closed
                hold = begin if not text[at:].strip() else None
                return _Open([*(mark for mark, _ in stack), run], links[0] if links else hold)
            at = close.end()
        elif run[-1] == "[":
            links.append(begin)
        elif run == "]":
            at = _after_link(text, at, links)
            if at < 0:
                return _Open([], links[0])
        elif run[0] != "\\":
            _emphasis(text, run, begin, at, stack)
    return _Open([mark for mark, _ in stack], _hold_from(text, stack, links))


def _hold_from(text: str, stack: list[tuple[str, int]], links: list[int]) -> int | None:
    """Where the part begins that could still become something else."""
    holds = [at for at in links if len(text) - at <= _LONGEST_LINK_TEXT]
    if stack:
        mark, after = stack[-1]
        if not text[after:].strip():  # an opener with nothing behind it
            holds.append(after - len(mark))
        elif len(mark) > 1 and text.endswith(mark[0]) and not text.endswith(mark):  # half of a closer
            holds.append(len(text) - 1)
    return min(holds, default=None)


def _paragraph_start(text: str) -> int:
    at = len(text.rstrip())
    while at > 0:
        begin = text.rfind("\n", 0, at) + 1
        line = text[begin:at]
        if not line.strip() or _FENCE.match(line):
            return at
        if _BLOCK_START.match(line):
            return begin
        at = begin - 1
    return 0


def _after_link(text: str, at: int, links: list[int]) -> int:
    """Where to go on after a `]`; -1 if the link it belongs to is not complete yet."""
    if not links:
        return at
    begin = links.pop()
    if at == len(text):
        is_citation = text[begin + 1 : at - 1].isdigit()
        if not is_citation:
            links.insert(0, begin)
            return -1
    elif text[at] == "(":
        close = text.find(")", at)
        if close < 0 and len(text) - at < _LONGEST_URL and not re.search(r"\n", text[at:]):
            links.insert(0, begin)
            return -1
        return close + 1 if close >= 0 else at
    return at


def _emphasis(text: str, run: str, begin: int, end: int, stack: list[tuple[str, int]]) -> None:
    """Open or close emphasis, by a simplified version of CommonMark's flanking rules."""
    before, after = text[begin - 1 : begin], text[end : end + 1]
    can_open = bool(after) and not after.isspace()
    can_close = bool(before) and not before.isspace()
    if run[0] == "_":
        can_open, can_close = can_open and not before.isalnum(), can_close and not after.isalnum()
    if run[0] == "*" and len(run) == 1:
        can_open = can_open and not before.isalnum()  # 2*3: emphasis inside a word is rarer than a product
    if run[0] == "~" and len(run) != 2:
        return
    while can_close and run and stack and run.startswith(stack[-1][0]):
        run = run[len(stack.pop()[0]) :]
    if not run or (not can_open and after):
        return
    while run and len(run) <= 3:
        mark = run[:2] if len(run) != 1 else run
        stack.append((mark, end - len(run) + len(mark)))
        run = run[len(mark) :]
