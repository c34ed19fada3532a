"""Asking over HTTP."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import ClientSession

from rag.types import Done, Failed, Sources, Status
from tests.support.answers import deltas
from tests.support.web import ADMIN, ANSWER, API_TOKEN, PASSAGES, WHOLE, Site, StartSite, events_of, parse_event


async def test_a_question_gets_its_answer_with_citations(site: Site) -> None:
    """The JSON answer has exactly the fields of the contract."""
    response = await site.ask()
    body = await response.json()
    assert response.status == 200
    assert set(body) == {"answer", "outcome", "cache", "citations", "conversation", "trace_id", "timings"}
    assert (body["answer"], body["outcome"], body["cache"]) == (ANSWER, "answered", "none")
    assert body["citations"] == [
        {
            "n": 1,
            "document": "doc1.md",
            "title": "Title 1",
            "collection": "public",
            "passage_id": "p1",
            "page": 3,
            "url": "https://example.org/theft",
        }
    ]
    assert body["timings"]["retrieve_ms"] == 3.0
    assert body["trace_id"] == site.lines[0].trace_id


async def test_a_stream_tells_status_sources_text_and_the_end(site: Site) -> None:
    """The joined deltas are the answer, and `done` carries the same JSON as without streaming."""
    response = await site.ask(stream=True)
    events = await events_of(response)
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    names = [name for name, _ in events]
    assert names[-1] == "done"
    assert list(dict.fromkeys(names)) in (["status", "sources", "delta", "done"], ["sources", "delta", "done"])
    assert "".join(data["text"] for name, data in events if name == "delta") == ANSWER
    (sources,) = [data["passages"] for name, data in events if name == "sources"]
    assert [(source["n"], source["passage_id"], source["text"]) for source in sources] == [
        (1, "p1", PASSAGES[0].text),
        (2, "public/guides/flood.md#2", PASSAGES[1].text),
    ]
    done = events[-1][1]
    assert (done["answer"], done["outcome"]) == (ANSWER, "answered")
    assert done["conversation"] == response.headers["X-Conversation"]


async def test_every_delta_is_written_before_the_next_one_exists(start_site: StartSite) -> None:
    """A reader sees each piece while the engine still waits to write the one after it."""
    gates = [asyncio.Event() for _ in range(3)]
    texts = deltas("One ", "two ", "three.")
    script = [step for pair in zip(texts, gates, strict=True) for step in pair]
    site = await start_site(*script, Done(outcome="answered", answer="One two three."))
    response = await site.ask(stream=True)
    for text, gate in zip(texts, gates, strict=True):
        frame = (await response.content.readuntil(b"\n\n")).decode().strip()
        assert parse_event(frame) == ("delta", {"text": text.text})
        gate.set()
    assert (await events_of(response))[-1][0] == "done"


async def test_first_visible_and_lag_are_in_the_log_line(site: Site) -> None:
    """They are measured on the web, too."""
    await events_of(await site.ask(stream=True))
    (line,) = site.lines
    assert line.platform == "api"
    assert line.first_visible_ms is not None
    assert line.lag_ms is not None
    assert 0 <= line.lag_ms <= line.total_ms
    assert line.first_visible_ms <= line.total_ms


async def test_an_answer_that_was_mended_at_the_end_arrives_whole(start_site: StartSite) -> None:
    """Where the final text is no continuation of the deltas, `done` has the right one."""
    site = await start_site(*deltas("It costs 5 [9]."), Done(outcome="answered", answer="It costs 5."))
    events = await events_of(await site.ask(stream=True))
    assert [data["text"] for name, data in events if name == "delta"] == ["It costs 5 [9]."]
    assert events[-1][1]["answer"] == "It costs 5."


async def test_half_an_emoji_does_not_break_the_stream(start_site: StartSite) -> None:
    """A model that cuts a surrogate pair in two leaves the stream valid JSON."""
    site = await start_site(*deltas("Fine \ud83d", "\ude00"), Done(outcome="answered", answer="Fine"))
    events = await events_of(await site.ask(stream=True))
    assert events[-1][0] == "done"


@pytest.mark.parametrize("handler_cancellation", [False, True])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_closed_connection_cancels_the_model(
    start_site: StartSite, *, stream: bool, handler_cancellation: bool
) -> None:
    """Also when no token flows; and the turn is logged as `gone`, whether or not the server cancels handlers."""
    site = await start_site(*deltas("Let me "), asyncio.Event(), handler_cancellation=handler_cancellation)
    async with ClientSession() as session:
        request = asyncio.ensure_future(
            session.post(f"{site.address}/api/v1/ask", json={"question": "Slow?", "stream": stream})
        )
        while not site.engine.questions:
            await asyncio.sleep(0)
        if stream:
            response = await request
            await response.content.readuntil(b"\n\n")
            response.close()
        else:
            request.cancel()
    async with asyncio.timeout(2):
        await site.engine.closed.wait()
    while not site.lines:
        await asyncio.sleep(0.01)
    assert site.lines[0].outcome == "gone"


async def test_stopping_keeps_what_was_shown(start_site: StartSite) -> None:
    """The stream ends with outcome `stopped` and the text so far."""
    site = await start_site(*WHOLE[:4], asyncio.Event())
    response = await site.ask(stream=True)
    while b"90,000" not in await response.content.readuntil(b"\n\n"):
        pass
    stopped = await site.post("/api/v1/stop", json={"conversation": response.headers["X-Conversation"]})
    assert await stopped.json() == {"stopped": True}
    name, done = (await events_of(response))[-1]
    assert (name, done["outcome"], done["answer"]) == ("done", "stopped", "Theft cover costs **90,000 VND** ")
    assert site.engine.closed.is_set()
    again = await site.post("/api/v1/stop", json={"conversation": response.headers["X-Conversation"]})
    assert await again.json() == {"stopped": False}


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("model_unavailable", 503),
        ("model_refused_key", 502),
        ("model_busy", 503),
        ("timeout", 504),
        ("store_unavailable", 503),
        ("internal", 500),
    ],
)
async def test_a_failed_turn_has_a_fitting_status_and_a_kind_message(
    start_site: StartSite, code: str, status: int
) -> None:
    """The cause stays in the log."""
    site = await start_site(Failed(code=code, cause="connect to 10.0.0.7:8000 refused"))
    response = await site.ask()
    error = (await response.json())["error"]
    assert response.status == status
    assert (error["code"], error["trace_id"]) == (code, site.lines[0].trace_id)
    assert error["message"]
    assert "10.0.0.7" not in error["message"]


async def test_a_failed_stream_ends_with_an_error_event_and_no_text(start_site: StartSite) -> None:
    """The failure notice is not mistaken for an answer."""
    site = await start_site(Status(key="retrieving"), Failed(code="model_unavailable", cause="refused"))
    events = await events_of(await site.ask(stream=True))
    assert [name for name, _ in events if name != "status"] == ["error"]
    assert events[-1][1]["error"]["code"] == "model_unavailable"
    assert events[-1][1]["error"]["message"]


async def test_an_incomplete_answer_is_still_an_answer(start_site: StartSite) -> None:
    """What came before the model died is kept, with its outcome."""
    end = Done(outcome="incomplete", answer="It costs", error="model_interrupted")
    site = await start_site(Sources(passages=PASSAGES[:1]), *deltas("It costs"), end)
    response = await site.ask()
    body = await response.json()
    assert (response.status, body["outcome"], body["answer"]) == (200, "incomplete", "It costs")


async def test_a_conversation_goes_on_for_the_same_caller_only(start_site: StartSite) -> None:
    """Another caller's id and a forged one are refused alike."""
    site = await start_site(api_tokens=(API_TOKEN,))
    mine = {"Authorization": f"Bearer {API_TOKEN}"}
    conversation = (await (await site.ask(headers=mine)).json())["conversation"]
    again = await site.ask(headers=mine, conversation=conversation)
    assert (again.status, (await again.json())["conversation"]) == (200, conversation)
    for stolen, headers in ((conversation, {}), (conversation[:-1] + "0z"[conversation[-1] == "0"], mine), ("1", mine)):
        refused = await site.ask(headers=headers, conversation=stolen)
        assert (refused.status, (await refused.json())["error"]["code"]) == (404, "unknown_conversation")


async def test_a_page_reads_as_web_and_programs_as_api(start_site: StartSite) -> None:
    """The session cookie counts only when the request comes from our own page."""
    site = await start_site()
    headers = await site.open_page()
    await site.ask(headers=headers)
    await site.ask(headers={"Sec-Fetch-Site": "cross-site"})
    await site.ask(headers={"Origin": "https://elsewhere.example"})
    await site.ask(headers={"Origin": site.address})
    await site.ask()
    assert [line.platform for line in site.lines] == ["web", "api", "api", "web", "api"]


async def test_a_forbidden_and_an_unknown_collection_look_the_same(site: Site) -> None:
    """403 with the same words."""
    answers = []
    for name in ("staff", "nowhere"):
        response = await site.ask(collections=[name])
        error = (await response.json())["error"]
        answers.append((response.status, error["code"], error["message"]))
    assert answers[0] == answers[1]
    assert answers[0][0] == 403


async def test_the_admin_may_name_any_collection_that_exists(site: Site) -> None:
    """Unknown ones are refused to the admin, too."""
    headers = {"Authorization": f"Bearer {ADMIN}"}
    assert (await site.ask(headers=headers, collections=["staff"])).status == 200
    assert site.engine.questions[0].audience.collections == frozenset({"staff"})
    assert (await site.ask(headers=headers, collections=["nowhere"])).status == 403


async def test_more_than_strangers_may_read_needs_a_token(start_site: StartSite) -> None:
    """Without one, `api` and `web` callers get what `*` gets."""
    site = await start_site(access="*=public api=public,staff web=public,staff", api_tokens=(API_TOKEN,))
    page = await site.open_page()
    await site.ask()
    await site.ask(headers=page)
    await site.ask(headers={"Authorization": f"Bearer {API_TOKEN}"})
    wrong = await site.post("/api/v1/session", json={"token": "wrong"}, headers=page)
    right = await site.post("/api/v1/session", json={"token": API_TOKEN}, headers=page)
    await site.ask(headers=page)
    everything, public = frozenset({"public", "staff"}), frozenset({"public"})
    assert (wrong.status, right.status) == (401, 200)
    assert [question.audience.collections for question in site.engine.questions] == [
        public,
        public,
        everything,
        everything,
    ]


async def test_a_wrong_token_is_refused_rather_than_ignored(site: Site) -> None:
    """401, also where no token would have been fine."""
    response = await site.ask(headers={"Authorization": "Bearer wrong"})
    assert (response.status, response.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert site.engine.questions == []
