"""Where the servers of `make services` are; tests skip where one is missing, unless they must run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NoReturn

import pytest

_FILE = Path(__file__).parents[2] / ".services" / "env"


@dataclass(frozen=True, slots=True, kw_only=True)
class Neo4jServer:
    """A throw-away server that tests may fill and empty."""

    uri: str
    username: str
    password: str


def neo4j_server(version: str) -> Neo4jServer:
    """The server of a major version (`5` or `2026`)."""
    name = f"GRAPEVINE_TEST_NEO4J_{version}"
    return Neo4jServer(
        uri=address(name), username="neo4j", password=known().get("GRAPEVINE_TEST_NEO4J_PASSWORD", "grapevine-test")
    )


def redis_url() -> str:
    """The Redis server."""
    return address("GRAPEVINE_TEST_REDIS")


def address(name: str) -> str:
    """The value of a setting that names a server; skips the test, or fails it, where there is none."""
    value = known().get(name)
    if value is None:
        missing(f"{name} is not set: run `make services`")
    return value


def missing(reason: str) -> NoReturn:
    """Skip the test that needs what is missing; fail it where GRAPEVINE_REQUIRE_SERVICES=1."""
    if os.environ.get("GRAPEVINE_REQUIRE_SERVICES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@lru_cache
def known() -> dict[str, str]:
    """The environment over what `make services` wrote."""
    lines = _FILE.read_text(encoding="utf-8").splitlines() if _FILE.is_file() else []
    written = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return {**written, **os.environ}
