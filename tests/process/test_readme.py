"""The README says what is so."""

from __future__ import annotations

import re
from pathlib import Path

from bot.cli import COMMANDS
from bot.cli.settings import as_markdown

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_of_settings_is_the_program_s_own() -> None:
    """Every setting, default and meaning in the README is what `grapevine settings --markdown` prints."""
    found = re.search(r"<!-- settings: .*? -->\n(.*?)\n?<!-- /settings -->", README, re.DOTALL)
    assert found is not None
    assert found[1] == as_markdown()


def test_every_command_it_names_exists() -> None:
    """No example in the README calls a command that is not there."""
    named = set(re.findall(r"\bgrapevine ([a-z][a-z-]*)", README))
    assert named <= set(COMMANDS)


def test_every_file_it_links_to_exists() -> None:
    """Relative links lead somewhere."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
