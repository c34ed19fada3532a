"""What an admin sees of an ingest: outcomes, re-runs, sync, two at once, and what a killed one leaves."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from rag.errors import EmbeddingError, EmbeddingMismatch, InputError
from rag.ingest.outcome import Progress, eta_s
from rag.ingest.pipeline import IngestOptions, ingest
from rag.ingest.sandbox import ParserPool
from rag.ingest.sync import SyncPlan, plan_sync
from rag.ports import Ingested, Vectors
from rag.stores.embedded import EmbeddedStore
from tests.ingest.conftest import Ingest
from tests.support.files import mixed_folder
from tests.support.hashing import HashingEmbedder

Write = Callable[[dict[str, str | bytes]], Path]


async def test_three_hundred_mixed_files(ingested: Ingest, folder: Path) -> None:
    """Of 300 mixed files each gets the outcome it should, the good ones are in, and a second run finds no work"""
    expected = mixed_folder(folder)
    report = await ingested(folder)
    assert {outcome.file: outcome.outcome for outcome in report.outcomes} == expected
    assert Counter(expected.values()) == {"added": 165, "failed": 105, "skipped": 30}
    assert not report.is_complete
    assert all(
        outcome.reason and "\n" not in outcome.reason for outcome in report.outcomes if outcome.outcome != "added"
    )
    assert await ingested.pending() == 0
    again = await ingested(folder)
    assert {outcome.file for outcome in again.outcomes if outcome.outcome == "unchanged"} == {
        name for name, outcome in expected.items() if outcome == "added"
    }
    assert again.chunks == again.vectors == 0


async def test_unchanged_files_are_not_embedded_again(ingested: Ingest, write: Write) -> None:
    """A changed file replaces its old version; only texts that are new are embedded"""
    await ingested(write({"a.md": "# A\n\nThe first fee is ten.", "b.md": "# B\n\nThe second fee is twenty."}))
    embedder = HashingEmbedder()
    report = await ingested(write({"a.md": "# A\n\nThe first fee is eleven."}), embedder=embedder)
    assert {outcome.file: outcome.outcome for outcome in report.outcomes} == {"a.md": "updated", "b.md": "unchanged"}
    assert embedder.texts
    assert all("eleven" in text for text in embedder.texts)
    assert await ingested.ids() == ["a.md", "b.md"]


async def test_text_comes_before_vectors(ingested: Ingest, write: Write) -> None:
    """Everything is searchable by full text before the first vector is made"""
    events: list[Progress] = []
    await ingested(write({f"{n}.md": f"# T{n}\n\nSome text {n}." for n in range(5)}), on_progress=events.append)
    stages = [event.stage for event in events]
    assert stages == sorted(stages)
    text = [event for event in events if event.stage == "text"]
    assert (text[-1].files_done, text[-1].files_total, text[-1].bytes_done) == (5, 5, text[-1].bytes_total)
    assert [event.latest.file for event in text if event.latest] == [f"{n}.md" for n in range(5)] or len(text) == 5
    assert events[-1].vectors == events[-1].vectors_total


async def test_jsonl_lines_change_one_by_one(ingested: Ingest, write: Write) -> None:
    """Of a jsonl file only the changed lines are done again, and its ids are the documents' ids"""
    lines = [json.dumps({"id": f"d/{n}", "title": f"T{n}", "text": f"The fee is {n}."}) for n in range(4)]
    await ingested(write({"a.jsonl": "\n".join(lines)}))
    assert await ingested.ids() == ["d/0", "d/1", "d/2", "d/3"]
    lines[2] = json.dumps({"id": "d/2", "title": "T2", "text": "The fee is ninety."})
    report = await ingested(write({"a.jsonl": "\n".join(lines)}))
    assert (report.outcomes[0].outcome, report.outcomes[0].documents, report.chunks) == ("updated", 4, 1)


async def test_an_id_belongs_to_one_file(ingested: Ingest, write: Write) -> None:
    """Two files that give the same id do not overwrite each other in turn: the first owner keeps it, and it is said"""
    line = '{"id": "x", "text": "text of %s"}'
    await ingested(write({"b.jsonl": line % "b"}))
    report = await ingested(write({"a.jsonl": line % "a"}))
    by_file = {outcome.file: outcome for outcome in report.outcomes}
    assert by_file["b.jsonl"].outcome == "unchanged"
    assert by_file["a.jsonl"].outcome == "failed"
    assert by_file["a.jsonl"].notes == ("the id 'x' belongs to b.jsonl; that one was kept",)


async def test_a_partly_broken_file_counts_as_a_problem(ingested: Ingest, write: Write) -> None:
    """A jsonl file with a broken line is added, the line is named, and the run does not count as complete"""
    report = await ingested(write({"a.jsonl": '{"id": "x", "text": "good"}\n{oops\n'}))
    assert report.outcomes[0].outcome == "added"
    assert report.outcomes[0].lines()[1].startswith("a.jsonl: line 2 is not JSON")
    assert not report.is_complete


async def test_a_failing_file_keeps_its_earlier_version(ingested: Ingest, write: Write) -> None:
    """A file that became unreadable does not lose what was known of it"""
    await ingested(write({"a.md": "# A\n\ntext"}))
    report = await ingested(write({"a.md": b"\x00\x01\x02\x03" * 100}), is_sync=True)
    assert report.outcomes[0].reason == "is not text: it holds binary data; the earlier version stays"
    assert await ingested.ids() == ["a.md"]


async def test_a_shrinking_file_drops_its_parts(ingested: Ingest, write: Write) -> None:
    """Parts of a large csv vanish with the rows they held, without a sync"""
    rows = [f"row {n},{n}" for n in range(2_500)]
    await ingested(write({"a.csv": "Name,Value\n" + "\n".join(rows)}))
    assert await ingested.ids() == ["a.csv", "a.csv#rows-2001-2500"]
    await ingested(write({"a.csv": "Name,Value\n" + "\n".join(rows[:100])}))
    assert await ingested.ids() == ["a.csv"]


# Sync


async def test_sync_removes_what_vanished(ingested: Ingest, write: Write, folder: Path) -> None:
    """`--sync` removes files and jsonl lines that are gone from the folder, and nothing else"""
    lines = ['{"id": "x", "text": "one"}', '{"id": "y", "text": "two"}']
    await ingested(write({**{f"{n}.md": f"text {n}" for n in range(10)}, "l.jsonl": "\n".join(lines)}))
    write({"l.jsonl": lines[0]})
    (folder / "3.md").unlink()
    without = await ingested(folder)
    assert without.removed == ()
    assert len(await ingested.ids()) == 12
    dry = await ingested(folder, is_sync=True, is_dry_run=True)
    assert dry.removed == ("3.md", "y")
    assert len(await ingested.ids()) == 12
    report = await ingested(folder, is_sync=True)
    assert report.removed == ("3.md", "y")
    assert await ingested.ids() == [*(f"{n}.md" for n in range(10) if n != 3), "x"]


async def test_sync_leaves_other_sources_alone(ingested: Ingest, tmp_path: Path) -> None:
    """`--sync` of one folder does not touch what came from another, even under the same name"""
    for place in ("one", "two"):
        (tmp_path / place / "docs").mkdir(parents=True)
        (tmp_path / place / "docs" / "a.md").write_text(f"text of {place}")
        await ingested(tmp_path / place / "docs", is_sync=True)
    assert await ingested.ids() == ["a.md", "a.md"]


async def test_sync_asks_before_removing_a_lot(ingested: Ingest, write: Write, folder: Path) -> None:
    """Removing more than a fifth of a source is asked about, and a no keeps everything"""
    await ingested(write({f"{n}.md": f"text {n}" for n in range(10)}))
    for n in range(3):
        (folder / f"{n}.md").unlink()
    asked: list[SyncPlan] = []

    async def confirm(plan: SyncPlan) -> bool:
        asked.append(plan)
        return len(asked) > 1

    refused = await ingested(folder, is_sync=True, confirm=confirm)
    assert (refused.removed, refused.kept) == ((), ("0.md", "1.md", "2.md"))
    unasked = await ingested(folder, is_sync=True)
    assert unasked.kept == ("0.md", "1.md", "2.md")
    agreed = await ingested(folder, is_sync=True, confirm=confirm)
    assert agreed.removed == ("0.md", "1.md", "2.md")
    assert (asked[0].total, asked[0].removed) == (10, ("0.md", "1.md", "2.md"))


async def test_sync_refuses_a_wrong_folder(ingested: Ingest, write: Write, folder: Path) -> None:
    """A folder that holds nothing of what it held (an empty mount) is refused, and nothing is changed"""
    await ingested(write({"a.md": "text"}))
    (folder / "a.md").rename(folder / "b.md")
    with pytest.raises(InputError, match="may be the wrong folder; nothing was changed"):
        await ingested(folder, is_sync=True)
    (folder / "b.md").unlink()
    with pytest.raises(InputError, match="is empty now"):
        await ingested(folder, is_sync=True)
    assert await ingested.ids() == ["a.md"]


async def test_sync_wants_a_folder(ingested: Ingest, write: Write) -> None:
    """`--sync` of a single file is refused: it would call every other file vanished"""
    with pytest.raises(InputError, match="name the folder"):
        await ingested(write({"a.md": "text"}) / "a.md", is_sync=True)


async def test_one_file_of_a_folder(ingested: Ingest, write: Write, folder: Path) -> None:
    """Ingesting one file of a folder that was ingested before updates that document"""
    await ingested(write({"a.md": "old", "b.md": "text"}))
    write({"a.md": "new"})
    report = await ingested(folder / "a.md")
    assert [(outcome.file, outcome.outcome) for outcome in report.outcomes] == [("a.md", "updated")]
    assert await ingested.ids() == ["a.md", "b.md"]


def test_plan_keeps_what_cannot_be_seen() -> None:
    """What lies in a folder that cannot be opened, or in a file that cannot be read, is not called vanished"""
    known = {name: Ingested(content_hash="h", file=name) for name in ("a.md", "shut/b.md", "gone.md", "bad.md")}
    known["line"] = Ingested(content_hash="h", file="bad.jsonl")
    plan = plan_sync("s", known, files={"a.md", "bad.md", "bad.jsonl"}, read={"a.md": {"a.md"}}, unreadable=["shut/"])
    assert plan.removed == ("gone.md",)


# Faults


class Gate(HashingEmbedder):
    """Embeds `batches` batches, then waits for ever."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self._left = batches
        self.reached = asyncio.Event()

    async def embed(self, texts: object, *, urgent: bool = False) -> Vectors:
        if self._left == 0:
            self.reached.set()
            await asyncio.Event().wait()
        self._left -= 1
        return await super().embed(texts, urgent=urgent)  # type: ignore[arg-type]  # passed through


async def test_cancelling_leaves_the_store_whole(ingested: Ingest, write: Write) -> None:
    """A cancelled ingest leaves searchable text, and the next run finishes the vectors"""
    folder = write({f"{n}.md": f"# T{n}\n\nText number {n}." for n in range(200)})
    gate = Gate(2)
    task = asyncio.create_task(ingested(folder, embedder=gate))
    await gate.reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(await ingested.ids()) == 200
    left = await ingested.pending()
    assert 0 < left < 200
    report = await ingested(folder)
    assert report.counts == {"unchanged": 200}
    assert await ingested.pending() == 0


async def test_an_embedder_that_fails(ingested: Ingest, write: Write) -> None:
    """When the embedder fails the text stays searchable and the error comes out"""

    class Broken(HashingEmbedder):
        async def embed(self, texts: object, *, urgent: bool = False) -> Vectors:
            raise EmbeddingError("the embedding endpoint did not answer")

    with pytest.raises(EmbeddingError, match="did not answer"):
        await ingested(write({"a.md": "text"}), embedder=Broken())
    assert await ingested.ids() == ["a.md"]
    assert await ingested.pending() == 1


async def test_another_embedding_model_is_refused_before_any_work(ingested: Ingest, write: Write) -> None:
    """With another embedding model nothing is read or written"""
    await ingested(write({"a.md": "text"}))
    with pytest.raises(EmbeddingMismatch):
        await ingested(write({"b.md": "text"}), embedder=HashingEmbedder(dimensions=16))
    assert await ingested.ids() == ["a.md"]


async def test_two_ingests_at_once(store: EmbeddedStore, tmp_path: Path, write: Write) -> None:
    """Two ingests of the same folder by two stores on one file end with every document once, with its vectors"""
    folder = write({f"{n}.md": f"# T{n}\n\nText number {n}." for n in range(40)})
    other = EmbeddedStore(tmp_path / "knowledge.db")

    async def run(which: EmbeddedStore) -> None:
        async with ParserPool(processes=1) as pool:
            await ingest([folder], store=which, embedder=HashingEmbedder(), options=IngestOptions(), pool=pool)

    try:
        await asyncio.gather(run(store), run(other))
        counts = (await store.counts())["public"]
        assert (counts.documents, counts.pending) == (40, 0)
    finally:
        await other.close()


_KILLED = """
import asyncio, sys
from pathlib import Path
from rag.ingest.pipeline import IngestOptions, ingest
from rag.ingest.sandbox import ParserPool
from rag.stores.embedded import EmbeddedStore
from tests.support.hashing import HashingEmbedder

class Slow(HashingEmbedder):
    async def embed(self, texts, *, urgent=False):
        if self.texts:
            print("vectors", flush=True)
            await asyncio.Event().wait()
        return await super().embed(texts, urgent=urgent)

def on_progress(event):
    if event.stage == "text" and event.files_done >= 10:
        print("text", flush=True)

async def main():
    store = EmbeddedStore(Path(sys.argv[2]))
    async with ParserPool() as pool:
        work = ingest([sys.argv[1]], store=store, embedder=Slow(), options=IngestOptions(), pool=pool,
                      on_progress=on_progress)
        task = asyncio.create_task(work)
        while not pool._all:
            await asyncio.sleep(0)
        print(*[process._process.pid for process in pool._all], flush=True)
        await task

asyncio.run(main())
"""


@pytest.mark.parametrize("stage", ["text", "vectors"])
async def test_a_killed_ingest_is_finished_by_the_next(
    store: EmbeddedStore, ingested: Ingest, write: Write, tmp_path: Path, stage: str
) -> None:
    """After `kill -9`, while text is written or vectors are made, the next run finishes and nothing is there twice"""
    paragraphs = "\n\n".join(f"Paragraph {n} of the policy says what is paid." for n in range(60))
    folder = write({f"{n}.md": f"# Title {n}\n\n{paragraphs}" for n in range(60)})
    async with _killable(folder, tmp_path / "knowledge.db") as (process, lines):
        async for line in lines:
            if line.strip() == stage:
                process.kill()
                break
    report = await ingested(folder)
    assert sum(report.counts.values()) == 60
    assert report.counts["unchanged"] >= (1 if stage == "text" else 60)
    assert len(await ingested.ids()) == 60
    assert await ingested.pending() == 0


async def test_parsing_processes_end_with_their_parent(write: Write, tmp_path: Path) -> None:
    """When the ingest is killed, its parsing processes are gone too, even in the middle of a hanging file"""
    folder = write({"a.html": "<html>" + "<div>" * 100_000 + "x"})
    async with _killable(folder, tmp_path / "other.db") as (process, lines):
        first = await anext(lines)
        children = [int(pid) for pid in first.split()]
        assert children
        process.kill()
        await process.wait()
        deadline = time.monotonic() + 30
        while any(_is_alive(pid) for pid in children):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)


class _killable:  # noqa: N801 - reads as a verb where it is used
    def __init__(self, folder: Path, data: Path) -> None:
        self._args = (str(folder), str(data))

    async def __aenter__(self) -> tuple[asyncio.subprocess.Process, AsyncIterator[str]]:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _KILLED, *self._args, stdout=asyncio.subprocess.PIPE
        )
        return self._process, self._lines()

    async def _lines(self) -> AsyncIterator[str]:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            yield line.decode()

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A killed child whose parent is gone may wait for init to collect it: dead all the same.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}


@pytest.mark.parametrize("name", ["Public", "a-b", "", "a" * 41, "a b", "a;drop", "é", "a\n"])
async def test_collection_names_that_are_refused(ingested: Ingest, folder: Path, name: str) -> None:
    """A collection's name is made of a-z, 0-9 and _ only; others are refused before anything is read"""
    with pytest.raises(InputError, match="use 1 to 40 of a-z, 0-9 and _"):
        await ingested(folder, collection=name)


def test_time_left() -> None:
    """The time left follows from the pace so far, and is not guessed in the first second"""
    assert eta_s(elapsed_s=0.5, done=10, total=100) is None
    assert eta_s(elapsed_s=10, done=0, total=100) is None
    assert eta_s(elapsed_s=10, done=25, total=100) == 30
