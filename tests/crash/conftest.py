"""A knowledge base to answer from, ingested once by the real command."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.process import SAMPLE, grapevine


@pytest.fixture(scope="session")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the public sample in it; copy it, do not write into it."""
    data = tmp_path_factory.mktemp("ingested") / "data"

    async def ingest() -> None:
        done = await grapevine("ingest", "-q", str(SAMPLE / "public"), "--collection", "public", data=data)
        assert done.code == 0, done.err

    asyncio.run(ingest())
    return data
