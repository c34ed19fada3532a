"""One frozen, typed configuration from the environment and `.env`; `grapevine settings` prints it."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast
from urllib.parse import urlsplit

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from bot.access import DEFAULT_ACCESS, Access, parse_access
from rag.embeddings import parse_model
from rag.rerank import parse_rerank

PREFIX = "GRAPEVINE_"


TELEGRAM_API = "https://api.telegram.org"
_WEBHOOK_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+/?")
_NEO4J_SCHEMES = frozenset({"bolt", "bolt+s", "bolt+ssc", "neo4j", "neo4j+s", "neo4j+ssc"})


class SettingsError(Exception):
    """A setting is unknown or malformed; one line each, naming the setting and the accepted form."""


def _field(env: str, default: Any, meaning: str) -> Any:
    return Field(default=default, description=meaning, json_schema_extra={"env": env})


class Settings(BaseModel):
    """Everything that can be configured. Field names are the environment names in lower case, without the prefix."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    telegram_bot_token: SecretStr | None = _field("TELEGRAM_BOT_TOKEN", None, "Token from @BotFather; set: Telegram.")
    telegram_api_url: str = _field("TELEGRAM_API_URL", TELEGRAM_API, "Bot API server.")
    telegram_webhook_url: str | None = _field(
        "TELEGRAM_WEBHOOK_URL",
        None,
        "Public address that Telegram delivers to, e.g. `https://bot.example.com` (its path, or else "
        "`/telegram/webhook`); unset: long polling.",
    )
    telegram_webhook_secret: SecretStr | None = _field(
        "TELEGRAM_WEBHOOK_SECRET", None, "What Telegram proves itself with there; unset: made from the bot token."
    )
    telegram_streaming: Literal["edit", "draft"] = _field(
        "TELEGRAM_STREAMING", "edit", "How answers grow: `edit` a message, or `draft` (native, private chats only)."
    )
    slack_bot_token: SecretStr | None = _field("SLACK_BOT_TOKEN", None, "Bot token (xoxb-...) of the Slack app.")
    slack_app_token: SecretStr | None = _field(
        "SLACK_APP_TOKEN", None, "App-level token (xapp-...) with `connections:write`; both set: Slack."
    )
    slack_api_url: str = _field("SLACK_API_URL", "https://slack.com/api/", "Slack's web API.")
    openai_api_key: SecretStr | None = _field("OPENAI_API_KEY", None, "Key of the language model's endpoint.")
    openai_base_url: str | None = _field(
        "OPENAI_BASE_URL", None, "Any OpenAI-compatible endpoint, e.g. `http://127.0.0.1:11434/v1`."
    )
    llm_model: str = _field("LLM_MODEL", "gpt-4o-mini", "Model that writes the answers.")
    rewrite_model: str | None = _field(
        "GRAPEVINE_REWRITE_MODEL",
        None,
        "Model that makes follow-up questions stand alone, a fast one (`LLM_MODEL` if unset); `rule`: without a model.",
    )
    llm_price: str | None = _field(
        "LLM_PRICE",
        None,
        "Its price of a million tokens in and out, e.g. `0.15/0.60`; tells what `--extract llm` costs.",
    )
    embedding_model: str = _field(
        "EMBEDDING_MODEL", "minilm", "`minilm` (offline), `openai:NAME[@DIMENSIONS]` or `fastembed:NAME`."
    )
    embedding_base_url: str | None = _field(
        "EMBEDDING_BASE_URL", None, "Endpoint of `openai:` embeddings; unset: as OPENAI_BASE_URL."
    )
    embedding_api_key: SecretStr | None = _field(
        "EMBEDDING_API_KEY", None, "Key of the embeddings' endpoint; unset: as OPENAI_API_KEY."
    )
    rerank: str | None = _field(
        "GRAPEVINE_RERANK", None, "A second look at the best passages: `http` or `fastembed:NAME`; unset: none."
    )
    rerank_url: str | None = _field(
        "GRAPEVINE_RERANK_URL", None, "Address for `http`, e.g. `https://api.cohere.com/v2/rerank` or one of your own."
    )
    rerank_model: str | None = _field("GRAPEVINE_RERANK_MODEL", None, "Model to name there, if it wants one.")
    rerank_key: SecretStr | None = _field("GRAPEVINE_RERANK_KEY", None, "Key for it, if it wants one.")
    neo4j_uri: str | None = _field(
        "NEO4J_URI", None, "Neo4j that keeps the documents, e.g. `bolt://host:7687`; unset: a file in GRAPEVINE_DATA."
    )
    neo4j_username: str = _field("NEO4J_USERNAME", "neo4j", "User name in Neo4j.")
    neo4j_password: SecretStr | None = _field("NEO4J_PASSWORD", None, "Its password; unset: no login.")
    neo4j_database: str = _field("NEO4J_DATABASE", "neo4j", "Database in Neo4j.")
    neo4j_pool_size: int = _field("NEO4J_POOL_SIZE", 50, "Connections to Neo4j that may be open at once.")
    neo4j_vector_index: str = _field(
        "NEO4J_VECTOR_INDEX",
        "m=16 ef_construction=200 quantisation=none",
        "How new vector indexes are made; quantisation is `none`, `scalar` or `binary`.",
    )
    redis_url: SecretStr | None = _field(
        "REDIS_URL", None, "Redis that replicas share, e.g. `redis://host:6379/0`; unset: this process's own state."
    )
    data: Path = _field("GRAPEVINE_DATA", Path("./grapevine-data"), "Folder of the databases, keys and tokens.")
    host: str = _field("GRAPEVINE_HOST", "127.0.0.1", "Address that `serve` listens on.")
    port: int = _field("GRAPEVINE_PORT", 8080, "Port that `serve` listens on; 0 takes a free one.")
    admin_token: SecretStr | None = _field(
        "GRAPEVINE_ADMIN_TOKEN", None, "Bearer token of the admin endpoints; unset: made and kept in the data folder."
    )
    api_tokens: tuple[SecretStr, ...] = _field(
        "GRAPEVINE_API_TOKENS", (), "Bearer tokens of API callers, separated by commas."
    )
    admins: frozenset[str] = _field(
        "GRAPEVINE_ADMINS", frozenset(), "Admins on the platforms, e.g. `telegram:12345,slack:U0ABC`."
    )
    access: str = _field("GRAPEVINE_ACCESS", DEFAULT_ACCESS, "Which collections a place may read.")
    contact: str | None = _field(
        "GRAPEVINE_CONTACT", None, "Whom to point people to when the documents have no answer."
    )
    deadline_s: float = _field("GRAPEVINE_DEADLINE_S", 60.0, "Seconds from the question to the last token.")
    drain_s: float = _field(
        "GRAPEVINE_DRAIN_S", 25.0, "Seconds that running answers get to end when `serve` stops; the rest is resumed."
    )
    backlog_s: float = _field(
        "GRAPEVINE_BACKLOG_S",
        600.0,
        "Telegram questions that waited longer for the bot get an apology, one a chat; 0: all are answered.",
    )
    asks_per_minute: int = _field(
        "GRAPEVINE_ASKS_PER_MINUTE", 0, "Questions a minute that one person may ask on Telegram and Slack; 0: any."
    )
    daily_tokens_per_person: int = _field(
        "GRAPEVINE_DAILY_TOKENS_PER_PERSON", 0, "Model tokens a day (UTC) for one person's questions there; 0: any."
    )
    daily_tokens: int = _field(
        "GRAPEVINE_DAILY_TOKENS", 0, "Model tokens a day (UTC) for all questions there together; 0: any."
    )
    ca_file: Path | None = _field(
        "GRAPEVINE_CA_FILE", None, "Certificates (PEM) to trust besides the usual ones, e.g. your proxy's."
    )
    retention_days: float = _field(
        "GRAPEVINE_RETENTION_DAYS", 30.0, "Days after which the record of a question that was answered is deleted."
    )
    log: str = _field("GRAPEVINE_LOG", "-", "A file, or `-`: standard output, readable on a terminal, JSON otherwise.")

    @field_validator("openai_base_url", "embedding_base_url", "telegram_api_url", "slack_api_url", "rerank_url")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        if value is not None:
            parts = urlsplit(value)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ValueError("must be an address like `https://host/path`")
        return value

    @field_validator("llm_price")
    @classmethod
    def _is_price(cls, value: str | None) -> str | None:
        if value is not None:
            parse_price(value)
        return value

    @field_validator("neo4j_uri")
    @classmethod
    def _is_neo4j_uri(cls, value: str | None) -> str | None:
        if value is not None:
            parts = urlsplit(value)
            if parts.scheme not in _NEO4J_SCHEMES or not parts.hostname:
                raise ValueError("must be an address like `bolt://host:7687` or `neo4j+s://host`")
            if parts.username is not None or parts.password is not None:
                raise ValueError("must not hold a login; use NEO4J_USERNAME and NEO4J_PASSWORD")
        return value

    @field_validator("neo4j_pool_size")
    @classmethod
    def _is_pool_size(cls, value: int) -> int:
        if not 2 <= value <= 1000:
            raise ValueError("must be a number from 2 to 1000")
        return value

    @field_validator("neo4j_vector_index")
    @classmethod
    def _is_vector_index(cls, value: str) -> str:
        parse_vector_index(value)
        return value

    @field_validator("telegram_bot_token")
    @classmethod
    def _is_bot_token(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"\d+:[\w-]{20,}", value.get_secret_value()):
            raise ValueError("must look like `123456789:AA...`, as @BotFather gives it")
        return value

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parts = urlsplit(value.get_secret_value())
            if parts.scheme not in {"redis", "rediss", "unix"} or not (parts.hostname or parts.path):
                raise ValueError("must be an address like `redis://host:6379/0` or `rediss://:password@host:6379/0`")
        return value

    @field_validator("slack_bot_token")
    @classmethod
    def _is_slack_bot_token(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith("xoxb-"):
            raise ValueError("must look like `xoxb-...`: the Bot User OAuth Token of your Slack app")
        return value

    @field_validator("slack_app_token")
    @classmethod
    def _is_slack_app_token(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith("xapp-"):
            raise ValueError("must look like `xapp-...`: an App-Level Token of your Slack app")
        return value

    @field_validator("embedding_model")
    @classmethod
    def _is_embedding_model(cls, value: str) -> str:
        parse_model(value)
        return value

    @field_validator("rerank")
    @classmethod
    def _is_reranker(cls, value: str | None) -> str | None:
        if value is not None:
            parse_rerank(value)
        return value

    @field_validator("telegram_webhook_secret")
    @classmethod
    def _is_webhook_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9_-]{16,256}", value.get_secret_value()):
            raise ValueError("must be 16 to 256 characters of A-Z, a-z, 0-9, _ and -")
        return value

    @field_validator("telegram_webhook_url")
    @classmethod
    def _is_webhook_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if (
            parts.scheme not in {"http", "https"}
            or not parts.hostname
            or parts.username
            or parts.query
            or parts.port == 0
        ):
            raise ValueError("must be an address like `https://bot.example.com/telegram/webhook`")
        if parts.path.strip("/"):
            if not _WEBHOOK_PATH.fullmatch(parts.path):
                raise ValueError("its path may hold letters, digits, `.`, `_`, `~`, `-` and `/` only")
            if parts.path.split("/")[1] in {"api", "static", "slack", "metrics", "monitoring", "ws"}:
                raise ValueError("its path is one of the server's own; take another, like `/telegram/webhook`")
        return value

    @field_validator("backlog_s", "asks_per_minute", "daily_tokens_per_person", "daily_tokens")
    @classmethod
    def _is_not_negative(cls, value: float) -> float:
        if not 0 <= value <= 1e12:
            raise ValueError("must be 0 or more")
        return value

    @field_validator("ca_file")
    @classmethod
    def _is_file(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError("there is no such file")
        return value

    @field_validator("port")
    @classmethod
    def _is_port(cls, value: int) -> int:
        if not 0 <= value <= 65535:
            raise ValueError("must be a number from 0 to 65535")
        return value

    @field_validator("deadline_s")
    @classmethod
    def _is_deadline(cls, value: float) -> float:
        if not 1 <= value <= 600:
            raise ValueError("must be a number of seconds from 1 to 600")
        return value

    @field_validator("drain_s")
    @classmethod
    def _is_drain(cls, value: float) -> float:
        if not 0 <= value <= 600:
            raise ValueError("must be a number of seconds from 0 to 600")
        return value

    @field_validator("retention_days")
    @classmethod
    def _is_retention(cls, value: float) -> float:
        if not 1 <= value <= 3650:
            raise ValueError("must be a number of days from 1 to 3650")
        return value

    @field_validator("api_tokens", "admins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("admins")
    @classmethod
    def _are_people(cls, value: frozenset[str]) -> frozenset[str]:
        if any(not re.fullmatch(r"(?:telegram|slack):[\w-]+", person) for person in value):
            raise ValueError("must be a list like `telegram:12345,slack:U0ABC`")
        return value

    @field_validator("api_tokens")
    @classmethod
    def _are_strong(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(token.get_secret_value()) < 16 for token in value):
            raise ValueError("every token must have at least 16 characters")
        return value

    @field_validator("access")
    @classmethod
    def _is_access(cls, value: str) -> str:
        parse_access(value)
        return value

    @model_validator(mode="after")
    def _tokens_guard_access(self) -> Settings:
        wide = [name for name in ("web", "api") if parse_access(self.access).exceeds_default(name)]
        if wide and not self.api_tokens:
            raise ValueError(
                f"GRAPEVINE_ACCESS gives {' and '.join(wide)} more than `*`: set GRAPEVINE_API_TOKENS, so that only "
                "callers with a token get it"
            )
        return self

    @model_validator(mode="after")
    def _slack_has_both_tokens(self) -> Settings:
        if (self.slack_bot_token is None) != (self.slack_app_token is None):
            missing = "SLACK_APP_TOKEN" if self.slack_app_token is None else "SLACK_BOT_TOKEN"
            raise ValueError(f"{missing} is missing: Slack over Socket Mode needs SLACK_BOT_TOKEN and SLACK_APP_TOKEN")
        return self

    @model_validator(mode="after")
    def _telegram_accepts_the_webhook(self) -> Settings:
        if self.telegram_webhook_url is not None and self.telegram_api_url.rstrip("/") == TELEGRAM_API:
            parts = urlsplit(self.telegram_webhook_url)
            if parts.scheme != "https" or (parts.port or 443) not in {443, 80, 88, 8443}:
                raise ValueError(
                    "TELEGRAM_WEBHOOK_URL: Telegram delivers only to https:// and to the ports 443, 80, 88 and 8443"
                )
        return self

    @model_validator(mode="after")
    def _reranker_has_an_address(self) -> Settings:
        if self.rerank is not None and parse_rerank(self.rerank).kind == "http" and self.rerank_url is None:
            raise ValueError("GRAPEVINE_RERANK=http needs GRAPEVINE_RERANK_URL, like `https://host/v1/rerank`")
        return self

    @property
    def access_map(self) -> Access:
        """The access map, parsed."""
        return parse_access(self.access)

    @property
    def webhook_path(self) -> str | None:
        """Where Telegram's deliveries arrive; None: updates are polled for."""
        if self.telegram_webhook_url is None:
            return None
        path = urlsplit(self.telegram_webhook_url).path
        return path if path.strip("/") else "/telegram/webhook"

    @property
    def webhook_address(self) -> str | None:
        """What Telegram is told to deliver to."""
        if self.telegram_webhook_url is None:
            return None
        return urlsplit(self.telegram_webhook_url)._replace(path=self.webhook_path or "").geturl()

    @property
    def has_model(self) -> bool:
        """Whether a language model is configured; without one, answers are extractive."""
        return self.openai_api_key is not None or self.openai_base_url is not None

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret value, so that the log can mask them."""
        single = (
            self.telegram_bot_token,
            self.telegram_webhook_secret,
            self.slack_bot_token,
            self.slack_app_token,
            self.openai_api_key,
            self.embedding_api_key,
            self.rerank_key,
            self.admin_token,
            self.redis_url,
            self.neo4j_password,
        )
        return tuple(secret.get_secret_value() for secret in (*single, *self.api_tokens) if secret)


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


def env_name(field: str) -> str:
    """The environment variable of a field of `Settings`."""
    extra = cast("dict[str, str]", Settings.model_fields[field].json_schema_extra)
    return extra["env"]


ENV_NAMES: Mapping[str, str] = {env_name(field): field for field in Settings.model_fields}
"""Environment variable to field, in the order in which they are documented."""

Source = Literal["environment", ".env", "default"]


def load(
    environ: Mapping[str, str] | None = None, dotenv: Path | None = Path(".env")
) -> tuple[Settings, dict[str, Source]]:
    """The configuration, and where each field's value comes from.

    The environment wins over `.env`; an empty value counts as unset.

    Raises:
        SettingsError: One line for every unknown `GRAPEVINE_` name and every malformed value.
    """
    environ = os.environ if environ is None else environ
    from_file = _read(dotenv) if dotenv and dotenv.is_file() else {}
    problems = [
        _unknown(name) for name in sorted({*environ, *from_file}) if name.startswith(PREFIX) and name not in ENV_NAMES
    ]
    values: dict[str, str] = {}
    sources: dict[str, Source] = dict.fromkeys(Settings.model_fields, "default")
    for name, field in ENV_NAMES.items():
        for source, place in (("environment", environ), (".env", from_file)):
            if value := (place.get(name) or "").strip():
                values[field], sources[field] = value, cast("Source", source)
                break
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        problems += [_malformed(detail) for detail in error.errors(include_url=False, include_input=False)]
        raise SettingsError("\n".join(problems)) from None
    if problems:
        raise SettingsError("\n".join(problems))
    return settings, sources


def _read(dotenv: Path) -> dict[str, str]:
    try:
        with dotenv.open(encoding="utf-8") as lines:
            wrong = next((binding.original.line for binding in parse_stream(lines) if binding.error), None)
        if wrong is not None:
            raise SettingsError(f"{dotenv}, line {wrong}: is not NAME=value; quote a value that holds spaces or quotes")
        return {name: value for name, value in dotenv_values(dotenv).items() if value}
    except OSError as error:
        raise SettingsError(f"{dotenv}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{dotenv}: is not UTF-8 text; save it as UTF-8") from None


def _unknown(name: str) -> str:
    # Without the prefix: with it, every name resembles every other.
    known = {other.removeprefix(PREFIX): other for other in ENV_NAMES if other.startswith(PREFIX)}
    near = difflib.get_close_matches(name.removeprefix(PREFIX), known, n=1)
    hint = f"did you mean {known[near[0]]}?" if near else "`grapevine settings` lists what there is"
    return f"{name}: there is no such setting; {hint}"


def _malformed(detail: Any) -> str:
    message = str(detail["msg"]).removeprefix("Value error, ")
    if not detail["loc"]:
        return message
    forms = {
        "int_parsing": "must be a whole number",
        "float_parsing": "must be a number",
        "literal_error": f"must be {detail.get('ctx', {}).get('expected', 'one of the names given')}",
    }
    return f"{env_name(str(detail['loc'][0]))}: {forms.get(detail['type'], message)}"
