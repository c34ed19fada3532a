"""Only the admin gets in: by token, or by a link that works once."""

from __future__ import annotations

import asyncio
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.auth import AuthError, Failures, Sessions, admin_token
from bot.state.sessions import SessionTable
from bot.state.sqlite import SqliteState
from bot.web.tokens import Tokens
from tests.support.admin import BEARER, OWN_PAGE, Desk, grapevine, running_desk
from tests.support.web import ADMIN, API_TOKEN

ADMIN_ONLY = [
    ("GET", "/api/v1/documents"),
    ("POST", "/api/v1/documents"),
    ("DELETE", "/api/v1/documents/a.md"),
    ("GET", "/api/v1/jobs"),
    ("GET", "/api/v1/jobs/1"),
    ("GET", "/api/performance"),
    ("POST", "/api/v1/logout"),
]


# The token and its file


def test_a_token_is_made_once_and_kept_to_oneself(tmp_path: Path) -> None:
    """Without a configured token one is made in a file that only its owner may read, and stays the same."""
    token, path = admin_token(None, tmp_path / "data")
    assert path is not None
    assert len(token) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert admin_token(None, tmp_path / "data") == (token, path)
    assert admin_token("configured-one", tmp_path / "data") == ("configured-one", None)


def test_processes_that_start_together_agree_on_the_token(tmp_path: Path) -> None:
    """Sixteen starts at once make one token, and leave no other file."""
    with ThreadPoolExecutor(16) as pool:
        tokens = {token for token, _ in pool.map(lambda _: admin_token(None, tmp_path), range(16))}
    assert len(tokens) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["admin-token"]


def test_a_token_file_that_others_may_read_is_closed(tmp_path: Path) -> None:
    """A file copied with loose rights gets mode 600 again."""
    _, path = admin_token(None, tmp_path)
    assert path is not None
    path.chmod(0o644)
    admin_token(None, tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_empty_token_file_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    """An empty file never means that the empty token is right."""
    (tmp_path / "admin-token").write_text("\n")
    with pytest.raises(AuthError, match="delete it"):
        admin_token(None, tmp_path)


# Tokens over HTTP


@pytest.mark.parametrize(("method", "path"), ADMIN_ONLY)
async def test_nothing_of_the_admin_is_open_without_a_token(desk: Desk, method: str, path: str) -> None:
    """Every admin address answers 401 with the error JSON, without a token and with a wrong one."""
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {ADMIN}"},
        {"Cookie": "grapevine_admin=x"},
    ):
        answer = await desk.ask(method, path, headers=headers)
        assert answer.status == 401
        assert set(answer.value["error"]) == {"code", "message", "trace_id"}
        assert ADMIN not in answer.text


async def test_the_admin_token_opens(desk: Desk) -> None:
    """The right token is let in, whatever the case of the scheme."""
    assert (await desk.ask("GET", "/api/v1/jobs")).value == {"jobs": []}
    assert (await desk.ask("GET", "/api/v1/jobs", headers={"Authorization": f"bearer {ADMIN}"})).status == 200


async def test_an_api_token_is_not_the_admins(tmp_path: Path) -> None:
    """A caller of the API is told that their token is too small for this, and is not counted as guessing."""
    async with running_desk(tmp_path, api_tokens=[API_TOKEN], guesses=1) as desk:
        for _ in range(3):
            answer = await desk.ask("GET", "/api/v1/documents", headers={"Authorization": f"Bearer {API_TOKEN}"})
            assert (answer.status, answer.value["error"]["code"]) == (403, "admin_only")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    guess=st.one_of(
        st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, blacklist_characters="\x7f"), max_size=40),
        st.integers(0, len(ADMIN)).map(lambda n: ADMIN[:n]),
        st.sampled_from([ADMIN.upper(), ADMIN + "x", f"{ADMIN} {ADMIN}", f'"{ADMIN}"']),
    )
)
def test_no_wrong_token_passes(guess: str) -> None:
    """Whatever is not exactly the admin's token is nobody's: prefixes, other cases, quotes, additions."""
    tokens = Tokens(admin=ADMIN, api=[API_TOKEN], key=b"k" * 32)
    assert tokens.is_admin(guess) is (guess == ADMIN)
    assert (tokens.api_caller(guess) is not None) is (guess == API_TOKEN)


async def test_guessing_is_slowed_down(tmp_path: Path) -> None:
    """After a handful of wrong tokens, an address has to wait, even with the right one; a session goes on working."""
    async with running_desk(tmp_path, guesses=5) as desk:
        await desk.sign_in()
        for _ in range(5):
            assert (await desk.ask("GET", "/api/v1/jobs", headers={"Authorization": "Bearer no"})).status == 401
        for method, path in (("GET", "/api/v1/jobs"), ("POST", "/api/v1/ask"), ("POST", "/api/v1/retrieve")):
            answer = await desk.ask(method, path, json={"question": "What?"})
            assert (answer.status, answer.value["error"]["code"]) == (429, "too_many_wrong_tokens")
        assert int(answer.headers["Retry-After"]) >= 1
        assert (await desk.ask("GET", "/api/v1/jobs", headers=OWN_PAGE)).status == 200


def test_an_address_may_try_again_later() -> None:
    """The wait passes, one guess at a time, and other addresses never wait."""
    now = 0.0
    failures = Failures(burst=3, refill_s=10, clock=lambda: now)
    for _ in range(3):
        assert failures.wait_s("a") == 0
        failures.note("a")
    assert failures.wait_s("a") == pytest.approx(10)
    assert failures.wait_s("b") == 0
    now = 10.0
    assert failures.wait_s("a") == 0
    failures.note("a")
    assert failures.wait_s("a") == pytest.approx(10)


def test_guessers_take_no_memory() -> None:
    """A million addresses are not remembered."""
    failures = Failures(keep=100)
    for n in range(1000):
        failures.note(str(n))
    assert len(failures._spent) == 100


# Links and sessions


async def test_a_link_of_another_process_opens_the_dashboard_once(desk: Desk) -> None:
    """`grapevine login-link` beside the running server: the link becomes a strict cookie, a second use is refused."""
    made = await grapevine("login-link", "--json", "--url", desk.address, data=desk.folder)
    assert made.code == 0, made.err
    link = json.loads(made.out)["url"]
    assert link.startswith(desk.address)
    audit = json.loads(made.err)
    assert (audit["event"], audit["action"], audit["who"]) == ("audit", "login-link", "cli")
    assert link.rsplit("=", 1)[1] not in made.err

    assert (await desk.ask("GET", "/dashboard", headers={})).status == 401
    opened = await desk.ask("GET", link.removeprefix(desk.address), headers={})
    assert opened.status == 200
    cookie = opened.headers["Set-Cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=Strict", "Path=/"))
    assert (await desk.ask("GET", "/dashboard", headers={})).status == 200

    desk.client.cookie_jar.clear()
    again = await desk.ask("GET", link.removeprefix(desk.address), headers={})
    assert again.status == 401
    assert "Set-Cookie" not in again.headers
    assert "grapevine login-link" in again.text


async def test_a_link_lives_five_minutes(tmp_path: Path) -> None:
    """A link is good until five minutes have passed, and a session for twelve hours."""
    now = 1000.0
    state = await SqliteState.open(tmp_path / "state.db")
    sessions = Sessions(await SessionTable.open(state), key="k", clock=lambda: now)
    early, late = await sessions.make_link(), await sessions.make_link()
    now += 299
    session = await sessions.redeem(early)
    assert session is not None
    now += 2
    assert await sessions.redeem(late) is None
    now = 1000 + 299 + 12 * 3600 - 1
    assert await sessions.is_open(session)
    now += 2
    assert not await sessions.is_open(session)
    await state.close()


async def test_a_link_is_used_once_by_whoever_is_first(tmp_path: Path) -> None:
    """Of twenty attempts at once, over two processes' connections, one gets a session."""
    states = [await SqliteState.open(tmp_path / "state.db") for _ in range(2)]
    tables = [Sessions(await SessionTable.open(state), key="k") for state in states]
    link = await tables[0].make_link()
    got = await asyncio.gather(*(tables[n % 2].redeem(link) for n in range(20)))
    assert sum(session is not None for session in got) == 1
    for state in states:
        await state.close()


async def test_a_changed_admin_token_signs_everybody_out(tmp_path: Path) -> None:
    """A session was let in by a token; it goes with it."""
    state = await SqliteState.open(tmp_path / "state.db")
    table = await SessionTable.open(state)
    before, after = Sessions(table, key="old"), Sessions(table, key="new")
    session = await before.redeem(await before.make_link())
    assert session is not None
    assert await before.is_open(session)
    assert not await after.is_open(session)
    await state.close()


async def test_neither_links_nor_sessions_can_be_read_from_the_file(desk: Desk) -> None:
    """The state file holds hashes: whoever copies it cannot sign in."""
    link = await desk.admin.sessions.make_link()
    used = await desk.admin.sessions.make_link()
    session = await desk.admin.sessions.redeem(used)
    assert session is not None
    kept = b"".join(path.read_bytes() for path in desk.folder.glob("state.db*"))
    assert not any(secret.encode() in kept for secret in (link, used, session, ADMIN))


async def test_a_link_is_not_used_up_by_looking(desk: Desk) -> None:
    """A HEAD request or a browser that fetches ahead leaves the link good."""
    link = await desk.admin.sessions.make_link()
    assert (await desk.ask("HEAD", f"/login?link={link}", headers={})).status == 405
    assert (await desk.ask("GET", f"/login?link={link}", headers={"Sec-Purpose": "prefetch;prerender"})).status == 503
    assert (await desk.ask("GET", f"/login?link={link}", headers={})).status == 200


async def test_signing_out_ends_the_session(desk: Desk) -> None:
    """After signing out the old cookie opens nothing."""
    await desk.sign_in()
    cookie = "; ".join(
        f"{morsel.key}={morsel.value}" for morsel in desk.client.cookie_jar if morsel.key == "grapevine_admin"
    )
    assert (await desk.ask("POST", "/api/v1/logout", headers=OWN_PAGE)).status == 200
    assert (await desk.ask("GET", "/api/v1/jobs", headers={**OWN_PAGE, "Cookie": cookie})).status == 401


# Other sites


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:3000", "Sec-Fetch-Site": "same-site"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {},
    ],
    ids=str,
)
async def test_another_site_cannot_use_the_session(desk: Desk, headers: dict[str, str]) -> None:
    """What changes something must come from our own page, whatever cookies the browser sent along."""
    await desk.sign_in()
    for method, path in (
        ("DELETE", "/api/v1/documents/a.md"),
        ("POST", "/api/v1/documents"),
        ("POST", "/api/v1/logout"),
    ):
        answer = await desk.ask(method, path, headers=headers)
        assert (answer.status, answer.value["error"]["code"]) == (403, "foreign_origin")
    assert (await desk.ask("GET", "/api/v1/jobs", headers=OWN_PAGE)).status == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_a_dashboard_opened_by_another_site_is_refused(desk: Desk, site: str) -> None:
    """The page does not open from another site's link or frame, nor can it be framed; data are refused as well."""
    await desk.sign_in()
    for path in ("/dashboard", "/api/v1/documents", "/api/performance"):
        assert (await desk.ask("GET", path, headers={"Sec-Fetch-Site": site})).status == 403
    own = await desk.ask("GET", "/dashboard", headers={"Sec-Fetch-Site": "none"})
    assert own.status == 200
    assert "frame-ancestors 'none'" in own.headers["Content-Security-Policy"]
    assert "'unsafe-inline'" not in own.headers["Content-Security-Policy"]


async def test_the_own_page_may_act(desk: Desk) -> None:
    """A browser that tells only `Origin` (plain HTTP to another machine) is recognised too."""
    await desk.sign_in()
    answer = await desk.ask("DELETE", "/api/v1/documents/a.md", headers={"Origin": desk.address})
    assert answer.value["error"]["code"] == "unknown_document"


# The trace that is left


async def test_every_admin_act_leaves_a_line_without_secrets(desk: Desk) -> None:
    """Signing in, uploading and removing are logged with what, on what and how the admin was known."""
    with structlog.testing.capture_logs() as logs:
        await desk.sign_in()
        job = await desk.ask(
            "POST", "/api/v1/documents", json={"id": "a/b", "text": "Fees are 5.", "collection": "staff"}
        )
        await desk.ended(job.value["job"])
        assert (await desk.ask("DELETE", "/api/v1/documents/a/b?collection=staff", headers=OWN_PAGE)).status == 200
    lines = [line for line in logs if line["event"] == "audit"]
    assert [(line["action"], line["who"]) for line in lines] == [
        ("login", "session"),
        ("documents.upload", "token"),
        ("documents.remove", "session"),
    ]
    assert lines[2]["target"] == "staff: a/b"
    assert BEARER["Authorization"] not in str(logs)
    assert ADMIN not in str(logs)
