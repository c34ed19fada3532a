"""A desk to administrate from, over a data folder of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.admin import Desk, running_desk


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """The running application; one upload may bring 1 MiB."""
    async with running_desk(tmp_path) as running:
        yield running
