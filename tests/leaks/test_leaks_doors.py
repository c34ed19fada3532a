"""Each door by itself: what somebody who may read `public` learns about `staff`."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession

from bot.faqs.drafts import new_draft
from tests.emulators.model import ModelServer
from tests.support.neo4j import empty_neo4j
from tests.support.services import Neo4jServer
from tests.support.tenants import ADMIN, House, Seen, Who, knock, opened_house, visit, written

ACCESS = "*=public api=public,staff web=public,staff"
SECRETS = ("Marigold", "7,310,000", "payout-limits", "Payout limits")
PUBLIC = (
    written("public", "theft.md", "# Theft cover\n\nTheft cover costs 90,000 VND a year. Floods are not part of it.\n"),
    written("public", "claims.md", "# Claims\n\nA claim is settled within ten days. Payments go to your account.\n"),
)
STAFF = (
    written(
        "staff",
        "payout-limits.md",
        "# Payout limits\n\nThe goodwill limit of theft cover is 7,310,000 VND. Marigold signs what goes above it. "
        "See [theft cover](theft.md).\n",
    ),
    *(written("staff", f"{n}.md", f"# Note {n}\n\nA claim about theft cover. Goodwill {n}.\n") for n in range(30)),
)
QUESTIONS = (
    "What is the goodwill limit of theft cover?",
    "Who is Marigold?",
    "What does theft cover cost?",
    "Payout limits?",
)
OUTSIDERS: tuple[Who, ...] = ("anonymous", "page")


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer() as running:
        yield running


@pytest.fixture(params=["embedded", pytest.param("neo4j", marks=pytest.mark.services)])
async def neo4j(request: pytest.FixtureRequest) -> AsyncIterator[Neo4jServer | None]:
    """Each store in turn."""
    if request.param == "embedded":
        yield None
        return
    async with empty_neo4j("5") as empty:
        yield empty.server


@pytest.fixture
async def house(tmp_path: Path, server: ModelServer, neo4j: Neo4jServer | None) -> AsyncIterator[House]:
    """Strangers read `public`; who has a token reads `staff` too. Both hold documents and FAQs."""
    async with opened_house(tmp_path, access=ACCESS, server=server, neo4j=neo4j) as running:
        await running.feed([*PUBLIC, *STAFF])
        await running.core.faqs.add(new_draft("What is Marigold's number?", answer="It is 17.", collection="staff"))
        await running.core.faqs.add(new_draft("Are floods covered?", answer="No.", collection="public"))
        yield running


@pytest.mark.parametrize("who", OUTSIDERS)
async def test_no_word_of_it_comes_out(house: House, server: ModelServer, who: Who) -> None:
    """Behind no door, and in nothing sent to the model, is there a word of a forbidden document or FAQ"""
    passages = await house.passage_ids(["staff"])
    before = len(server.exchanges)
    async with house.caller(who) as client:
        told = await visit(client, questions=QUESTIONS, passages=passages, collections=["staff"])
    bodies = [(status, body) for _, status, _, body in told]
    sent = [each.body for each in server.exchanges[before:] if "messages" in each.body]
    assert sent
    asked = re.compile("|".join(map(re.escape, QUESTIONS)))  # what they asked themselves is theirs
    for secret in SECRETS:
        assert secret not in asked.sub("", str(bodies))
        assert secret not in asked.sub("", str(sent))
        assert secret not in str([headers for _, _, headers, _ in told])


@pytest.mark.parametrize("who", ["token", "member"])
async def test_whoever_may_read_it_finds_it(house: House, who: Who) -> None:
    """The same doors show it all to somebody who may: the tests beside this one look in the right places"""
    async with house.caller(who) as client:
        _, _, _, answer = await knock(client, "POST", "/api/v1/ask", {"question": QUESTIONS[0]})
        _, _, _, match = await knock(client, "POST", "/api/v1/faqs/match", {"question": "What is Marigold's number?"})
        (passage, *_) = await house.passage_ids(["staff"])
        _, status, _, _ = await knock(client, "GET", f"/api/v1/passages/{passage}")
    assert "7,310,000" in answer["answer"]
    assert match["match"]["kind"] == "exact"
    assert status == 200


@pytest.mark.parametrize("who", OUTSIDERS)
@pytest.mark.parametrize("path", ["ask", "retrieve", "faqs/match"])
async def test_forbidden_and_unknown_collections_look_alike(house: House, who: Who, path: str) -> None:
    """The two refusals are the same to the byte, save for the trace id; also beside a permitted name, also streamed"""
    async with house.caller(who) as client:
        for more in ({}, {"stream": True}) if path == "ask" else ({},):
            for beside in ([], ["public"]):
                answers = [
                    await raw(client, f"/api/v1/{path}", {"question": "Why?", "collections": [*beside, name], **more})
                    for name in ("staff", "nosuch", "x" * 90, "'; DROP", "")
                ]
                assert len(set(answers)) == 1, answers
                assert answers[0].startswith("403 ")


@pytest.mark.parametrize("who", OUTSIDERS)
async def test_forbidden_and_unknown_passages_look_alike(house: House, who: Who) -> None:
    """Also to somebody who shows the ETag of the forbidden passage, got from a friend"""
    (forbidden, *_) = await house.passage_ids(["staff"])
    async with house.caller("token") as friend, friend.get(f"/api/v1/passages/{forbidden}") as response:
        etag = response.headers["ETag"]
    async with house.caller(who) as client:
        for headers in ({}, {"If-None-Match": etag}, {"If-None-Match": "*"}, {"Accept": "text/html"}):
            answers = [
                await raw(client, f"/api/v1/passages/{id_}", headers=headers, method="GET")
                for id_ in (forbidden, "A" * 16, "nothing/of/the/kind")
            ]
            assert len(set(answers)) == 1, answers
            assert answers[0].startswith("404 ")


async def test_removed_and_expired_passages_are_gone_too(house: House) -> None:
    """A passage that somebody has open is 404 once its document is removed, whatever ETag they show"""
    (passage, *_) = await house.passage_ids(["public"])
    async with house.caller("anonymous") as client:
        async with client.get(f"/api/v1/passages/{passage}") as response:
            assert response.status == 200
            etag = response.headers["ETag"]
        await house.core.store.remove("public", [PUBLIC[0].id])
        gone = await raw(client, f"/api/v1/passages/{passage}", headers={"If-None-Match": etag}, method="GET")
        assert gone == await raw(client, f"/api/v1/passages/{'A' * 16}", headers={"If-None-Match": etag}, method="GET")


@pytest.mark.parametrize("who", ["anonymous", "page", "token", "member"])
async def test_admin_doors_tell_nobody_else_what_exists(house: House, who: Who) -> None:
    """Listing, removing, jobs, FAQs and figures refuse alike, whether or not there is such a thing"""
    faq = (await house.core.faqs.listing("staff"))[0].id
    pairs = [
        ("DELETE", f"/api/v1/documents/{STAFF[0].id}?collection=staff", "/api/v1/documents/none?collection=nosuch"),
        ("GET", "/api/v1/documents?collection=staff", "/api/v1/documents?collection=nosuch"),
        ("GET", "/api/v1/faqs?collection=staff", "/api/v1/faqs?collection=nosuch"),
        ("DELETE", f"/api/v1/faqs/{faq}", "/api/v1/faqs/nosuch"),
        ("GET", "/api/v1/jobs/1", "/api/v1/jobs/nosuch"),
        ("GET", "/api/performance", "/api/v1/jobs"),
    ]
    async with house.caller(who) as client:
        for method, real, unreal in pairs:
            answer = await raw(client, real, method=method)
            assert answer == await raw(client, unreal, method=method)
            assert answer[:4] in {"401 ", "403 "}
    assert len(await house.core.faqs.listing("staff")) == 1
    assert (await house.core.store.counts())["staff"].documents == len(STAFF)


async def test_the_page_offers_strangers_public_questions_only(house: House) -> None:
    """Examples on the chat page come from `public`, also for somebody signed in; without `public` there are none"""
    for who in ("page", "member"):
        async with house.caller(who) as client, client.get("/") as response:
            page = await response.text()
            assert "Are floods covered?" in page
            assert "Marigold" not in page
    assert dict(house.core.faqs.examples(frozenset({"staff"}))) == {}


async def test_a_warmed_answer_is_made_of_its_own_collection(house: House) -> None:
    """A public FAQ is answered from public documents, though the staff's would answer it better"""
    faq = await house.core.faqs.add(new_draft(QUESTIONS[0], collection="public"))
    assert {citation.collection for citation in faq.citations} == {"public"}
    assert not any(secret in faq.answer for secret in SECRETS)


async def test_the_floor_does_not_feel_what_is_forbidden(tmp_path: Path, server: ModelServer) -> None:
    """With real embeddings: forbidden documents turn no refusal into an answer and no answer into a refusal"""
    async with opened_house(tmp_path, access=ACCESS, server=server, is_extractive=True, minilm=True) as house:
        await house.feed(PUBLIC)
        async with house.caller("anonymous") as client:

            async def asked() -> list[Seen]:
                paths = ("ask", "retrieve")
                return [
                    await knock(client, "POST", f"/api/v1/{path}", {"question": each})
                    for each in QUESTIONS
                    for path in paths
                ]

            before = await asked()
            outcomes = [told[3]["outcome"] for told in before[::2]]
            assert outcomes[1] == "refused"
            assert outcomes[2] == "answered"
            await house.feed(STAFF)
            assert await asked() == before
        async with house.caller("token") as friend:
            _, _, _, body = await knock(friend, "POST", "/api/v1/ask", {"question": QUESTIONS[1]})
            assert body["outcome"] == "answered"


async def raw(
    client: ClientSession,
    path: str,
    body: object = None,
    *,
    headers: dict[str, str] | None = None,
    method: str = "POST",
) -> str:
    """Status, headers and body to the byte, without date and trace id; the admin's token is never sent."""
    async with client.request(method, path, json=body, headers=headers) as response:
        text = re.sub(r'"trace_id":"[0-9a-f]{16}"', '"trace_id":""', (await response.read()).decode())
        lines = [f"{name}: {value}" for name, value in response.headers.items() if name != "Date"]
    assert ADMIN not in text
    return f"{response.status} {lines} {text}"
