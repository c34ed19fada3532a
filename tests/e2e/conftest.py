"""One knowledge base for all end-to-end stories: the sample, ingested once by the real command."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.support.process import SAMPLE, grapevine


@pytest.fixture(scope="session")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the sample in it; copy it, do not write into it."""
    data = tmp_path_factory.mktemp("ingested") / "data"

    async def ingest() -> None:
        for collection in ("public", "staff"):
            done = await grapevine("ingest", "-q", str(SAMPLE / collection), "--collection", collection, data=data)
            assert done.code == 0, done.err

    asyncio.run(ingest())
    return data


@pytest.fixture
def data(ingested: Path, tmp_path: Path) -> Path:
    """A data folder of one's own, with the sample in it."""
    shutil.copytree(ingested, tmp_path / "data")
    return tmp_path / "data"
