"""FAQs over a store of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rag.stores.embedded import EmbeddedStore
from tests.support.faqs import Bench, bench_over


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A store with one public and one staff document, and the FAQs over it."""
    store = EmbeddedStore(tmp_path / "knowledge.db")
    made = bench_over(store)
    await made.write("theft.md", "Theft cover costs 90,000 VND a year.")
    await made.write("calls.md", "An agent may keep a caller waiting for 70 seconds.", collection="staff")
    yield made
    await store.close()
