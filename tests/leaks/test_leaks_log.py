"""The log of a running server: who asked what stays with whoever asked."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, CookieJar

from tests.emulators.model import ModelServer, Reply
from tests.support.process import grapevine, serving

ADMIN = "admin-token-for-the-log"
API = "api-token-for-the-log-1"
WRONG = "wrong-token-for-the-log"
KEY = "sk-key-for-the-log"


async def test_the_log_tells_neither_questions_nor_tokens_nor_people(tmp_path: Path) -> None:
    """After questions, failures, wrong tokens, uploads, FAQs and a sign-in no text, token, id or address is in it"""
    data = tmp_path / "data"
    said: list[str] = []
    async with ModelServer() as model:
        settings: dict[str, Any] = {
            "OPENAI_BASE_URL": model.base_url,
            "OPENAI_API_KEY": KEY,
            "EMBEDDING_MODEL": "openai:hashing@64",
            "GRAPEVINE_ADMIN_TOKEN": ADMIN,
            "GRAPEVINE_API_TOKENS": API,
        }
        async with serving(data, **settings) as server:
            async with ClientSession(server.address, cookie_jar=CookieJar(unsafe=True)) as client:

                async def send(path: str, body: Any, token: str | None = None, *, method: str = "POST") -> Any:
                    headers = {"X-Forwarded-For": "203.0.113.77", "User-Agent": "Agent-Wisteria"}
                    headers |= {"Authorization": f"Bearer {token}"} if token else {"Sec-Fetch-Site": "same-origin"}
                    async with client.request(method, path, json=body, headers=headers) as response:
                        text = await response.text()
                    said.extend(re.findall(r'"conversation":\s*"([^"]+)"', text))
                    return json.loads(text)

                await (await client.get("/")).read()
                document = {"id": "a.md", "title": "A", "text": "Begonia covers theft of every motorbike."}
                job = (await send("/api/v1/documents", document, ADMIN))["job"]
                while (await send(f"/api/v1/jobs/{job}", None, ADMIN, method="GET"))["state"] != "done":
                    pass
                question = "Does Hydrangea cover theft of a motorbike?"
                for token in (None, API, ADMIN, WRONG):
                    for path in ("ask", "retrieve", "faqs/match"):
                        await send(f"/api/v1/{path}", {"question": question}, token)
                model.script(Reply(status=500, message=f"cannot answer {question}", times=3))
                await send("/api/v1/ask", {"question": question})
                model.script(Reply(status=401, message=f"Incorrect API key provided: {KEY}"))
                await send("/api/v1/ask", {"question": question})
                await send("/api/v1/session", {"token": API})
                await send("/api/v1/session", {"token": WRONG})
                await send("/api/v1/faqs", {"question": question, "answer": "Snowdrop."}, ADMIN)
                await send("/api/v1/ask", {"question": question, "collections": ["hydrangea"]})
                await send("/api/v1/ask", {"question": question * 500})
                link = await grapevine("login-link", data=data, **settings)
                await (await client.get("/login?link=" + link.out.split("link=")[1].split()[0])).read()
                cookies = [cookie.value for cookie in client.cookie_jar]
            await server.stop()
            log = server.log.read_text() + "".join(server.said)
    events = [json.loads(line) for line in server.log.read_text().splitlines()]
    turns = [event for event in events if event["event"] == "turn"]
    assert len(turns) == 5
    assert {event["action"] for event in events if event["event"] == "audit"} >= {
        "documents.upload",
        "faq.add",
        "login",
    }
    assert len(cookies) == 2
    assert said
    secrets = [ADMIN, API, WRONG, KEY, link.out.split("link=")[1].split()[0], *cookies, *said]
    for secret in ("Hydrangea", "hydrangea", "Begonia", "Snowdrop", "203.0.113", "Wisteria", *secrets):
        assert secret not in log
