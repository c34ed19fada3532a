"""Retrieving, opening passages, and the probes over HTTP."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rag.errors import InputError, StoreUnavailable
from tests.support.web import ADMIN, PASSAGES, Site, StartSite


async def test_passages_come_best_first_with_everything_known_about_them(site: Site) -> None:
    """The fields of the contract, and how long it took."""
    response = await site.post("/api/v1/retrieve", json={"question": "flood", "k": 5, "mode": "text"})
    body = await response.json()
    assert response.status == 200
    assert [passage["passage_id"] for passage in body["passages"]] == ["p1", "public/guides/flood.md#2"]
    assert {"passage_id", "document", "title", "collection", "text", "score", "why", "page", "url"} <= set(
        body["passages"][0]
    )
    assert body["timings"]["retrieve_ms"] == 1.5
    assert body["timings"]["total_ms"] > 0


async def test_k_limits_the_passages(site: Site) -> None:
    """At most `k` come back."""
    response = await site.post("/api/v1/retrieve", json={"question": "flood", "k": 1})
    assert len((await response.json())["passages"]) == 1


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"question": "x", "k": 0}, "`k`"),
        ({"question": "x", "k": "8"}, "`k`"),
        ({"question": "x", "k": 10**9}, "`k`"),
        ({"question": "x", "mode": "magic"}, "hybrid, vector, text or graph"),
        ({"question": 5}, "`question`"),
        ({"question": "x", "collections": "public"}, "`collections`"),
        ({"question": "x", "collection": ["public"]}, "no such field"),
        ({}, "`question` is missing"),
    ],
)
async def test_a_wrong_field_is_named_with_the_accepted_form(site: Site, body: dict[str, object], named: str) -> None:
    """400, and the message says what to change."""
    response = await site.post("/api/v1/retrieve", json=body)
    error = (await response.json())["error"]
    assert (response.status, error["code"]) == (400, "invalid_field")
    assert named in error["message"]


async def test_a_store_that_is_away_is_a_503(site: Site) -> None:
    """The path of the database stays in the log."""
    site.retriever.fault = StoreUnavailable("/srv/data/knowledge.db cannot be opened")
    response = await site.post("/api/v1/retrieve", json={"question": "x"})
    text = await response.text()
    assert response.status == 503
    assert "store_unavailable" in text
    assert "/srv" not in text


async def test_a_question_that_cannot_be_served_is_a_400(site: Site) -> None:
    """What the core says about it is told."""
    site.retriever.fault = InputError("Please write your question in words.")
    response = await site.post("/api/v1/retrieve", json={"question": "🙂"})
    assert (response.status, (await response.json())["error"]["message"]) == (
        400,
        "Please write your question in words.",
    )


async def test_a_source_link_opens_its_passage(site: Site) -> None:
    """As JSON; ids with slashes and signs work when they are quoted."""
    response = await site.get("/api/v1/passages/public%2Fguides%2Fflood.md%232")
    body = await response.json()
    assert (response.status, body["text"], body["heading"]) == (200, PASSAGES[1].text, "Guide > Floods")


async def test_a_browser_gets_a_page_with_the_passage_escaped(site: Site) -> None:
    """A document's markup never becomes the page's."""
    site.retriever.passages = (replace(PASSAGES[0], text="<script>alert(1)</script> {{title}}"),)
    response = await site.get("/api/v1/passages/p1", headers={"Accept": "text/html,*/*;q=0.8"})
    page = await response.text()
    assert response.content_type == "text/html"
    assert "&lt;script&gt;alert(1)&lt;/script&gt; {{title}}" in page
    assert page.count("<script") == page.count('<script type="module" src="/static/')
    assert 'href="https://example.org/theft"' in page


async def test_a_forbidden_passage_looks_like_an_unknown_one(site: Site) -> None:
    """404 with the same words; the admin may open it."""
    errors = []
    for passage_id in ("p3", "p999"):
        response = await site.get(f"/api/v1/passages/{passage_id}")
        error = (await response.json())["error"]
        errors.append((response.status, error["code"], error["message"]))
    assert errors[0] == errors[1]
    assert errors[0][0] == 404
    allowed = await site.get("/api/v1/passages/p3", headers={"Authorization": f"Bearer {ADMIN}"})
    assert allowed.status == 200


async def test_an_unchanged_passage_is_not_sent_again(site: Site) -> None:
    """304 for its ETag, private to the reader, and anew once it changed."""
    first = await site.get("/api/v1/passages/p1")
    assert first.headers["Cache-Control"] == "private, no-cache"
    headers = {"If-None-Match": first.headers["ETag"]}
    again = await site.get("/api/v1/passages/p1", headers=headers)
    assert (again.status, await again.text()) == (304, "")
    site.retriever.passages = (replace(PASSAGES[0], text="Another price."),)
    changed = await site.get("/api/v1/passages/p1", headers=headers)
    assert (changed.status, (await changed.json())["text"]) == (200, "Another price.")


async def test_alive_is_not_ready(start_site: StartSite) -> None:
    """`/readyz` says what is missing; `/healthz` answers all the same."""
    site = await start_site(missing=("the embedding model is being loaded",))
    ready = await site.get("/readyz")
    body = await ready.json()
    assert (ready.status, body["missing"]) == (503, ["the embedding model is being loaded"])
    assert body["error"]["code"] == "not_ready"
    assert (await site.get("/healthz")).status == 200


async def test_ready_when_nothing_is_missing(site: Site) -> None:
    """`/readyz` is 200."""
    assert (await site.get("/readyz")).status == 200
