from __future__ import annotations

import pytest

from adapters.live.composer import Composer
from adapters.ports import Final
from tests.live.test_live_markdown import SAMPLE
from tests.support.live_platform import PlainRenderer

TEXT = SAMPLE * 6 + "| Plan | Fee |\n|---|---|\n" + "".join(f"| {n} | {n}00 |\n" for n in range(90)) + SAMPLE


@pytest.mark.parametrize("step", [3, 17, 400])
@pytest.mark.parametrize("limit", [300, 700])
def test_sealed_parts_are_not_touched_by_the_final(step: int, limit: int) -> None:
    """However the text arrived, the finished answer keeps the messages that were full and changes only the last."""
    composer = Composer(PlainRenderer(limit))
    for length in range(1, len(TEXT), step):
        composer.preview(TEXT[:length])
    *sealed, _ = composer.preview(TEXT)
    final = composer.final(TEXT, Final(text=TEXT))
    assert len(sealed) > 3
    assert [target.screen for target in final[: len(sealed)]] == [target.screen for target in sealed]
    assert all(target.screen.fits for target in final)


@pytest.mark.parametrize("limit", [300, 700])
def test_the_cuts_do_not_depend_on_how_the_text_arrived(limit: int) -> None:
    """An answer that is there at once makes the same messages as one that was streamed."""
    streamed = Composer(PlainRenderer(limit))
    for length in range(1, len(TEXT), 5):
        streamed.preview(TEXT[:length])
    at_once = Composer(PlainRenderer(limit)).final("", Final(text=TEXT))
    assert [t.screen.text for t in streamed.final(TEXT, Final(text=TEXT))] == [t.screen.text for t in at_once]


@pytest.mark.parametrize("limit", [300, 700])
def test_no_letter_is_lost_at_a_cut(limit: int) -> None:
    """Every character of the answer that is no space appears on the screen, in order."""
    composer = Composer(PlainRenderer(limit))
    for length in range(1, len(TEXT), 5):
        composer.preview(TEXT[:length])
    shown = iter("".join(target.screen.text for target in composer.preview(TEXT)))
    assert all(char in shown for char in TEXT.rstrip() if char.isalnum())


def test_what_each_part_stands_for_grows_to_the_whole() -> None:
    """The offsets by which screen lag is measured ascend and never pass the text's end."""
    composer = Composer(PlainRenderer(500))
    for length in range(1, len(TEXT), 5):
        ends = [target.upto for target in composer.preview(TEXT[:length])]
        assert ends == sorted(ends)
        assert not ends or ends[-1] <= length
