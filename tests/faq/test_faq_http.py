"""FAQs over HTTP: the real store, retrieval by words and the extractive answerer behind a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog

from tests.support.admin import BEARER, Answered, Desk, running_desk

TOKEN = "api-token-of-a-test-1"
NOBODY: Mapping[str, str] = {}
MEMBER: Mapping[str, str] = {"Authorization": f"Bearer {TOKEN}"}
THEFT = "What does theft cover cost a year?"
WAIT = "How long may an agent keep a caller waiting?"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """A site with a public and a staff document."""
    async with running_desk(tmp_path, api_tokens=[TOKEN]) as running:
        await document(running, "theft.md", "# Theft cover\n\nTheft cover costs 90,000 VND a year.")
        await document(
            running, "calls.md", "# Calls\n\nAn agent may keep a caller waiting for 70 seconds.", collection="staff"
        )
        yield running


async def document(desk: Desk, name: str, text: str, collection: str = "public") -> None:
    """Upload a document and wait until it is in place."""
    body = {"id": name, "text": text, "collection": collection}
    accepted = await desk.ask("POST", "/api/v1/documents", json=body)
    assert (await desk.ended(accepted.value["job"]))["state"] == "done"


async def add(desk: Desk, question: str, **fields: Any) -> Answered:
    return await desk.ask("POST", "/api/v1/faqs", json={"question": question, **fields})


async def match(desk: Desk, question: str, headers: Mapping[str, str] = NOBODY, **fields: Any) -> Any:
    found = await desk.ask("POST", "/api/v1/faqs/match", headers=headers, json={"question": question, **fields})
    assert found.status == 200, found.text
    return found.value


async def test_a_faq_is_added_matched_listed_and_removed(desk: Desk) -> None:
    """The whole life of a FAQ; it is served from the moment the answer to the request is there."""
    added = await add(desk, "Hotline?", answer="**1900 0000**", paraphrases=["Which number do I call?"])
    assert (added.status, set(added.value)) == (201, {"id"})
    found = await match(desk, "which number do i call")
    assert found == {
        "match": {"id": added.value["id"], "question": "Hotline?", "kind": "exact", "similarity": None},
        "refused_by": None,
    }
    listed = (await desk.ask("GET", "/api/v1/faqs")).value
    assert listed["after"] is None
    (faq,) = listed["faqs"]
    assert (faq["kind"], faq["state"], faq["language"], faq["answer"]) == ("curated", "ready", "en", "**1900 0000**")
    removed = await desk.ask("DELETE", f"/api/v1/faqs/{added.value['id']}")
    assert (removed.status, removed.value) == (200, {"removed": 1})
    assert await match(desk, "Hotline?") == {"match": None, "refused_by": None}
    assert (await desk.ask("DELETE", f"/api/v1/faqs/{added.value['id']}")).status == 404


async def test_without_an_answer_it_is_made_from_the_documents(desk: Desk) -> None:
    """The request returns with the FAQ warmed and cited; what the documents do not hold is refused and not stored."""
    assert (await add(desk, THEFT)).status == 201
    (faq,) = (await desk.ask("GET", "/api/v1/faqs")).value["faqs"]
    assert faq["kind"] == "warmed"
    assert "90,000 VND" in faq["answer"]
    assert [(c["document"], c["collection"]) for c in faq["citations"]] == [("theft.md", "public")]
    refused = await add(desk, "How tall is the Eiffel tower?")
    assert (refused.status, refused.value["error"]["code"]) == (422, "not_in_documents")
    assert refused.value["error"]["message"].startswith("Nothing was stored: the documents of `public` do not answer")
    # Another collection's documents are no source for it.
    assert (await add(desk, WAIT)).status == 422
    assert (await add(desk, WAIT, collection="staff")).status == 201
    assert (await add(desk, WAIT, collection="partners")).status == 422


async def test_a_changed_document_silences_its_faq_until_it_is_warmed(desk: Desk) -> None:
    """A replaced document's FAQ is not served within a second, and is again, with the new figure, after a warm-up."""
    await add(desk, THEFT)
    await document(desk, "theft.md", "# Theft cover\n\nTheft cover costs 95,000 VND a year.")
    async with asyncio.timeout(10):
        while (await match(desk, THEFT))["match"] is not None:
            await asyncio.sleep(0.01)
    assert await match(desk, THEFT) == {"match": None, "refused_by": "stale"}
    assert [faq["state"] for faq in (await desk.ask("GET", "/api/v1/faqs")).value["faqs"]] == ["stale"]
    accepted = await desk.ask("POST", "/api/v1/faqs/warm", json={})
    assert accepted.status == 202
    job = await desk.ended(accepted.value["job"])
    assert (job["kind"], job["state"], job["total"], job["done"]) == ("faq.warm", "done", 1, 1)
    assert (await match(desk, THEFT))["match"] is not None
    (faq,) = (await desk.ask("GET", "/api/v1/faqs")).value["faqs"]
    assert "95,000 VND" in faq["answer"]


async def test_a_warm_up_reports_what_it_could_not_answer(desk: Desk) -> None:
    """The job counts refusals and names the questions; the others are served."""
    body = {"questions": [THEFT, "How tall is the Eiffel tower?", THEFT]}
    accepted = await desk.ask("POST", "/api/v1/faqs/warm", json=body)
    job = await desk.ended(accepted.value["job"])
    assert (job["state"], job["total"], job["done"], job["failed"]) == ("done", 2, 1, 1)
    assert job["errors"] == ["“How tall is the Eiffel tower?”: the documents of `public` do not answer it"]
    assert (await match(desk, THEFT))["match"] is not None
    again = await desk.ended((await desk.ask("POST", "/api/v1/faqs/warm", json={"all": True})).value["job"])
    assert (again["total"], again["done"]) == (1, 1)


async def test_a_forbidden_faq_is_indistinguishable_from_none(desk: Desk) -> None:
    """Strangers and API tokens get the very same bytes for a staff FAQ as for none; the admin may name collections."""
    await add(desk, WAIT, collection="staff")
    for headers in (NOBODY, MEMBER):
        staff = await desk.ask("POST", "/api/v1/faqs/match", headers=headers, json={"question": WAIT})
        nothing = await desk.ask("POST", "/api/v1/faqs/match", headers=headers, json={"question": "Is it there?"})
        assert staff.text == nothing.text
        for name in ("staff", "unknown"):
            asked = {"question": WAIT, "collections": [name]}
            refused = await desk.ask("POST", "/api/v1/faqs/match", headers=headers, json=asked)
            assert (refused.status, refused.value["error"]["code"]) == (403, "forbidden_collection")
    assert (await match(desk, WAIT, BEARER))["match"] is None
    assert (await match(desk, WAIT, BEARER, collections=["staff"]))["match"]["question"] == WAIT


async def test_only_the_admin_changes_and_lists(desk: Desk) -> None:
    """Without a token it is 401, with an API token 403, and nothing happens."""
    calls: list[tuple[str, str, dict[str, object] | None]] = [
        ("POST", "/api/v1/faqs", {"question": "Hotline?", "answer": "No."}),
        ("GET", "/api/v1/faqs", None),
        ("DELETE", "/api/v1/faqs/x", None),
        ("POST", "/api/v1/faqs/warm", {}),
    ]
    for method, path, body in calls:
        assert (await desk.ask(method, path, headers=NOBODY, json=body)).status == 401
        assert (await desk.ask(method, path, headers=MEMBER, json=body)).status == 403
    assert (await desk.ask("GET", "/api/v1/faqs")).value["faqs"] == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "`question` is missing"),
        ({"question": "???"}, "needs words"),
        ({"question": "Why?", "paraphrases": "one"}, "a list of other ways"),
        ({"question": "Why?", "paraphrases": ["!"]}, "every paraphrase needs words"),
        ({"question": "Why?", "answer": "x", "collection": "No!"}, "a-z, 0-9 and _"),
        ({"question": "Why?", "answer": "x", "language": "english"}, "two or three small letters"),
        ({"question": "Why?", "answr": "x"}, "accepted are question, answer"),
        ({"question": "w " * 5000, "answer": "x"}, "at most 8000 characters"),
    ],
)
async def test_bad_input_is_named(desk: Desk, body: dict[str, object], said: str) -> None:
    """A wrong body is 400 with the field and the accepted form."""
    refused = await desk.ask("POST", "/api/v1/faqs", json=body)
    assert refused.status == 400
    assert said in refused.value["error"]["message"]


async def test_the_list_comes_in_pages(desk: Desk) -> None:
    """Page after page gives every FAQ once, in order, also while others are removed."""
    for number in range(5):
        await add(desk, f"Câu hỏi số {number}?", answer="Có.")
    await add(desk, WAIT, collection="staff")
    seen: list[str] = []
    after: str | None = None
    while True:
        query = {"limit": "2", "collection": "public", **({"after": after} if after else {})}
        page = (await desk.ask("GET", "/api/v1/faqs", params=query)).value
        seen += [faq["question"] for faq in page["faqs"]]
        if len(seen) == 2:
            await desk.ask("DELETE", f"/api/v1/faqs/{page['faqs'][-1]['id']}")
        if (after := page["after"]) is None:
            break
    assert seen == [f"Câu hỏi số {number}?" for number in range(5)]
    for query in ({"limit": "0"}, {"limit": "x"}, {"after": "nonsense"}, {"collection": "No!"}):
        assert (await desk.ask("GET", "/api/v1/faqs", params=query)).status == 400


async def test_every_change_leaves_an_audit_line_without_the_question(desk: Desk) -> None:
    """Adding, warming and removing are written down, by id."""
    with structlog.testing.capture_logs() as lines:
        added = await add(desk, "Hotline?", answer="1900 0000")
        warmed = await desk.ask("POST", "/api/v1/faqs/warm", json={})
        await desk.ended(warmed.value["job"])
        await desk.ask("DELETE", f"/api/v1/faqs/{added.value['id']}")
    audits = [(line["action"], line["target"]) for line in lines if line["event"] == "audit"]
    identity = f"public: {added.value['id']}"
    assert audits == [("faq.add", identity), ("faq.warm", warmed.value["job"]), ("faq.remove", identity)]
    assert "otline" not in str(lines)
