"""The house has three rooms and one direction: adapters <- bot -> rag."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {"rag": {"bot", "adapters"}, "adapters": {"bot", "rag"}, "bot": {"tests", "bench"}}
CLIENTS = re.compile(
    r"\b(?:AsyncGraphDatabase\.driver|AsyncOpenAI|OpenAI|Redis\.from_url|AsyncWebClient|AsyncApp|Bot|ClientSession)\("
)


def modules(room: str) -> Iterator[Path]:
    yield from sorted((ROOT / room).rglob("*.py"))


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively: absolute names can be checked and searched"
            found.add((node.module or "").split(".")[0])
    return found


@pytest.mark.parametrize("room", sorted(FORBIDDEN))
def test_rooms_know_only_what_they_may(room: str) -> None:
    """`rag/` and `adapters/` know neither each other nor `bot/`; nothing that ships knows the tests."""
    wrong = {
        str(path.relative_to(ROOT)): sorted(known)
        for path in modules(room)
        if (known := imported(path) & FORBIDDEN[room])
    }
    assert wrong == {}


def test_only_the_composition_root_constructs_clients() -> None:
    """Clients of other systems are built in `bot/wiring/` and nowhere else."""
    wrong = [
        f"{path.relative_to(ROOT)}:{number}"
        for room in ("rag", "adapters", "bot")
        for path in modules(room)
        if ROOT / "bot" / "wiring" not in path.parents
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if CLIENTS.search(line.split("#")[0]) and not line.lstrip().startswith(("class ", '"""', "`"))
    ]
    assert wrong == []


def test_rooms_are_not_empty() -> None:
    """The two tests above look at real modules."""
    assert all(len(list(modules(room))) > 5 for room in FORBIDDEN)
