"""Checks what an answer cites and links to, while it streams.

`[1]`, `[1, 2]`, `[1-3]`, `[^1]`, `【1】` and `[source 1]` become `[n]`; a number that stands for no given passage is
dropped, and so are the repetitions in `[1][1]`. Links are held to the sources' (`links.py`). Code keeps its brackets.

The same text gives the same result however it is cut into pieces: at each position the next construct (a bracket, a
link, a code span, a word) is decided only once enough of it has arrived that no further text could change the decision,
and each construct has a greatest length beyond which it is ordinary text. So little is ever held back: a word until it
ends, a bracket until it closes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from rag.generate.links import JOINER, Links, unmentioned
from rag.generate.marks import cited, numbers_in
from rag.generate.prompt import NO_ANSWER
from rag.types import Citation, Passage

_LABEL = 200
_TARGET = 2048
_CODE = 400
_INFO = 80
_ANGLE = 300

_SPACES = re.compile(r"[ \t]+")
_RUN = re.compile(
    rf"(?:https?://|www\.)[^\s<>`*|\"“”\[\]【】]{{1,{_TARGET}}}|[A-Za-z0-9@:/.%?#&=+,;$'_-]{{1,{_TARGET}}}",
    re.IGNORECASE,
)
_OTHER = re.compile(r"[^\sA-Za-z0-9@:/.%?#&=+,;$'_\-`~\[\]【［!<\\]+")
_MARK = re.compile(r"\[([^\[\]\n]*)")
_WIDE_MARK = re.compile(r"[【［]([^【】［］\n]{0,60})[】］]")
_SPECIAL_ANGLE = re.compile(r"<(?:[!@#][^<>\n]*|[A-Za-z][A-Za-z0-9+.-]{0,20}(?::[^<>\n]*)?)?")
_LINK_TARGET = re.compile(r"\s*(?:<[^<>]*>|[^\s<]\S*)?(?:\s+(?:\"[^\"]*\"|'[^']*'))?\s*")


class _Step(NamedTuple):
    """One decided construct: how much input it takes and what becomes of it."""

    taken: int
    text: str
    is_mark: bool = False
    """A citation, kept or dropped."""


class _Link(NamedTuple):
    taken: int
    label: str | None = None
    target: str | None = None


class _Decide(Protocol):
    def __call__(self, at: int, *, is_last: bool) -> _Step | None: ...


_NO_LINK: Final = _Link(0)
_HOLD: Final = None
"""Not decidable before more text arrives."""


class CitationChecker:
    """One answer's check: feed it the pieces as they come; what it returns may be shown."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = tuple(passages)
        self._links = Links(passage.url for passage in passages if passage.url)
        self._buffer = ""
        self._line = ""
        self._fence: re.Pattern[str] | None = None
        self._gap = ""
        self._run: set[int] = set()
        self._used: dict[int, None] = {}
        self._special: dict[str, _Decide] = {
            "`": self._code,
            "~": self._code,
            "[": self._bracket,
            "]": self._closing,
            "【": self._wide_bracket,
            "［": self._wide_bracket,
            "!": self._image,
            "\\": self._escape,
            "<": self._angle,
        }

    @property
    def citations(self) -> tuple[Citation, ...]:
        """What was cited so far, in order of first use."""
        return tuple(cited(number, self._passages[number - 1]) for number in self._used)

    def feed(self, text: str) -> str:
        """The checked text that is certain after this piece; may be empty."""
        self._buffer += text
        return self._drain(is_last=False)

    def finish(self) -> str:
        """The rest, decided without further text."""
        rest = self._drain(is_last=True) + self._gap
        self._gap = ""
        return rest

    def _drain(self, *, is_last: bool) -> str:
        out: list[str] = []
        position = 0
        while position < len(self._buffer):
            step = self._next(position, is_last=is_last)
            if step is _HOLD:
                break
            taken = self._buffer[position : position + step.taken]
            self._line = (self._line + taken).rpartition("\n")[2]
            position += step.taken
            out.append(self._emit(step, taken))
        self._buffer = self._buffer[position:]
        return "".join(out)

    def _emit(self, step: _Step, taken: str) -> str:
        if not self._fence and taken.isspace() and "\n" not in taken:
            # Held until it is clear that no dropped mark follows, which takes the space before it along.
            self._gap += step.text
            return ""
        gap, self._gap = self._gap, ""
        if not step.text:
            return ""
        if not step.is_mark:
            self._run.clear()
        return gap + step.text

    def _next(self, at: int, *, is_last: bool) -> _Step | None:
        first = self._buffer[at]
        special = self._in_fence if self._fence is not None else self._special.get(first)
        if special is not None:
            return special(at, is_last=is_last)
        if match := _RUN.match(self._buffer, at):
            return self._word(match, is_last=is_last)
        match = _SPACES.match(self._buffer, at) or _OTHER.match(self._buffer, at)
        return _Step(len(match[0]), match[0]) if match else _Step(1, first)

    def _word(self, match: re.Match[str], *, is_last: bool) -> _Step | None:
        run = match[0]
        if match.end() == len(self._buffer) and len(run) < _TARGET and not is_last:
            return _HOLD
        if run.rstrip(".,:;") == NO_ANSWER:
            return _Step(len(run), "")
        return _Step(len(run), self._links.word_run(run))

    def _bracket(self, at: int, *, is_last: bool) -> _Step | None:
        link = self._link(at, is_last=is_last)
        if link is _HOLD:
            return _HOLD
        if link.label is None:
            return _Step(1, "[")
        numbers = numbers_in(link.label)
        if link.target is None:
            return self._cite(numbers, at, link.taken) if numbers else _Step(1, "[")
        if any(1 <= number <= len(self._passages) for number in numbers):
            return self._cite(numbers, at, link.taken)
        return _Step(link.taken, self._links.link(link.label, link.target))

    def _closing(self, at: int, *, is_last: bool) -> _Step | None:
        """The end of a bracket that is neither mark nor link for us must not be one for a renderer either."""
        following = self._buffer[at + 1 : at + 2]
        if not following and not is_last:
            return _HOLD
        return _Step(1, f"]{JOINER}" if following and following in "(:" else "]")

    def _image(self, at: int, *, is_last: bool) -> _Step | None:
        """An image would be loaded without a click, so at most a link is left of it."""
        if at + 1 == len(self._buffer) and not is_last:
            return _HOLD
        link = self._link(at + 1, is_last=is_last) if self._buffer[at + 1 : at + 2] == "[" else _NO_LINK
        if link is _HOLD:
            return _HOLD
        if link.label is None or link.target is None:
            return _Step(1, "!")
        return _Step(1 + link.taken, self._links.link(link.label or "image", link.target))

    def _escape(self, at: int, *, is_last: bool) -> _Step | None:
        escaped = self._buffer[at + 1 : at + 2]
        if not escaped and not is_last:
            return _HOLD
        return _Step(2, "\\" + escaped) if escaped and escaped in "[]`\\" else _Step(1, "\\")

    def _link(self, at: int, *, is_last: bool) -> _Link | None:
        """The `[label]` or `[label](target)` at `at`; without a label where there is none."""
        label = self._label(at)
        if label is None:
            return _NO_LINK if self._is_decided(at, _LABEL, "[", is_last=is_last) else _HOLD
        after = at + len(label) + 2
        if after == len(self._buffer) and not is_last:
            return _HOLD
        if self._buffer[after : after + 1] == "(":
            target = self._target(after)
            if target is not None and _LINK_TARGET.fullmatch(target):
                return _Link(len(label) + len(target) + 4, label, target)
            if target is None and not self._is_decided(after, _TARGET, "", is_last=is_last):
                return _HOLD
        return _Link(len(label) + 2, label)

    def _label(self, at: int) -> str | None:
        match = _MARK.match(self._buffer, at, at + _LABEL)
        if match is None or self._buffer[match.end() : match.end() + 1] != "]":
            return None
        return match[1]

    def _target(self, at: int) -> str | None:
        """What stands between the parenthesis at `at` and the one that closes it, on the same line."""
        depth = 0
        for position in range(at, min(len(self._buffer), at + _TARGET)):
            character = self._buffer[position]
            if character == "\n":
                return None
            depth += (character == "(") - (character == ")")
            if depth == 0:
                return self._buffer[at + 1 : position]
        return None

    def _is_decided(self, at: int, length: int, stops: str, *, is_last: bool) -> bool:
        """Whether a construct begun at `at` that has not closed cannot close any more."""
        window = self._buffer[at + 1 : at + length + 1]
        return is_last or len(window) == length or "\n" in window or any(stop in window for stop in stops)

    def _wide_bracket(self, at: int, *, is_last: bool) -> _Step | None:
        match = _WIDE_MARK.match(self._buffer, at)
        if match is None:
            is_decided = self._is_decided(at, 62, "【［】］", is_last=is_last)
            return _Step(1, self._buffer[at]) if is_decided else _HOLD
        if match.end() == len(self._buffer) and not is_last:
            return _HOLD
        numbers = numbers_in(match[1].partition("†")[0])
        return self._cite(numbers, at, len(match[0])) if numbers else _Step(1, self._buffer[at])

    def _cite(self, numbers: Sequence[int], at: int, taken: int) -> _Step:
        kept = [n for n in dict.fromkeys(numbers) if 1 <= n <= len(self._passages) and n not in self._run]
        self._run.update(kept)
        self._used.update(dict.fromkeys(kept))
        marks = "".join(f"[{number}]" for number in kept)
        if marks and not self._line.strip() and self._buffer[at + taken : at + taken + 1] == ":":
            # "[1]: //somewhere" would define where every [1] leads.
            marks += JOINER
        return _Step(taken, marks, is_mark=True)

    def _angle(self, at: int, *, is_last: bool) -> _Step | None:
        match = _SPECIAL_ANGLE.match(self._buffer, at, at + _ANGLE)
        assert match is not None
        end = match.end()
        if end == len(self._buffer) and end - at < _ANGLE and not is_last:
            return _HOLD
        shown = self._links.bracketed(match[0][1:]) if self._buffer[end : end + 1] == ">" else None
        return _Step(1, "<") if shown is None else _Step(end + 1 - at, shown)

    def _code(self, at: int, *, is_last: bool) -> _Step | None:
        mark = self._buffer[at]
        match = re.compile(f"{mark}+").match(self._buffer, at)
        assert match is not None
        length = len(match[0])
        if match.end() == len(self._buffer) and not is_last:
            return _HOLD
        if length >= 3 and len(self._line) <= 3 and not self._line.strip(" "):
            info = self._buffer[match.end() : match.end() + _INFO]
            info, newline, _ = info.partition("\n")
            if mark not in info:
                if not newline and len(info) < _INFO and not is_last:
                    return _HOLD
                self._fence = re.compile(rf" {{0,3}}{mark}{{{length},}}[ \t]*")
                return _Step(length + len(info) + len(newline), unmentioned(match[0] + info + newline))
        if mark == "~":
            return _Step(length, match[0])
        return self._span(at, length, is_last=is_last)

    def _span(self, at: int, length: int, *, is_last: bool) -> _Step | None:
        start = at + length
        newline = self._buffer.find("\n", start, start + _CODE)
        end = newline if newline >= 0 else start + _CODE
        closing = re.compile(f"(?<!`)`{{{length}}}(?!`)").search(self._buffer, start, end)
        if closing is None:
            is_decided = is_last or newline >= 0 or len(self._buffer) >= end
            return _Step(length, "`" * length) if is_decided else _HOLD
        if closing.end() == len(self._buffer) and not is_last:
            return _HOLD
        span = self._buffer[at : closing.end()]
        return _Step(len(span), unmentioned(span))

    def _in_fence(self, at: int, *, is_last: bool) -> _Step | None:
        first = self._buffer[at]
        if first == "\n":
            assert self._fence is not None
            if self._fence.fullmatch(self._line):
                self._fence = None
            return _Step(1, first)
        if first == "<":
            if at + 1 == len(self._buffer) and not is_last:
                return _HOLD
            return _Step(2, unmentioned("<!")) if self._buffer[at + 1 : at + 2] == "!" else _Step(1, first)
        end = min((p for p in (self._buffer.find(c, at) for c in "\n<") if p >= 0), default=len(self._buffer))
        return _Step(end - at, self._buffer[at:end])


def check(text: str, passages: Sequence[Passage]) -> tuple[str, tuple[Citation, ...]]:
    """A whole answer, checked at once, and what it cites in order of first use."""
    checker = CitationChecker(passages)
    checked = checker.feed(text) + checker.finish()
    return checked, checker.citations
