"""Which collections a place may read."""

from __future__ import annotations

import pytest

from bot.access import parse_access

THERE_IS = ("public", "staff", "partners")


def test_strangers_read_public_and_the_console_reads_everything() -> None:
    """Without a setting, everybody reads `public` and the person at the machine reads all."""
    access = parse_access("")
    assert access.may_read("telegram", "1", existing=THERE_IS) == {"public"}
    assert access.may_read("console", existing=THERE_IS) == set(THERE_IS)


def test_the_most_specific_entry_wins() -> None:
    """A channel's entry beats its platform's, which beats `*`."""
    access = parse_access("*=public slack=public,staff slack:C0PUBLIC=public telegram:-100123=public,partners")
    assert access.may_read("slack", "C0OTHER", existing=THERE_IS) == {"public", "staff"}
    assert access.may_read("slack", "C0PUBLIC", existing=THERE_IS) == {"public"}
    assert access.may_read("telegram", "-100123", existing=THERE_IS) == {"public", "partners"}
    assert access.may_read("telegram", "5", existing=THERE_IS) == {"public"}


def test_nothing_can_be_granted() -> None:
    """An empty list is a list: the place reads nothing."""
    assert parse_access("api=").may_read("api", existing=THERE_IS) == frozenset()


@pytest.mark.parametrize("entry", ["public", "fax=public", "slack:=public", "slack=a-b", f"slack={'a' * 41}"])
def test_a_wrong_entry_is_named(entry: str) -> None:
    """The error repeats the wrong part."""
    with pytest.raises(ValueError, match="is not a"):
        parse_access(entry)


def test_exceeding_strangers_is_noticed_per_platform() -> None:
    """`web` with more than `*` is noticed, also when only one place has it."""
    assert parse_access("web=public,staff").exceeds_default("web")
    assert parse_access("web:somewhere=staff").exceeds_default("web")
    assert not parse_access("slack=staff").exceeds_default("web")
    assert not parse_access("*=public,staff web=staff").exceeds_default("web")
