from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from aiohttp import web

from bot.settings import Settings, SettingsError, load
from bot.tls import proxy_for, trust
from bot.wiring import open_answerer, open_reranked, open_slack, open_telegram
from rag.ports import Retriever
from rag.rerank.retriever import Reranked
from tests.emulators.model import ModelServer
from tests.emulators.slack import APP_TOKEN, BOT_TOKEN, SlackEmulator
from tests.emulators.telegram import TOKEN, TelegramEmulator
from tests.support.connect_proxy import Company, company

NAMES = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


async def _rank(request: web.Request) -> web.Response:
    body = await request.json()
    return web.json_response({"results": [{"index": n, "relevance_score": 0.5} for n in range(len(body["documents"]))]})


@pytest.fixture
async def reranking() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v1/rerank", _rank)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def net(
    tmp_path: Path, emu: TelegramEmulator, reranking: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Company]:
    """A network from which the outside is reached through the proxy only."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    async with SlackEmulator() as slack, ModelServer() as model:
        hosts = {
            "api.telegram.test": emu.url,
            "slack.test": slack.url,
            "model.test": model.base_url,
            "rerank.test": reranking,
        }
        async with company(tmp_path, hosts) as one:
            monkeypatch.setenv("HTTPS_PROXY", one.url)
            yield one


def settings(net: Company | None, **more: str) -> Settings:
    names = {
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_API_URL": "https://api.telegram.test",
        "SLACK_BOT_TOKEN": BOT_TOKEN,
        "SLACK_APP_TOKEN": APP_TOKEN,
        "SLACK_API_URL": "https://slack.test/api/",
        "OPENAI_BASE_URL": "https://model.test/v1",
        "GRAPEVINE_RERANK": "http",
        "GRAPEVINE_RERANK_URL": "https://rerank.test/v1/rerank",
    }
    if net is not None:
        names["GRAPEVINE_CA_FILE"] = str(net.ca_file)
    return load(names | more, None)[0]


async def use_all(configured: Settings) -> None:
    """One call with every client that leaves the machine."""
    async with open_telegram(configured) as (_, platform):
        assert await platform.identify() == "grapevine_bot"
    async with open_slack(configured) as identify:
        assert "grapevine" in await identify()
    async with open_answerer(configured) as (_, client):
        assert client is not None
        assert (await client.models.list()).data
    async with open_reranked(configured, cast("Retriever", None)) as retriever:
        assert isinstance(retriever, Reranked)
        assert list(await retriever._reranker.rerank("question", ["one", "two"])) == [0.5, 0.5]


async def test_every_client_goes_through_the_proxy_and_trusts_the_company_s_ca(net: Company) -> None:
    """Telegram, Slack, the model and the reranker: reached by CONNECT, their certificates checked."""
    await use_all(settings(net))
    assert set(net.asked) == {"api.telegram.test:443", "slack.test:443", "model.test:443", "rerank.test:443"}


async def test_ssl_cert_file_is_honoured_as_well(net: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has configured OpenSSL for the machine need not say it again."""
    monkeypatch.setenv("SSL_CERT_FILE", str(net.ca_file))
    await use_all(settings(None))


async def test_a_stranger_s_certificate_is_refused(net: Company) -> None:
    """Without the CA nothing is sent, and the error names no token."""
    async with open_telegram(settings(None)) as (_, platform):
        with pytest.raises(ConnectionError, match="Telegram does not answer") as caught:
            await platform.identify()
    assert TOKEN not in str(caught.value)


async def test_no_proxy_is_honoured(net: Company, emu: TelegramEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is listed there is reached directly, by every client."""
    monkeypatch.setenv("HTTP_PROXY", net.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    async with SlackEmulator() as slack, ModelServer() as model:
        near = {
            "TELEGRAM_API_URL": emu.url,
            "SLACK_API_URL": f"{slack.url}/api/",
            "OPENAI_BASE_URL": model.base_url,
        }
        await use_all(settings(net, **near))
    assert net.asked == ["rerank.test:443"]
    assert proxy_for("https://slack.com/api/") == net.url
    assert proxy_for(emu.url) is None


def test_a_file_without_certificates_is_said_in_one_line(tmp_path: Path) -> None:
    """The setting and the file are named."""
    (tmp_path / "ca.pem").write_text("not a certificate")
    with pytest.raises(SettingsError, match=r"GRAPEVINE_CA_FILE: .*ca\.pem holds no certificates"):
        trust(tmp_path / "ca.pem")
    with pytest.raises(SettingsError, match="GRAPEVINE_CA_FILE: there is no such file"):
        load({"GRAPEVINE_CA_FILE": str(tmp_path / "missing.pem")}, None)


async def test_a_bot_api_server_of_one_s_own_hands_out_files(emu: TelegramEmulator, tmp_path: Path) -> None:
    """TELEGRAM_API_URL: calls and files go there, by address."""
    emu.files["f1"] = b"a document"
    async with open_telegram(settings(None, TELEGRAM_API_URL=emu.url)) as (bot, _):
        file = await bot.get_file("f1")
        assert file.file_path is not None
        content = await bot.download_file(file.file_path)
        assert content is not None
        assert content.read() == b"a document"
