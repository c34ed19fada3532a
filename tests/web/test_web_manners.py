"""Bad input and HTTP manners."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from ipaddress import ip_network

import pytest
import structlog

from bot.web.rates import Buckets
from bot.web.services import Rate, WebLimits
from tests.support.web import ADMIN, API_TOKEN, Site, StartSite, events_of

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("raw", "headers", "status", "code"),
    [
        (b'{"question": ', JSON, 400, "invalid_json"),
        (b"[1]", JSON, 400, "invalid_json"),
        (b'"text"', JSON, 400, "invalid_json"),
        (b'{"question": "\\ud800"}', JSON, 400, "invalid_json"),
        (b'{"question": "caf\xe9"}', JSON, 400, "invalid_json"),
        (b"\x00\xff\xfe", JSON, 400, "invalid_json"),
        (b"[" * 100_000, JSON, 400, "invalid_json"),
        (b"", JSON, 400, "invalid_json"),
        (b'{"question": "   \\n "}', JSON, 400, "empty_question"),
        (b'{"question": null}', JSON, 400, "invalid_field"),
        (b'{"question": "' + b"word " * 10_000 + b'"}', JSON, 400, "question_too_long"),
        (b'{"question": "' + b"x" * 300_000 + b'"}', JSON, 413, "too_large"),
        (b'{"question": "x"}', {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        (b'{"question": "x"}', {"Content-Type": "application/json; charset=latin-1"}, 415, "unsupported_media_type"),
        (b'{"question": "x", "stream": "yes"}', JSON, 400, "invalid_field"),
    ],
)
async def test_bad_input_gets_a_clear_error_and_no_answer(
    site: Site, raw: bytes, headers: Mapping[str, str], status: int, code: str
) -> None:
    """The error has the contract's shape, and the engine is not bothered."""
    response = await site.post("/api/v1/ask", data=raw, headers=headers)
    body = await response.json()
    assert (response.status, body["error"]["code"]) == (status, code)
    assert set(body["error"]) == {"code", "message", "trace_id"}
    assert site.engine.questions == []


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/static/1/../../app.py", 404, "not_found"),
        ("GET", "/static/1/chat.html", 404, "not_found"),
        ("GET", "/api/v1/ask", 405, "method_not_allowed"),
        ("DELETE", "/", 405, "method_not_allowed"),
    ],
)
async def test_wrong_addresses_and_methods_are_json_errors(
    site: Site, method: str, path: str, status: int, code: str
) -> None:
    """Not aiohttp's plain text."""
    response = await site.request(method, path)
    assert (response.status, (await response.json())["error"]["code"]) == (status, code)
    assert status != 405 or response.headers["Allow"]


async def test_an_unexpected_fault_is_logged_without_the_question(site: Site) -> None:
    """500 with a trace id that the log line has, too; neither holds what was asked."""
    site.retriever.fault = RuntimeError("cannot parse 'my secret question'")
    with structlog.testing.capture_logs() as logs:
        response = await site.post("/api/v1/retrieve", json={"question": "my secret question"})
    error = (await response.json())["error"]
    assert (response.status, error["code"]) == (500, "internal")
    (entry,) = [entry for entry in logs if entry["event"] == "web_request_failed"]
    assert (entry["trace_id"], entry["error"]) == (error["trace_id"], "RuntimeError")
    assert entry["stack"]
    assert "secret" not in str(entry) + str(error)


@pytest.mark.parametrize("path", ["/", "/healthz", "/nowhere", "/api/v1/passages/p1"])
async def test_every_response_forbids_foreign_scripts_and_frames(site: Site, path: str) -> None:
    """Also errors; there is no CORS header, and nothing tells which server software runs."""
    response = await site.get(path, headers={"Origin": "https://elsewhere.example"})
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in response.headers
    assert "Python" not in response.headers["Server"]


async def test_a_stream_carries_the_same_headers(site: Site) -> None:
    """And is never compressed or cached, which would hold the events back."""
    response = await site.ask(stream=True, headers={"Accept-Encoding": "gzip"})
    assert (await events_of(response))[-1][0] == "done"
    assert "Content-Security-Policy" in response.headers
    assert "Content-Encoding" not in response.headers
    assert response.headers["Cache-Control"] == "no-store"


async def test_a_preflight_of_another_site_is_refused(site: Site) -> None:
    """CORS is off."""
    response = await site.request("OPTIONS", "/api/v1/ask", headers={"Origin": "https://elsewhere.example"})
    assert response.status == 405


async def test_static_files_are_kept_by_browsers_and_compressed(site: Site) -> None:
    """The page names them by version; that address never changes its content."""
    page = await (await site.get("/")).text()
    address = next(part.split('"')[0] for part in page.split('src="') if part.split('"')[0].endswith("chat.js"))
    response = await site.get(address, headers={"Accept-Encoding": "gzip"})
    assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert response.headers["Content-Encoding"] == "gzip"
    again = await site.get(address, headers={"If-None-Match": response.headers["ETag"]})
    assert again.status == 304
    old = await site.get(address.replace("/static/", "/static/old-"))
    assert (old.status, old.headers["Cache-Control"]) == (200, "no-cache")


async def test_the_page_has_no_inline_script_or_style(site: Site) -> None:
    """The policy would forbid it anyway."""
    page = await (await site.get("/")).text()
    assert "style=" not in page
    assert "<style" not in page
    assert page.count("<script") == page.count('<script type="module" src="/static/') == 1
    assert "://" not in page


async def test_the_session_cookie_is_for_the_browser_only(site: Site) -> None:
    """Scripts cannot read it, and other sites' requests do not carry it."""
    response = await site.get("/")
    cookie = response.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie
    again = await site.get("/", headers={"X-Forwarded-Proto": "https"})
    assert "Secure" in again.headers["Set-Cookie"]
    assert again.headers["Set-Cookie"].split(";")[0] == cookie.split(";")[0]


async def test_examples_are_on_the_page_escaped(start_site: StartSite) -> None:
    """A quotation mark in an example does not end the attribute."""
    site = await start_site(examples={"en": ('What is "own damage"?',)})
    page = await (await site.get("/")).text()
    assert 'data-examples="{&quot;en&quot;:[&quot;What is \\&quot;own damage\\&quot;?&quot;]}"' in page


async def test_too_many_questions_are_refused_with_the_time_to_wait(start_site: StartSite) -> None:
    """429 with `Retry-After`, per address; the admin is not limited, an API token has more room."""
    now = 100.0
    limits = WebLimits(asks=Rate(per_s=0.5, burst=2), token_factor=2, local_factor=1)
    site = await start_site(limits=limits, api_tokens=(API_TOKEN,), clock=lambda: now)
    assert [(await site.ask()).status for _ in range(2)] == [200, 200]
    refused = await site.ask()
    assert (refused.status, (await refused.json())["error"]["code"]) == (429, "rate_limited")
    assert refused.headers["Retry-After"] == "2"
    elsewhere = await site.ask(headers={"X-Forwarded-For": "198.51.100.7, 203.0.113.9"})
    same_client = [(await site.ask(headers={"X-Forwarded-For": f"{n}, 203.0.113.9"})).status for n in range(2)]
    assert (elsewhere.status, same_client) == (200, [200, 429])
    token = {"Authorization": f"Bearer {API_TOKEN}"}
    assert [(await site.ask(headers=token)).status for _ in range(5)] == [200] * 4 + [429]
    admin = {"Authorization": f"Bearer {ADMIN}"}
    assert {(await site.ask(headers=admin)).status for _ in range(10)} == {200}


async def test_a_forwarded_address_counts_only_from_a_known_proxy(start_site: StartSite) -> None:
    """A client cannot get more by inventing addresses."""
    limits = WebLimits(asks=Rate(per_s=0.001, burst=1), local_factor=1, proxies=(ip_network("192.0.2.0/24"),))
    site = await start_site(limits=limits)
    statuses = [(await site.ask(headers={"X-Forwarded-For": f"203.0.113.{n}"})).status for n in range(2)]
    assert statuses == [200, 429]


async def test_a_body_that_never_ends_is_given_up(start_site: StartSite) -> None:
    """408, instead of a connection that is held for ever."""
    site = await start_site(limits=WebLimits(body_s=0.05))

    async def slowly() -> AsyncIterator[bytes]:
        yield b'{"question": "'
        await asyncio.Event().wait()

    response = await site.post("/api/v1/ask", data=slowly(), headers=JSON)
    assert (response.status, (await response.json())["error"]["code"]) == (408, "too_slow")


def test_a_bucket_refills_over_time() -> None:
    """What is granted in the long run is the rate."""
    now = 0.0
    buckets = Buckets(per_s=2, burst=3, clock=lambda: now)
    assert [buckets.take("a") for _ in range(3)] == [0.0] * 3
    assert buckets.take("a") == pytest.approx(0.5)
    assert buckets.take("b") == 0.0
    now = 0.5
    assert buckets.take("a") == 0.0
    assert buckets.take("a") > 0


async def test_the_machine_itself_may_ask_for_five_hundred(start_site: StartSite) -> None:
    """500 questions at once from the server's own machine are all answered: its address says nothing about people."""
    site = await start_site()
    answers = await asyncio.gather(*(site.ask() for _ in range(500)))
    assert {answer.status for answer in answers} == {200}
