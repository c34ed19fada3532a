"""Inline buttons: what they carry, which stand below a message, and what a press leaves of them. Pure.

A button carries 64 bytes at most (https://core.telegram.org/bots/api#inlinekeyboardbutton): a verb and an id. A
question that is offered is the button's own label, which comes back with the press: nothing has to be kept for it, and
it works after any restart.

| data | pressed |
|---|---|
| `stop:<asker>` | stop the answer that is being written |
| `retry:<asker>` | answer this question again, in the same message |
| `src:<passage>` | show a passage |
| `up:<asker>`, `down:<asker>` | the answer was good, or not |
| `why:<reason>:<asker>` | what was not good about it |
| `ask:<n>` | ask the question that the button says |
| `forget:yes:<asker>`, `forget:no:<asker>` | erase everything, or not |
| `used` | nothing: it has been pressed |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from adapters.ports import Final
from adapters.telegram.words import Words

MAX_DATA = 64
USED = "used"
_LONGEST_QUESTION = 200
"""A label longer than that is no label; nothing is cut, because the label is what will be asked."""
_IN_A_ROW = 6


@dataclass(frozen=True, slots=True)
class Button:
    """An inline button that calls back."""

    label: str
    data: str


Rows = tuple[tuple[Button, ...], ...]


def growing(words: Words, asker: str) -> Rows:
    """While an answer is being written."""
    return ((Button(words.stop, f"stop:{asker}"),),)


def finished(final: Final, words: Words, asker: str) -> Rows:
    """Below an answer: try again, passages of sources without an address, ratings, what to ask next."""
    rows: list[tuple[Button, ...]] = []
    if final.can_retry:
        rows.append((Button(words.retry, f"retry:{asker}"),))
    rows += passages([(s.n, s.passage_id) for s in final.sources if not is_link(s.url)])
    if final.can_rate:
        rows.append(rating(asker))
    return (*rows, *questions(final.suggestions))


def is_link(url: str | None) -> bool:
    """Whether a source can be opened by its address."""
    return url is not None and url.startswith(("http://", "https://"))


def passages(sources: Sequence[tuple[int, str]]) -> Rows:
    """A button for each of these sources: its number in the list, and its passage."""
    buttons = [Button(f"📄 {n}", f"src:{passage_id}") for n, passage_id in sources]
    kept = [button for button in buttons if len(button.data.encode()) <= MAX_DATA]
    return tuple(tuple(kept[at : at + _IN_A_ROW]) for at in range(0, len(kept), _IN_A_ROW))


def rating(asker: str) -> tuple[Button, ...]:
    """Good or not."""
    return Button("👍", f"up:{asker}"), Button("👎", f"down:{asker}")


def reasons(words: Words, asker: str) -> Rows:
    """Why it was not good."""
    buttons = [Button(label, f"why:{reason}:{asker}") for reason, label in words.reasons.items()]
    return tuple(buttons[:2]), tuple(buttons[2:])


def questions(texts: Sequence[str]) -> Rows:
    """One row for each question."""
    return tuple((Button(text, f"ask:{n}"),) for n, text in enumerate(texts) if 0 < len(text) <= _LONGEST_QUESTION)


def confirm_forget(words: Words, asker: str) -> Rows:
    """Really?"""
    return ((Button(words.forget_yes, f"forget:yes:{asker}"), Button(words.forget_no, f"forget:no:{asker}")),)


# What a press leaves.


def without(rows: Rows, is_meant: Callable[[str], bool]) -> Rows:
    """The rows without the buttons whose data is meant, and without rows that are empty then."""
    kept = (tuple(button for button in row if not is_meant(button.data)) for row in rows)
    return tuple(row for row in kept if row)


def ticked(rows: Rows, data: str) -> Rows:
    """The rows with this button marked as used."""
    return tuple(
        tuple(Button(f"✓ {button.label}", USED) if button.data == data else button for button in row) for row in rows
    )


def replaced(rows: Rows, is_meant: Callable[[str], bool], new: Rows) -> Rows:
    """The rows with the first one that holds such a button replaced by `new`, and other such rows gone."""
    found: list[tuple[Button, ...]] = []
    is_placed = False
    for row in rows:
        if not any(is_meant(button.data) for button in row):
            found.append(row)
        elif not is_placed:
            found += new
            is_placed = True
    return tuple(found)


def label_of(rows: Rows, data: str) -> str | None:
    """What the button with this data says."""
    return next((button.label for row in rows for button in row if button.data == data), None)


def is_rating(data: str) -> bool:
    """Whether a button rates an answer, or says why."""
    return data.split(":", 1)[0] in {"up", "down", "why"}
