"""Every way in which a file can be wrong: one clear line, and the rest goes on."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag.errors import IngestError, InputError
from rag.ingest import worker
from rag.ingest.discover import check_document_id, clean, discover, source_of
from rag.ingest.frames import Begun, Complete, Finished, Frame, Job, More, read_message
from rag.ingest.parse.sniff import SUFFIXES
from rag.ingest.sandbox import ParserPool, SandboxLimits
from tests.ingest.conftest import Ingest
from tests.support.files import PNG, pdf, spreadsheet, vietnamese_cp1258, word_document, zip_bomb

Write = Callable[[dict[str, str | bytes]], Path]

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
PAGE = "<!doctype html><html><body><p>Some text.</p></body></html>"


def job(path: Path, name: str | None = None) -> Job:
    return Job(
        path=str(path),
        file_id=name or path.name,
        collection="public",
        source="s",
        max_bytes=2**26,
        is_known=False,
        known=frozenset(),
    )


def frames_of(wanted: Job) -> list[Frame]:
    """What a reading process writes about a file."""
    out = io.BytesIO()
    worker._serve(wanted, out)
    out.seek(0)
    frames: list[Frame] = []
    while (frame := read_message(out)) is not None:
        frames.append(frame)
    return frames


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.md", b"", "is empty"),
        ("a.md", b" \n\t\n", "is empty"),
        ("a.md", b"\xef\xbb\xbf \n", "is empty"),
        ("a.md", b"---\ntitle: T\n---\n", "holds no text"),
        ("a.txt", bytes(range(256)) * 4, "is not text: it holds binary data"),
        ("a.txt", PNG, "is a PNG image, not a document; convert it to one of: md, html, txt, csv, jsonl, pdf, docx"),
        ("a.md", b"\x1f\x8b\x08" + bytes(50), "is a gzip archive"),
        ("a.md", b"\x7fELF" + bytes(50), "is a program"),
        ("a.txt", b"{\\rtf1 hello}", "is a rich-text file (RTF); save it as docx or txt"),
        ("a.csv", "договор;цена\n".encode("cp1251") * 9, "cannot be told; save it as UTF-8 and ingest it again"),
        ("a.txt", b"\xff\xfea\x00b\x00c", "says it is UTF-16 but is damaged"),
        ("a.html", b"<html><script>x</script></html>", "holds no readable text once scripts"),
        ("a.jsonl", b'[{"id": "a"}]', "is one JSON array; write one object a line"),
        ("a.csv", b'"' + b"x" * 1_100_000, "is not a table at line 1"),
        ("a.csv", b'name,price\nlamp,5\n"desk,9\nchair,4\nshelf,7\n', "a quote that opens in line 3 is never closed"),
        ("a.csv", b"," * 2_000 + b"x", "line 1 has 2,001 columns; at most 1,000 can be read"),
        ("a.pdf", pdf([], []), "holds no text on its 2 page(s), only pictures; run text recognition (OCR) on it first"),
        ("a.pdf", pdf(["x"], password="secret"), "is an encrypted PDF; remove its password"),
        ("a.pdf", b"%PDF-1.7\n" + b"rubbish " * 50, "is damaged: it cannot be opened as a PDF"),
        ("a.pdf", pdf(["some text"])[:200], "is damaged: it cannot be opened as a PDF"),
        ("a.pdf", b"\x00\x01\x02" * 99, "is not a PDF, although its name says so"),
        ("a.docx", word_document("T", ["x"])[:2_000], "is damaged: it cannot be opened as a Word document"),
        ("a.docx", spreadsheet(), "is an Excel workbook (xlsx); save each sheet as csv"),
        ("a.docx", OLE + bytes(500), "is an old or password-protected Office document"),
        ("a.docx", OLE + "EncryptedPackage".encode("utf-16-le"), "is a password-protected Office document"),
        ("a.docx", zip_bomb(2**29), "would unpack to 513 MiB in"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    """A file that cannot be read fails with one line that says why and what to do"""
    path = tmp_path / name
    path.write_bytes(content)
    (end,) = frames_of(job(path))
    assert isinstance(end, Finished)
    assert end.error is not None
    assert reason in end.error
    assert "\n" not in end.error


@pytest.mark.parametrize(
    ("name", "content", "note"),
    [
        ("a.md", pdf(["The fee is ten."]), "named .md but is a PDF; read as that"),
        ("a.txt", PAGE.encode(), "named .txt but is HTML; read as that"),
        ("a.pdf", PAGE.encode(), "named .pdf but is HTML; read as that"),
        ("a.docx", b"just some words\n", "named .docx but is plain text; read as that"),
        ("a.txt", word_document("T", ["x"]), "named .txt but is a Word document (docx); read as that"),
        ("a.md", vietnamese_cp1258("Bảo hiểm được hoàn phí"), "is not UTF-8; read as Windows-1258 (Vietnamese)"),
        ("a.pdf", pdf(["text"], [], [], []), "3 of 4 pages hold no text, only pictures; OCR would make them readable"),
    ],
)
def test_files_that_are_not_what_they_seem(tmp_path: Path, name: str, content: bytes, note: str) -> None:
    """A wrongly named or wrongly encoded file is read as what it is, and that is said"""
    path = tmp_path / name
    path.write_bytes(content)
    frames = frames_of(job(path))
    assert isinstance(frames[0], Begun)
    assert frames[0].warnings == (note,)
    assert frames[-1] == Finished()


async def test_one_bad_file_among_good_ones(ingested: Ingest, write: Write) -> None:
    """Bad files cost a line each, name their file and make the run incomplete; the good ones are in"""
    report = await ingested(write({"a.txt": PNG, "b.md": "fine", "c.jsonl": "{nope\n", "d.txt": PAGE}))
    lines = [line for outcome in sorted(report.outcomes, key=lambda outcome: outcome.file) for line in outcome.lines()]
    assert lines[0].startswith("failed: a.txt: is a PNG image, not a document; convert it to one of: md, html")
    assert lines[1:3] == ["added: b.md", "failed: c.jsonl: holds no document that could be read"]
    assert lines[3].startswith("c.jsonl: line 1 is not JSON")
    assert lines[4:] == ["added: d.txt", "d.txt: named .txt but is HTML; read as that"]
    assert not report.is_complete
    assert await ingested.ids() == ["b.md", "d.txt"]


async def test_a_file_beyond_the_limit(ingested: Ingest, write: Write) -> None:
    """A file that is too large is refused by its size alone, and the limit can be set"""
    folder = write({"a.md": "x " * 2**20, "b.md": "fine"})
    report = await ingested(folder, max_bytes=2**20)
    assert {outcome.file: outcome.reason for outcome in report.outcomes} == {
        "a.md": "has 2 MiB; at most 1 MiB are read, split it",
        "b.md": None,
    }


async def test_a_hanging_file(store: object, write: Write, ingested: Ingest) -> None:
    """A page nested so deeply that its reader never ends is given up after the time limit; its neighbours are read"""
    folder = write({"a.html": "<html>" + "<div>" * 200_000 + "x", "b.md": "fine", "c.md": "fine too"})
    async with ParserPool(processes=1, limits=SandboxLimits(time_s=1.5)) as pool:
        report = await Ingest(store, pool)(folder)  # type: ignore[arg-type]  # the fixture's store
    assert {outcome.file: outcome.reason for outcome in report.outcomes} == {
        "a.html": "took longer than 1.5 s to read and was given up",
        "b.md": None,
        "c.md": None,
    }


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's memory")
async def test_a_file_that_needs_too_much_memory(store: object, write: Write) -> None:
    """A file whose reader needs more memory than allowed fails with a line; its neighbours are read"""
    folder = write({"a.md": "word " * 8_000_000, "b.md": "fine"})
    async with ParserPool(processes=1, limits=SandboxLimits(memory_bytes=128 * 2**20)) as pool:
        report = await Ingest(store, pool)(folder)  # type: ignore[arg-type]  # the fixture's store
    assert {outcome.file: outcome.reason for outcome in report.outcomes} == {
        "a.md": "needs more than 128 MiB of memory to be read; split it",
        "b.md": None,
    }


async def test_a_reader_that_dies(write: Write) -> None:
    """A reader killed in the middle of a file costs that file a line, and the next file gets a new reader"""
    folder = write({"a.html": "<html>" + "<div>" * 200_000 + "x", "b.md": "fine"})
    async with ParserPool(processes=1) as pool:
        reading = asyncio.create_task(_read(pool, job(folder / "a.html")))
        while not pool._all:
            await asyncio.sleep(0)
        os.kill(next(iter(pool._all))._process.pid, signal.SIGSEGV)
        with pytest.raises(IngestError, match=r"crashed its reader \(SIGSEGV\); it may be damaged"):
            await reading
        assert len(await _read(pool, job(folder / "b.md"))) == 1


async def test_readers_are_replaced(write: Write) -> None:
    """A reader serves only so many files, and the next one goes on where it stopped"""
    folder = write({f"{n}.md": f"text {n}" for n in range(5)})
    pids = set()
    async with ParserPool(processes=1, limits=SandboxLimits(files_per_process=2)) as pool:
        for n in range(5):
            assert len(await _read(pool, job(folder / f"{n}.md"))) == 1
            pids |= {process._process.pid for process in pool._all}
    assert len(pids) in {2, 3}


async def _read(pool: ParserPool, wanted: Job) -> list[object]:
    return [result async for result in pool.read(wanted)]


def test_readers_import_nothing_heavy() -> None:
    """A reading process starts without the libraries that only the bot needs"""
    import subprocess  # noqa: PLC0415 - only here

    heavy = "numpy onnxruntime aiogram aiohttp openai redis neo4j slack_bolt pydantic docx pypdfium2 asyncio"
    program = f"import sys, rag.ingest.worker; print([name for name in {heavy.split()!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_readers_see_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reading process is started without the keys and tokens in the bot's environment"""
    from rag.ingest.sandbox import _environment  # noqa: PLC0415 - only here

    inherited = {"PATH": "/bin", "OPENAI_API_KEY": "sk-1", "TELEGRAM_BOT_TOKEN": "1:x", "PYTHONPATH": "/x"}
    assert set(_environment(inherited)) == {"PATH", "PYTHONPATH", "PYTHONUTF8"}


# Folders


async def test_what_a_folder_holds(ingested: Ingest, write: Write, folder: Path) -> None:
    """Hidden files are passed over, foreign formats skipped with a line, odd entries named, sub-folders read"""
    write(
        {
            "a.md": "one",
            "sub/deep/b.md": "two",
            ".hidden.md": "x",
            ".git/c.md": "x",
            "d.png": PNG,
            "README": "x",
            "e.md~": "x",
        }
    )
    os.mkfifo(folder / "pipe.md")
    report = await ingested(folder)
    assert {outcome.file: (outcome.outcome, outcome.reason) for outcome in report.outcomes} == {
        "a.md": ("added", None),
        "sub/deep/b.md": ("added", None),
        "d.png": ("skipped", ".png is not a format that can be read: md, html, txt, csv, jsonl, pdf, docx"),
        "README": (
            "skipped",
            "a name without an ending is not one that can be read: md, html, txt, csv, jsonl, pdf, docx",
        ),
        "pipe.md": ("skipped", "is a device, pipe or socket, not a file"),
    }
    assert report.is_complete


async def test_links(ingested: Ingest, write: Write, folder: Path, tmp_path: Path) -> None:
    """Links are followed within the folder, once; broken ones and ways out of the folder are skipped with a line"""
    write({"real.md": "one", "sub/x.md": "two"})
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "far.md").write_text("three")
    (folder / "a-link.md").symlink_to("real.md")
    (folder / "broken.md").symlink_to("nowhere.md")
    (folder / "self.md").symlink_to("self.md")
    (folder / "sub" / "up").symlink_to("..")
    (folder / "other").symlink_to(tmp_path / "elsewhere")
    (folder / "stolen.md").symlink_to(tmp_path / "elsewhere" / "far.md")
    report = await ingested(folder)
    assert {outcome.file: outcome.reason for outcome in report.outcomes} == {
        "real.md": None,
        "sub/x.md": None,
        "other": "is a link out of the folder; name its target as well",
        "stolen.md": "is a link out of the folder; name its target as well",
        "a-link.md": "is the same file as real.md",
        "broken.md": "is a broken link, or one that leads back to itself",
        "self.md": "is a broken link, or one that leads back to itself",
    }


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that cannot be read even by root")
async def test_a_file_that_cannot_be_opened(ingested: Ingest, write: Write, folder: Path) -> None:
    """A file that the disk does not give is a failure with its cause; the rest goes on"""
    write({"a.md": "one"})
    bad = folder.parent / "bad.md"
    bad.symlink_to("/proc/self/mem")
    report = await ingested(folder, bad)
    by_file = {outcome.file: outcome for outcome in report.outcomes}
    assert by_file["a.md"].outcome == "added"
    assert (by_file["bad.md"].outcome, by_file["bad.md"].reason) == ("failed", "cannot be read: Input/output error")


def test_a_missing_right_is_named() -> None:
    """A file that may not be read is named as such, with the cure"""
    assert worker._why_unreadable(PermissionError(13, "Permission denied")) == (
        "cannot be read: permission denied; give the user who runs this the right to read it"
    )


def test_paths_that_do_not_exist(tmp_path: Path) -> None:
    """A path that does not exist is an error at once"""
    with pytest.raises(InputError, match="there is no file or folder"):
        discover([tmp_path / "nowhere"])


async def test_a_named_file_of_a_foreign_format(ingested: Ingest, write: Write) -> None:
    """A file asked for by name that cannot be read is a failure, not a skip"""
    report = await ingested(write({"a.png": PNG}) / "a.png")
    assert report.outcomes[0].outcome == "failed"


def test_overlapping_paths(write: Write) -> None:
    """A file given twice, or beside the folder that holds it, is read once"""
    folder = write({"a.md": "x", "sub/b.md": "y"})
    found = discover([folder / "a.md", folder, folder / "sub", folder])
    assert [file.id for file in found.files] == ["a.md", "sub/b.md"]
    assert len({file.source for file in found.files}) == 1


def test_a_source_is_where_the_folder_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is the same source from anywhere and through a link, its namesake is another, and no path leaks"""
    for place in ("one", "two"):
        (tmp_path / place / "docs").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "one" / "docs")
    absolute = source_of(tmp_path / "one" / "docs")
    monkeypatch.chdir(tmp_path / "one")
    assert source_of("docs") == source_of("./docs/../docs") == source_of(tmp_path / "link") == absolute
    assert source_of(tmp_path / "two" / "docs") != absolute
    assert "/" not in absolute
    assert "one" not in absolute


async def test_names_that_are_no_text(ingested: Ingest, folder: Path) -> None:
    """File names of foreign bytes, with line breaks or of the same letters in other code points do no harm"""
    (folder / os.fsdecode(b"caf\xe9.md")).write_text("latin name")
    (folder / "two\nlines.md").write_text("line break")
    (folder / "e\u0301.md").write_text("decomposed")
    (folder / "\u00e9.md").write_text("composed")
    report = await ingested(folder)
    outcomes = {outcome.file: outcome.outcome for outcome in report.outcomes}
    assert outcomes.pop("caf\\xe9.md") == "added"
    assert outcomes.pop("two\\x0alines.md") == "added"
    assert outcomes.keys() == {"é.md"}
    assert sorted(await ingested.ids()) == ["caf\\xe9.md", "two\\x0alines.md", "é.md"]


# Properties


NAMES = st.one_of(
    st.sampled_from([f"a{suffix}" for suffix in SUFFIXES]),
    st.text(st.characters(exclude_characters="/\x00", codec="utf-8"), min_size=1, max_size=30).map("{}.md".format),
)
WHOLE = {"pdf": pdf(["some text"], ["more"]), "docx": word_document("T", ["text"])}


class Altered(NamedTuple):
    """A good file with some bytes overwritten; kept as a recipe, so that a failing example can be read."""

    kind: str
    place: float
    patch: bytes

    def made(self) -> bytes:
        whole = WHOLE[self.kind]
        at = int(self.place * len(whole))
        return whole[:at] + self.patch + whole[at + len(self.patch) :]


def made(content: bytes | Altered) -> bytes:
    return content.made() if isinstance(content, Altered) else content


CONTENTS: st.SearchStrategy[bytes | Altered] = st.one_of(
    st.binary(max_size=400),
    st.text(max_size=400).map(str.encode),
    st.text("# |-`~>*_[]()<>:\"'{},;\\\n\t a1é", max_size=400).map(str.encode),
    st.builds(Altered, st.sampled_from(["pdf", "docx"]), st.floats(0, 1), st.binary(max_size=40)),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES, content=CONTENTS)
def test_any_bytes_give_one_end(tmp_path: Path, name: str, content: bytes | Altered) -> None:
    """Whatever a file holds and is called, its reader comes to exactly one end, with whole documents before it"""
    path = tmp_path / "file"
    path.write_bytes(made(content))
    frames = frames_of(job(path, name))
    assert [isinstance(frame, Finished) for frame in frames].index(True) == len(frames) - 1
    end = frames[-1]
    assert isinstance(end, Finished)
    assert end.error is None or ("\n" not in end.error and "stumbled" not in end.error)
    kinds = [type(frame) for frame in frames]
    assert kinds.count(Begun) == kinds.count(Complete)
    for frame in frames:
        if isinstance(frame, More):
            assert all(chunk.text.strip() and chunk.sentences for chunk in frame.chunks)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=st.lists(st.tuples(st.sampled_from(sorted(SUFFIXES)), CONTENTS), max_size=25))
def test_any_folder_gives_an_outcome_per_file(
    tmp_path_factory: pytest.TempPathFactory, contents: list[tuple[str, bytes | Altered]]
) -> None:
    """Whatever a folder holds, the ingest ends with one outcome per file, each a line or two of text"""
    folder = tmp_path_factory.mktemp("any")
    for number, (suffix, content) in enumerate(contents):
        (folder / f"{number}{suffix}").write_bytes(made(content))

    async def run() -> None:
        from rag.stores.embedded import EmbeddedStore  # noqa: PLC0415 - only here

        store = EmbeddedStore(tmp_path_factory.mktemp("data") / "knowledge.db")
        try:
            async with ParserPool() as pool:
                report = await Ingest(store, pool)(folder)
        finally:
            await store.close()
        assert sorted(outcome.file for outcome in report.outcomes) == sorted(
            f"{number}{suffix}" for number, (suffix, _) in enumerate(contents)
        )
        assert all("\n" not in line for outcome in report.outcomes for line in outcome.lines())

    asyncio.run(run())


@given(st.text(max_size=50))
def test_cleaned_names_are_one_line_and_stay(name: str) -> None:
    """A cleaned name is valid text on one line, and cleaning it again changes nothing"""
    try:
        cleaned = clean(name)
    except UnicodeEncodeError:  # a lone surrogate that no file system gives
        return
    assert cleaned.encode().decode() == cleaned == clean(cleaned)
    assert len(cleaned.splitlines()) <= 1


@pytest.mark.parametrize("name", ["a/../b", "..", "", " / ", "x" * 401])
def test_document_ids_that_are_refused(name: str) -> None:
    """An id that leads out of its folder is refused"""
    with pytest.raises(InputError):
        check_document_id(name)
