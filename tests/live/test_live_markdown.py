from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.live.cutting import cut, split
from adapters.live.markdown import heal

SAMPLE = """## Fees 🎉

- **Plan A**: 1.200.000 ₫ per *year* [1]
- Plan B, see [the terms](https://example.com/terms_of_use) and `code_with_*`

| Plan | Fee |
|------|----:|
| A | 10 |
| B | 20 |

1. First
2. Run
   ```bash
   grapevine ingest docs
   ```
> Quoted **words** and ~~old~~ text

```python
def fee(plan: str) -> int:
    return {"a": 1 * 2}[plan]
```
The end, with 2*3 = 6 and snake_case_name.
"""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Hello **wor", "Hello **wor**"),
        ("Hello **world*", "Hello **world**"),
        ("Hello **", "Hello"),
        ("- **a** b\n- ", "- **a** b"),
        ("text\n-", "text"),
        ("1. one\n2", "1. one"),
        ("see [the terms](https://exam", "see"),
        ("see [the te", "see"),
        ("so it is [1]", "so it is [1]"),
        ("```py\nx = 1\n``", "```py\nx = 1\n```"),
        ("before\n```py", "before"),
        ("call `run(a, b", "call `run(a, b`"),
        ("| a | b |\n", ""),
        ("|a|b|\n|-|-|\n|1|2|\n|3", "|a|b|\n|-|-|\n|1|2|"),
        ("**bold `code` and *both", "**bold `code` and *both***"),
        ("5 * 3 = 2*3 and a_b_c", "5 * 3 = 2*3 and a_b_c"),
        ("done\n```\nx\n```", "done\n```\nx\n```"),
        ("", ""),
    ],
)
def test_what_is_unfinished_is_closed_or_held_back(text: str, shown: str) -> None:
    """Open marks are closed; half links, half rows, bare markers and unopened fences wait for more."""
    assert heal(text).markdown == shown


@given(st.integers(0, len(SAMPLE)))
def test_every_prefix_shows_a_beginning_of_the_text(length: int) -> None:
    """A preview is the text up to some place plus closing marks: no character is changed or reordered."""
    healed = heal(SAMPLE[:length])
    assert healed.markdown.startswith(SAMPLE[: healed.upto].rstrip())
    assert healed.upto <= length


def test_little_is_held_back() -> None:
    """Over a typical answer the held back text is a few words, save for a link's address and a table row."""
    held = [length - heal(SAMPLE[:length]).upto for length in range(len(SAMPLE))]
    assert max(held) < 80
    assert sum(held) / len(held) < 12


words = st.lists(
    st.sampled_from(
        ["word", "**bold**", "`co de`", "[link](https://e.com/a)", "\n\n", "\n- item", "\n```\ncode\n```\n"]
    ),
    max_size=120,
).map(" ".join)


@settings(max_examples=200, deadline=None)
@given(st.one_of(words, st.text(max_size=400)), st.integers(20, 120))
def test_pieces_fit_and_no_word_is_lost(text: str, limit: int) -> None:
    """Every piece is within the limit, and all letters are there, in order."""
    pieces = split(text, lambda piece: len(piece) <= limit)
    assert all(len(piece) <= limit for piece in pieces[:-1])
    letters = [char for char in text if char.isalnum()]
    found = iter(char for piece in pieces for char in piece if char.isalnum())
    assert all(letter in found for letter in letters)


def test_a_growing_text_is_always_cut_at_the_same_place() -> None:
    """What has been sealed stays as it is, whatever follows."""
    text = SAMPLE * 3
    places = set()
    for length in range(700, len(text), 7):
        place = cut(text[:length], lambda piece: len(piece) <= 600)
        places.add((place.head, place.consumed))
    assert len(places) == 1


def test_a_code_block_goes_on_as_a_code_block() -> None:
    """A fence that is cut is closed and opened again with its language."""
    code = "```python\n" + "\n".join(f"line_{n} = {n}" for n in range(100)) + "\n```"
    pieces = split(code, lambda piece: len(piece) <= 400)
    assert all(piece.startswith("```python\n") and piece.endswith("\n```") for piece in pieces)


def test_a_table_repeats_its_header() -> None:
    """Rows that continue in another message keep their column names."""
    table = "| Plan | Fee |\n|---|---|\n" + "".join(f"| {n} | {n}00 |\n" for n in range(60))
    pieces = split(table, lambda piece: len(piece) <= 300)
    assert len(pieces) > 2
    assert all(piece.startswith("| Plan | Fee |\n|---|---|\n| ") for piece in pieces)


def test_words_and_links_are_not_cut() -> None:
    """A single long line is cut between words, never inside a link."""
    line = " ".join(f"see [terms {n}](https://example.com/{n}) now" for n in range(40))
    for piece in split(line, lambda piece: len(piece) <= 300):
        assert piece.count("[") == piece.count("](https://") == piece.count(")")


def test_a_short_line_before_a_long_one_does_not_take_a_message_of_its_own() -> None:
    """A cut that would leave more than half of a message unused goes between words instead."""
    text = "Intro:\n" + "word " * 200
    assert len(split(text, lambda piece: len(piece) <= 300)[0]) > 250
