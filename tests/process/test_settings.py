"""Settings come from the environment and `.env`; what is wrong is named with the accepted form."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.setting_values import parse_neo4j_timeouts
from bot.settings import SettingsError, load


def problem(**environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(environ, None)
    return str(caught.value)


def test_nothing_has_to_be_set() -> None:
    """A newcomer needs no settings at all."""
    settings, sources = load({}, None)
    assert settings.port == 8080
    assert not settings.has_model
    assert set(sources.values()) == {"default"}


def test_an_unknown_name_suggests_the_near_one() -> None:
    """A misspelt setting is an error that says which one was meant."""
    assert problem(GRAPEVINE_PROT="1") == "GRAPEVINE_PROT: there is no such setting; did you mean GRAPEVINE_PORT?"


def test_a_name_like_no_other_points_to_the_list() -> None:
    """An unknown setting that resembles nothing points to the list of settings."""
    assert "grapevine settings" in problem(GRAPEVINE_XYZZY="1")


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"GRAPEVINE_PORT": "http"}, "GRAPEVINE_PORT: must be a whole number"),
        ({"GRAPEVINE_PORT": "70000"}, "GRAPEVINE_PORT: must be a number from 0 to 65535"),
        ({"GRAPEVINE_DEADLINE_S": "soon"}, "GRAPEVINE_DEADLINE_S: must be a number"),
        ({"OPENAI_BASE_URL": "localhost:8000"}, "OPENAI_BASE_URL: must be an address like"),
        ({"TELEGRAM_BOT_TOKEN": "hello"}, "TELEGRAM_BOT_TOKEN: must look like"),
        ({"GRAPEVINE_ACCESS": "public"}, "GRAPEVINE_ACCESS: `public` is not an access entry"),
        ({"GRAPEVINE_ACCESS": "slack=Pub-lic"}, "GRAPEVINE_ACCESS: `Pub-lic` is not a collection name"),
        ({"GRAPEVINE_ADMINS": "12345"}, "GRAPEVINE_ADMINS: must be a list like `telegram:12345,slack:U0ABC`"),
        (
            {"GRAPEVINE_ADMINS": "slack:U0ABC,telegram:alice"},
            "GRAPEVINE_ADMINS: must be a list like `telegram:12345,slack:U0ABC`; Telegram's are numeric ids",
        ),
        ({"GRAPEVINE_API_TOKENS": "short"}, "GRAPEVINE_API_TOKENS: every token"),
        ({"EMBEDDING_MODEL": "word2vec"}, "EMBEDDING_MODEL: "),
        ({"NEO4J_VECTOR_INDEX": "m=many"}, "NEO4J_VECTOR_INDEX: must be a list like `m=16 ef_construction=200"),
        ({"NEO4J_VECTOR_INDEX": "quantisation=int4"}, "NEO4J_VECTOR_INDEX: quantisation is `none`, `scalar`"),
        ({"NEO4J_TIMEOUTS": "2"}, "NEO4J_TIMEOUTS: must be a list like `acquisition=2 connect=1 liveness=30`"),
        ({"NEO4J_TIMEOUTS": "connect=0"}, "NEO4J_TIMEOUTS: each goes from above 0 to 600 seconds"),
    ],
)
def test_a_malformed_value_is_named_with_the_accepted_form(environ: dict[str, str], says: str) -> None:
    """Every malformed value yields a line that begins with its setting."""
    assert problem(**environ).startswith(says)


def test_a_list_of_parts_keeps_the_defaults_of_the_others() -> None:
    """Of Neo4j's timeouts only those that are named change"""
    assert parse_neo4j_timeouts("connect=0.5") == (2.0, 0.5, 30.0)
    assert parse_neo4j_timeouts(load({}, None)[0].neo4j_timeouts) == (2.0, 1.0, 30.0)


def test_a_malformed_secret_is_not_repeated() -> None:
    """A token with a typing error does not appear in the message about it."""
    assert "s3cr3t-value" not in problem(TELEGRAM_BOT_TOKEN="s3cr3t-value")


def test_every_problem_is_told_at_once() -> None:
    """Two mistakes are two lines, not two attempts."""
    assert len(problem(GRAPEVINE_PORT="x", GRAPEVINE_HOTS="y").splitlines()) == 2


def test_more_for_the_web_needs_tokens() -> None:
    """Giving the chat page more than strangers get is refused without API tokens."""
    assert "GRAPEVINE_API_TOKENS" in problem(GRAPEVINE_ACCESS="web=public,staff")
    load({"GRAPEVINE_ACCESS": "web=public,staff", "GRAPEVINE_API_TOKENS": "a" * 16}, None)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """`.env` fills in what the environment does not say; the source of each value is known."""
    dotenv = tmp_path / ".env"
    dotenv.write_text("GRAPEVINE_PORT=1111\nGRAPEVINE_HOST=0.0.0.0\n")
    settings, sources = load({"GRAPEVINE_PORT": "2222"}, dotenv)
    assert (settings.port, sources["port"]) == (2222, "environment")
    assert (settings.host, sources["host"]) == ("0.0.0.0", ".env")


def test_proxies_are_addresses_and_networks() -> None:
    """GRAPEVINE_PROXIES takes both; a host's name is refused with the accepted form."""
    assert load({"GRAPEVINE_PROXIES": "10.0.0.7, 172.16.0.0/12"}, None)[0].proxies == ("10.0.0.7", "172.16.0.0/12")
    assert "like `10.0.0.7,172.16.0.0/12`" in problem(GRAPEVINE_PROXIES="proxy.example.com")


def test_an_empty_value_counts_as_unset() -> None:
    """`OPENAI_API_KEY=` in a compose file does not configure a model."""
    assert not load({"OPENAI_API_KEY": "  "}, None)[0].has_model


def test_a_line_that_is_no_setting_is_named(tmp_path: Path) -> None:
    """A `.env` with a line that cannot be read says which; no setting is dropped in silence."""
    dotenv = tmp_path / ".env"
    dotenv.write_text("GRAPEVINE_PORT=1111\nthis is no line\n")
    with pytest.raises(SettingsError, match=r"\.env, line 2: is not NAME=value"):
        load({}, dotenv)


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    """A `.env` that is not UTF-8 is a problem with a cure, not a stack of Python."""
    dotenv = tmp_path / ".env"
    dotenv.write_bytes("GRAPEVINE_CONTACT=điện thoại".encode("utf-16"))
    with pytest.raises(SettingsError, match=r"\.env: is not UTF-8 text; save it as UTF-8"):
        load({}, dotenv)
