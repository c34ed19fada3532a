"""Documents over HTTP: what is acknowledged arrives, what is refused leaves nothing, and names play no tricks."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp import FormData
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from bot.uploads import UploadError, safe_name
from rag.ports import Vectors
from tests.support.admin import BEARER, Answered, Desk, grapevine, running_desk
from tests.support.knowledge import DIMENSIONS, EMBEDDER, embed

MIB = 2**20


def form(*files: tuple[str, bytes], collection: str | None = None) -> FormData:
    data = FormData(quote_fields=False, default_to_multipart=True)  # as browsers do
    for name, content in files:
        data.add_field("file", io.BytesIO(content), filename=name)
    if collection is not None:
        data.add_field("collection", collection)
    return data


async def send(desk: Desk, *files: tuple[str, bytes], collection: str | None = None) -> Answered:
    return await desk.ask("POST", "/api/v1/documents", data=form(*files, collection=collection))


def leftovers(desk: Desk) -> list[Path]:
    # os.walk and not rglob: it does not mind that a folder goes while it looks.
    return [Path(at, name) for at, folders, files in os.walk(desk.folder / "uploads") for name in (*folders, *files)]


async def all_tidied(desk: Desk) -> None:
    """Return once no uploaded file is left; a job says done just before its files go."""
    while leftovers(desk):
        await asyncio.sleep(0.01)


async def test_an_uploaded_file_is_ingested_listed_and_removed(desk: Desk) -> None:
    """A file is acknowledged with a job; once that is done the document is there, and deleting takes it out."""
    answer = await send(desk, ("fees.md", b"# Fees\n\nA replacement card costs 5 euros."), collection="staff")
    assert answer.status == 202
    assert answer.headers["Location"] == f"/api/v1/jobs/{answer.value['job']}"
    job = await desk.ended(answer.value["job"])
    assert (job["state"], job["done"], job["total"], job["failed"], job["errors"]) == ("done", 1, 1, 0, [])
    listed = (await desk.ask("GET", "/api/v1/documents?collection=staff")).value
    assert [(item["id"], item["title"], item["collection"]) for item in listed["documents"]] == [
        ("fees.md", "Fees", "staff")
    ]
    assert listed["after"] is None
    assert (await desk.ids(collection="public")) == []
    assert (await desk.ask("DELETE", "/api/v1/documents/fees.md?collection=staff")).value == {"removed": 1}
    assert await desk.ids() == []
    await all_tidied(desk)


async def test_several_files_are_one_job_with_an_error_for_each_bad_one(desk: Desk) -> None:
    """Broken and unknown files are named; the others are taken."""
    answer = await send(
        desk,
        ("good.md", b"Opening hours are nine to five."),
        ("guides/also good.txt", "Phí là 5.000 đồng.".encode()),
        ("broken.pdf", b"%PDF-1.7 nothing more"),
        ("program.exe", b"MZ\x00"),
        ("empty.md", b""),
    )
    job = await desk.ended(answer.value["job"])
    assert (job["state"], job["done"], job["failed"], job["total"]) == ("done", 2, 3, 5)
    assert sorted(line.split(":")[0] for line in job["errors"]) == ["broken.pdf", "empty.md", "program.exe"]
    assert await desk.ids() == ["good.md", "guides/also good.txt"]


async def test_a_job_with_nothing_but_bad_files_failed(desk: Desk) -> None:
    """One broken file, and the job says failed."""
    job = await desk.ended((await send(desk, ("broken.pdf", b"%PDF-1.7 nothing more"))).value["job"])
    assert (job["state"], job["failed"]) == ("failed", 1)
    await all_tidied(desk)


async def test_a_document_comes_as_json_too(desk: Desk) -> None:
    """`{id, title, text, collection}` becomes a document; sent again it replaces itself and leaves others alone."""
    for id_, text in (
        ("handbook/fees", "Fees are 5."),
        ("handbook/hours", "Open at nine."),
        ("handbook/fees", "Fees are 6."),
    ):
        answer = await desk.ask("POST", "/api/v1/documents", json={"id": id_, "title": id_.title(), "text": text})
        assert answer.status == 202
        assert (await desk.ended(answer.value["job"]))["state"] == "done"
    listed = (await desk.ask("GET", "/api/v1/documents")).value["documents"]
    assert [(item["id"], item["title"]) for item in listed] == [
        ("handbook/fees", "Handbook/Fees"),
        ("handbook/hours", "Handbook/Hours"),
    ]


async def test_the_later_upload_of_a_document_wins(desk: Desk) -> None:
    """Twenty versions sent one after the other without waiting: the last one stays."""
    for n in range(20):
        answer = await send(desk, ("a.md", f"# Version {n}\n\nText.".encode()))
    await desk.ended(answer.value["job"])
    listed = (await desk.ask("GET", "/api/v1/documents")).value["documents"]
    assert [item["title"] for item in listed] == ["Version 19"]


# Size


async def test_one_byte_over_the_limit_is_too_large(desk: Desk) -> None:
    """Exactly the limit is taken; one byte more is 413, over all files of the request together."""
    fits = b"fine. " * (MIB // 6) + b"end."
    assert len(fits) == MIB
    assert (await send(desk, ("a.txt", fits))).status == 202
    for files in ([("a.txt", fits + b".")], [("a.txt", fits[: MIB // 2]), ("b.txt", fits[: MIB // 2 + 1])]):
        answer = await send(desk, *files)
        assert (answer.status, answer.value["error"]["code"]) == (413, "too_large")
        assert "1 MiB" in answer.value["error"]["message"]


async def test_a_body_that_announces_too_much_is_refused_unread(desk: Desk) -> None:
    """A gigabyte is refused by its Content-Length."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(desk.address.rsplit(":", 1)[1]))
    writer.write(
        f"POST /api/v1/documents HTTP/1.1\r\nHost: x\r\nAuthorization: {BEARER['Authorization']}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000000000\r\n\r\n".encode()
    )
    assert (await reader.readline()).startswith(b"HTTP/1.1 413")
    writer.close()
    assert not leftovers(desk)


async def test_an_upload_that_breaks_off_leaves_nothing(desk: Desk) -> None:
    """The connection dies in the middle of a file: no job, no document, no bytes on the disk."""
    _, writer = await asyncio.open_connection("127.0.0.1", int(desk.address.rsplit(":", 1)[1]))
    writer.write(
        f"POST /api/v1/documents HTTP/1.1\r\nHost: x\r\nAuthorization: {BEARER['Authorization']}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 900000\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a.md"\r\n\r\n'.encode()
        + b"x" * 300_000
    )
    await writer.drain()
    while not any(path.name == "a.md" and path.stat().st_size for path in leftovers(desk)):
        await asyncio.sleep(0.01)
    writer.transport.abort()
    await all_tidied(desk)
    assert (await desk.ask("GET", "/api/v1/jobs")).value == {"jobs": []}
    assert await desk.ids() == []


# Restarts


async def test_what_was_acknowledged_survives_a_stop_before_it_was_ingested(tmp_path: Path) -> None:
    """The server stops between 202 and the ingest; the next one finishes it. A request that was cut off is swept."""
    async with running_desk(tmp_path) as desk:
        await desk.admin.runner.stop()
        job_id = (await send(desk, ("a.md", b"Fees are 5."))).value["job"]
        assert (await desk.ask("GET", f"/api/v1/jobs/{job_id}")).value["state"] == "queued"
        (tmp_path / "uploads" / "draft-cut-off").mkdir()
        now = (tmp_path / "uploads").stat().st_mtime
        await desk.admin.uploads.sweep(await desk.admin.jobs.ids(), now=now + 10)
        assert len(list((tmp_path / "uploads").iterdir())) == 2
        await desk.admin.uploads.sweep(await desk.admin.jobs.ids(), now=now + 4000)
        assert [path.name for path in (tmp_path / "uploads").iterdir()] == [job_id]
    async with running_desk(tmp_path) as desk:
        assert (await desk.ended(job_id))["state"] == "done"
        assert await desk.ids() == ["a.md"]
        await all_tidied(desk)


# Refusals


@pytest.mark.parametrize("collection", ["Public", "a-b", "", "x" * 41, "../staff", "công_ty", "a b"])
async def test_a_collection_name_that_is_not_allowed_is_refused_with_the_form(desk: Desk, collection: str) -> None:
    """Uploads, JSON, lists and deletions all say how a collection may be called."""
    answers = [
        await send(desk, ("a.md", b"x"), collection=collection),
        await desk.ask("POST", "/api/v1/documents", json={"id": "a", "text": "x", "collection": collection}),
        await desk.ask("GET", "/api/v1/documents", params={"collection": collection}),
        await desk.ask("DELETE", "/api/v1/documents/a", params={"collection": collection}),
    ]
    for answer in answers:
        assert (answer.status, answer.value["error"]["code"]) == (400, "invalid_collection")
        assert "a-z, 0-9 and _" in answer.value["error"]["message"]
    assert not leftovers(desk)


async def test_a_request_that_brings_nothing_usable_is_refused(desk: Desk) -> None:
    """No file, no name, two of one name, an unknown part, half a body, another media type: one clear sentence each."""
    unknown = form(("a.md", b"x"))
    unknown.add_field("colection", "staff")
    for data in (
        form(collection="public"),
        form(("..", b"x")),
        form(("a.md", b"x"), ("a.md", b"y")),
        form(("a", b"x"), ("a/b.md", b"y")),
        unknown,
    ):
        answer = await desk.ask("POST", "/api/v1/documents", data=data)
        assert (answer.status, answer.value["error"]["code"]) == (400, "invalid_upload")
    raw = {**BEARER, "Content-Type": "multipart/form-data; boundary=b"}
    half = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.md"\r\n\r\nno end'
    for raw_body in (half, b"nothing", b""):
        assert (await desk.ask("POST", "/api/v1/documents", headers=raw, data=raw_body)).status == 400
    no_boundary = {**BEARER, "Content-Type": "multipart/form-data"}
    assert (await desk.ask("POST", "/api/v1/documents", headers=no_boundary, data=half)).status == 400
    assert (await desk.ask("POST", "/api/v1/documents", data=b"text")).status == 415
    for body in (
        {},
        {"id": "a"},
        {"id": "", "text": "x"},
        {"id": "../a", "text": "x"},
        {"id": "a", "text": "x", "x": 1},
    ):
        assert (await desk.ask("POST", "/api/v1/documents", json=body)).status == 400
    assert not leftovers(desk)
    assert (await desk.ask("GET", "/api/v1/jobs")).value == {"jobs": []}


async def test_a_full_disk_is_said(desk: Desk) -> None:
    """When the folder cannot be written, the answer says so and no job is made."""
    (desk.folder / "uploads").write_text("a file where the folder should be")
    answer = await send(desk, ("a.md", b"x"))
    assert (answer.status, answer.value["error"]["code"]) == (500, "disk_error")
    assert str(desk.folder) not in answer.text


# Names


@pytest.mark.parametrize(
    ("raw", "id_"),
    [
        ("../../etc/passwd.md", "etc/passwd.md"),
        ("/etc/passwd.md", "etc/passwd.md"),
        ("C:\\Users\\me\\fees.md", "Users/me/fees.md"),
        (".hidden.md", "hidden.md"),
        ("a//b/./c.md", "a/b/c.md"),
        ("re\u202egnp.md", "regnp.md"),
        ("Bảng giá & phí %2F 100%.md", "Bảng giá & phí %2F 100%.md"),
        ("e\u0301.md", "é.md"),
        ("guides%2Fph%C3%AD%20100%25.md", "guides/phí 100%.md"),
        ("100%25 sure.md", "100%25 sure.md"),
    ],
)
async def test_names_lose_their_tricks(desk: Desk, raw: str, id_: str) -> None:
    """Whatever a client calls its file, it lands in the upload folder, and can be listed and deleted by its id."""
    assert safe_name(raw) == id_
    job = await desk.ended((await send(desk, (raw, b"Some text."))).value["job"])
    assert job["state"] == "done", job
    assert await desk.ids() == [id_]
    assert (await desk.ask("DELETE", f"/api/v1/documents/{quote(id_, safe='')}")).status == 200
    assert await desk.ids() == []
    await all_tidied(desk)


@given(st.text(max_size=60) | st.lists(st.sampled_from(["..", ".", "a", "", "C:", "~", " "])).map("/".join))
def test_no_name_leaves_the_folder(raw: str) -> None:
    """For any name: refused, or a relative path of plain parts that stays what it is when cleaned again."""
    try:
        name = safe_name(raw)
    except UploadError:
        return
    parts = name.split("/")
    assert all(part and not part.startswith(".") and part not in {".", ".."} for part in parts)
    assert "\\" not in name
    assert "\x00" not in name
    assert safe_name(name) == name
    name.encode()


@pytest.mark.parametrize(
    "id_", ["guides/fees.md", "a b/ç.md", "100%/x?y#z.md", "đường/phí & lệ phí.md", "a+b;c=d.md", "a%2Fb"]
)
@pytest.mark.parametrize("keep", ["", "/"], ids=["slashes encoded", "slashes as they are"])
async def test_ids_with_slashes_and_marks_are_deleted(desk: Desk, id_: str, keep: str) -> None:
    """An id is deleted by its percent-encoded form, with slashes encoded or not; its neighbours stay."""
    for name in (id_, "neighbour"):
        answer = await desk.ask("POST", "/api/v1/documents", json={"id": name, "text": "Text."})
        assert (await desk.ended(answer.value["job"]))["state"] == "done"
    path = URL(f"{desk.address}/api/v1/documents/{quote(id_, safe=keep)}?collection=public", encoded=True)
    async with desk.client.delete(path, headers=BEARER) as response:
        assert response.status == 200
    assert await desk.ids() == ["neighbour"]


# Lists and deletions


async def test_lists_are_paged_and_searched(desk: Desk) -> None:
    """Pages hold together without gaps or repeats; a search finds titles and ids without marks and case."""
    files = [(f"{n:02}.md", f"# Phí số {n}\n\nText.".encode()) for n in range(25)]
    await desk.ended((await send(desk, *files)).value["job"])
    found, after = [], ""
    while True:
        page = (
            await desk.ask("GET", "/api/v1/documents", params={"limit": 10, **({"after": after} if after else {})})
        ).value
        assert len(page["documents"]) <= 10
        found += [item["id"] for item in page["documents"]]
        if not (after := page["after"]):
            break
    assert found == [name for name, _ in files]
    assert await desk.ids(q="PHI SO 7") == ["07.md"]
    assert await desk.ids(q="24.MD") == ["24.md"]
    assert await desk.ids(q="nothing") == []
    assert (await desk.ask("GET", "/api/v1/documents?after=nonsense")).status == 400


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=1001", "limit=-1", "limit=²"])
async def test_a_list_asked_for_wrongly_says_how(desk: Desk, query: str) -> None:
    """Bad paging is 400."""
    assert (await desk.ask("GET", f"/api/v1/documents?{query}")).status == 400


async def test_an_unknown_document_is_404_and_an_ambiguous_one_asks_back(desk: Desk) -> None:
    """Deleting needs no collection while only one has the document."""
    assert (await desk.ask("DELETE", "/api/v1/documents/none.md")).status == 404
    assert (await desk.ask("DELETE", "/api/v1/documents/none.md?collection=staff")).status == 404
    for collection in ("public", "staff"):
        await desk.ended((await send(desk, ("a.md", b"Text."), collection=collection)).value["job"])
    answer = await desk.ask("DELETE", "/api/v1/documents/a.md")
    assert (answer.status, answer.value["error"]["code"]) == (400, "ambiguous")
    assert (await desk.ask("DELETE", "/api/v1/documents/a.md?collection=staff")).status == 200
    assert (await desk.ask("DELETE", "/api/v1/documents/a.md")).status == 200


async def test_removing_a_file_removes_its_parts(desk: Desk) -> None:
    """A table that was cut into two documents goes as a whole; a part named itself goes alone."""
    rows = "name,fee\n" + "".join(f"product {n},{n}\n" for n in range(2_001))
    for removed, rest in (("fees.csv", []), ("fees.csv#rows-2001-2001", ["fees.csv"])):
        await desk.ended((await send(desk, ("fees.csv", rows.encode()))).value["job"])
        assert await desk.ids() == ["fees.csv", "fees.csv#rows-2001-2001"]
        assert (await desk.ask("DELETE", f"/api/v1/documents/{quote(removed)}")).status == 200
        assert await desk.ids() == rest


async def test_unknown_jobs_are_404(desk: Desk) -> None:
    """A job that never was is not found."""
    assert (await desk.ask("GET", "/api/v1/jobs/none")).status == 404


async def test_the_last_turns_and_their_figures(desk: Desk) -> None:
    """`/api/performance` shows turns newest first, without question texts, and percentiles per stage."""
    for question in ("What does theft cover cost?", "And floods?"):
        async with desk.client.post("/api/v1/ask", json={"question": question}) as response:
            assert response.status == 200
    found = (await desk.ask("GET", "/api/performance")).value
    assert len(found["turns"]) == 2
    assert found["turns"][0]["ts"] >= found["turns"][1]["ts"]
    assert {stage["stage"] for stage in found["stages"]} >= {"retrieve_ms", "total_ms"}
    assert found["success_share"] == 1
    assert "theft" not in str(found)


async def test_the_commands_list_and_remove_what_a_running_server_serves(desk: Desk) -> None:
    """`grapevine documents` sees what was uploaded; what it removes is gone from the server within a second."""
    for collection in ("public", "staff"):
        await desk.ended(
            (await send(desk, ("a.md", b"Text."), ("b/c.md", b"More."), collection=collection)).value["job"]
        )
    listed = await grapevine("documents", "list", "--json", data=desk.folder)
    assert [(item["collection"], item["id"]) for item in json.loads(listed.out)] == [
        ("public", "a.md"),
        ("public", "b/c.md"),
        ("staff", "a.md"),
        ("staff", "b/c.md"),
    ]
    unclear = await grapevine("documents", "remove", "a.md", data=desk.folder)
    assert (unclear.code, unclear.err) == (1, "grapevine: a.md is in public and staff; say which with --collection\n")
    removed = await grapevine(
        "documents", "remove", "b/c.md", "none.md", "--collection", "staff", "--json", data=desk.folder
    )
    assert removed.code == 1
    assert json.loads(removed.out) == {"removed": [{"collection": "staff", "id": "b/c.md"}], "unknown": ["none.md"]}
    assert "there is no document none.md in staff" in removed.err
    assert '"action":"documents.remove"' in removed.err.replace(": ", ":")
    async with asyncio.timeout(5):
        while await desk.ids(collection="staff") != ["a.md"]:
            await asyncio.sleep(0.05)
    wrong = await grapevine("documents", "list", "--collection", "Not-This", data=desk.folder)
    assert (wrong.code, "a-z, 0-9 and _" in wrong.err) == (2, True)


class HeldEmbedder:
    """An embedder that answers only once it is let."""

    name = EMBEDDER
    dimensions = DIMENSIONS
    languages = None

    def __init__(self) -> None:
        self.is_let = asyncio.Event()

    async def embed(self, texts: Sequence[str], *, urgent: bool = False) -> Vectors:
        await self.is_let.wait()
        return embed(texts)

    async def close(self) -> None:
        pass


async def test_text_is_there_before_the_vectors_are(tmp_path: Path) -> None:
    """Uploads are listed while the vectors of earlier ones are still awaited; their jobs end once they have theirs."""
    held = HeldEmbedder()
    async with running_desk(tmp_path, embedder=held) as desk:
        jobs = [(await send(desk, (f"{n}.md", b"Fees are 5."))).value["job"] for n in range(3)]
        while len(await desk.ids()) < 3:
            await asyncio.sleep(0.02)
        states = [(await desk.ask("GET", f"/api/v1/jobs/{job}")).value["state"] for job in jobs]
        assert "done" not in states
        held.is_let.set()
        assert [(await desk.ended(job))["state"] for job in jobs] == ["done"] * 3
        listed = (await desk.ask("GET", "/api/v1/documents")).value["documents"]
        assert [item["pending"] for item in listed] == [0, 0, 0]
        await all_tidied(desk)
