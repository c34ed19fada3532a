"""The kinds of values that settings have: each checked by itself, with the accepted form in its error."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, NamedTuple, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr

from bot.access import parse_access
from rag.embeddings import parse_model
from rag.rerank import parse_rerank

N = TypeVar("N", int, float)
T = TypeVar("T")

_WEBHOOK_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+/?")
_OWN_PATHS = frozenset({"api", "static", "slack", "metrics", "monitoring", "ws"})
_NEO4J_SCHEMES = frozenset({"bolt", "bolt+s", "bolt+ssc", "neo4j", "neo4j+s", "neo4j+ssc"})
_REDIS_SCHEMES = frozenset({"redis", "rediss", "unix"})
LONGEST_TIMEOUT_S = 600


class VectorIndex(NamedTuple):
    """`NEO4J_VECTOR_INDEX`, parsed."""

    m: int = 16
    ef_construction: int = 200
    quantisation: str = "none"


def parse_vector_index(text: str) -> VectorIndex:
    """The parts that `text` names over the defaults. Raises `ValueError` naming the accepted form."""
    given = dict(part.partition("=")[::2] for part in text.split())
    form = "must be a list like `m=16 ef_construction=200 quantisation=none`"
    if not given.keys() <= set(VectorIndex._fields) or not all(given.values()):
        raise ValueError(form)
    try:
        m, ef_construction = int(given.get("m", 16)), int(given.get("ef_construction", 200))
    except ValueError as error:
        raise ValueError(form) from error
    if not 1 <= m <= 512 or not 1 <= ef_construction <= 3200:
        raise ValueError("m goes from 1 to 512, ef_construction from 1 to 3200")
    quantisation = given.get("quantisation", "none")
    if quantisation not in {"none", "scalar", "binary"}:
        raise ValueError("quantisation is `none`, `scalar` or `binary`")
    return VectorIndex(m, ef_construction, quantisation)


class Neo4jTimeouts(NamedTuple):
    """`NEO4J_TIMEOUTS`, parsed: seconds."""

    acquisition: float = 2.0
    connect: float = 1.0
    liveness: float = 30.0


def parse_neo4j_timeouts(text: str) -> Neo4jTimeouts:
    """The parts that `text` names over the defaults. Raises `ValueError` naming the accepted form."""
    given = dict(part.partition("=")[::2] for part in text.split())
    form = "must be a list like `acquisition=2 connect=1 liveness=30`, in seconds"
    if not given.keys() <= set(Neo4jTimeouts._fields):
        raise ValueError(form)
    try:
        seconds = {name: float(value) for name, value in given.items()}
    except ValueError as error:
        raise ValueError(form) from error
    if not all(0 < value <= LONGEST_TIMEOUT_S for value in seconds.values()):
        raise ValueError(f"each goes from above 0 to {LONGEST_TIMEOUT_S} seconds")
    return Neo4jTimeouts(**seconds)


def parse_price(text: str) -> tuple[float, float]:
    """Of a million tokens in and out. Raises `ValueError` naming the accepted form."""
    first, slash, second = text.partition("/")
    try:
        price = float(first), float(second)
    except ValueError:
        slash = ""
    if not slash or not all(0 <= each < 1e6 for each in price):
        raise ValueError("must be two numbers like `0.15/0.60`: the price of a million tokens in and out")
    return price


def _is_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an address like `https://host/path`")
    return value


def _is_neo4j_uri(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in _NEO4J_SCHEMES or not parts.hostname:
        raise ValueError("must be an address like `bolt://host:7687` or `neo4j+s://host`")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a login; use NEO4J_USERNAME and NEO4J_PASSWORD")
    return value


def _is_redis_url(value: SecretStr) -> SecretStr:
    parts = urlsplit(value.get_secret_value())
    if parts.scheme not in _REDIS_SCHEMES or not (parts.hostname or parts.path):
        raise ValueError("must be an address like `redis://host:6379/0` or `rediss://:password@host:6379/0`")
    return value


def _is_webhook_url(value: str) -> str:
    parts = urlsplit(value)
    is_web = parts.scheme in {"http", "https"} and bool(parts.hostname)
    if not is_web or parts.username or parts.query or parts.port == 0:
        raise ValueError("must be an address like `https://bot.example.com/telegram/webhook`")
    if parts.path.strip("/"):
        if not _WEBHOOK_PATH.fullmatch(parts.path):
            raise ValueError("its path may hold letters, digits, `.`, `_`, `~`, `-` and `/` only")
        if parts.path.split("/")[1] in _OWN_PATHS:
            raise ValueError("its path is one of the server's own; take another, like `/telegram/webhook`")
    return value


def _is_file(value: Path) -> Path:
    if not value.is_file():
        raise ValueError("there is no such file")
    return value


def _are_people(value: frozenset[str]) -> frozenset[str]:
    # Telegram's ids have at most 52 bits (https://core.telegram.org/bots/api#user), and nobody is known by a @name.
    if any(not re.fullmatch(r"telegram:[0-9]{1,16}|slack:[\w-]+", person) for person in value):
        raise ValueError("must be a list like `telegram:12345,slack:U0ABC`; Telegram's are numeric ids")
    return value


def _are_networks(value: tuple[str, ...]) -> tuple[str, ...]:
    try:
        for name in value:
            ip_network(name)
    except ValueError as error:
        raise ValueError("must be a list of addresses and networks like `10.0.0.7,172.16.0.0/12`") from error
    return value


def _are_strong(value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    if any(len(token.get_secret_value()) < 16 for token in value):
        raise ValueError("every token must have at least 16 characters")
    return value


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _secret_like(pattern: str, form: str) -> AfterValidator:
    def check(value: SecretStr) -> SecretStr:
        if not re.fullmatch(pattern, value.get_secret_value()):
            raise ValueError(form)
        return value

    return AfterValidator(check)


def _understood_by(parse: Callable[[str], object]) -> AfterValidator:
    """Whatever `parse` takes; it says itself what it wants."""

    def check(value: str) -> str:
        parse(value)
        return value

    return AfterValidator(check)


def _from(low: float, high: float, what: str) -> AfterValidator:
    def check(value: N) -> N:
        if not low <= value <= high:
            raise ValueError(f"must be {what} from {low} to {high}")
        return value

    return AfterValidator(check)


def _is_not_negative(value: N) -> N:
    if not 0 <= value <= 1e12:
        raise ValueError("must be 0 or more")
    return value


HttpUrl = Annotated[str, AfterValidator(_is_url)]
Neo4jUri = Annotated[str, AfterValidator(_is_neo4j_uri)]
RedisUrl = Annotated[SecretStr, AfterValidator(_is_redis_url)]
WebhookUrl = Annotated[str, AfterValidator(_is_webhook_url)]
WebhookSecret = Annotated[
    SecretStr, _secret_like(r"[A-Za-z0-9_-]{16,256}", "must be 16 to 256 characters of A-Z, a-z, 0-9, _ and -")
]
BotToken = Annotated[
    SecretStr, _secret_like(r"\d+:[\w-]{20,}", "must look like `123456789:AA...`, as @BotFather gives it")
]
SlackBotToken = Annotated[
    SecretStr, _secret_like(r"xoxb-.*", "must look like `xoxb-...`: the Bot User OAuth Token of your Slack app")
]
SlackAppToken = Annotated[
    SecretStr, _secret_like(r"xapp-.*", "must look like `xapp-...`: an App-Level Token of your Slack app")
]
ModelPrice = Annotated[str, _understood_by(parse_price)]
Neo4jTimeoutsText = Annotated[str, _understood_by(parse_neo4j_timeouts)]
VectorIndexText = Annotated[str, _understood_by(parse_vector_index)]
EmbeddingModel = Annotated[str, _understood_by(parse_model)]
RerankerName = Annotated[str, _understood_by(parse_rerank)]
AccessText = Annotated[str, _understood_by(parse_access)]
PoolSize = Annotated[int, _from(2, 1000, "a number")]
Port = Annotated[int, _from(0, 65535, "a number")]
DeadlineSeconds = Annotated[float, _from(1, 600, "a number of seconds")]
DrainSeconds = Annotated[float, _from(0, 600, "a number of seconds")]
RetentionDays = Annotated[float, _from(1, 3650, "a number of days")]
SecondsOrNone = Annotated[float, AfterValidator(_is_not_negative)]
CountOrNone = Annotated[int, AfterValidator(_is_not_negative)]
"""0 switches it off."""
ExistingFile = Annotated[Path, AfterValidator(_is_file)]
People = Annotated[frozenset[str], BeforeValidator(_split), AfterValidator(_are_people)]
Networks = Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_are_networks)]
ApiTokens = Annotated[tuple[SecretStr, ...], BeforeValidator(_split), AfterValidator(_are_strong)]
