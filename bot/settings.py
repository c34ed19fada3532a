"""One frozen, typed configuration from the environment and `.env`; `grapevine settings` prints it."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from bot.access import DEFAULT_ACCESS, Access, parse_access
from bot.setting_values import (
    AccessText,
    ApiTokens,
    BotToken,
    CountOrNone,
    DeadlineSeconds,
    DrainSeconds,
    EmbeddingModel,
    ExistingFile,
    HttpUrl,
    ModelPrice,
    Neo4jTimeoutsText,
    Neo4jUri,
    Networks,
    People,
    PoolSize,
    Port,
    RedisUrl,
    RerankerName,
    RetentionDays,
    SecondsOrNone,
    SlackAppToken,
    SlackBotToken,
    VectorIndexText,
    WebhookSecret,
    WebhookUrl,
)
from rag.rerank import parse_rerank

PREFIX = "GRAPEVINE_"


TELEGRAM_API = "https://api.telegram.org"


class SettingsError(Exception):
    """A setting is unknown or malformed; one line each, naming the setting and the accepted form."""


def _field(env: str, default: Any, meaning: str) -> Any:
    return Field(default=default, description=meaning, json_schema_extra={"env": env})


class Settings(BaseModel):
    """Everything that can be configured. Field names are the environment names in lower case, without the prefix."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    telegram_bot_token: BotToken | None = _field("TELEGRAM_BOT_TOKEN", None, "Token from @BotFather; set: Telegram.")
    telegram_api_url: HttpUrl = _field("TELEGRAM_API_URL", TELEGRAM_API, "Bot API server.")
    telegram_webhook_url: WebhookUrl | None = _field(
        "TELEGRAM_WEBHOOK_URL",
        None,
        "Public address that Telegram delivers to, e.g. `https://bot.example.com` (its path, or else "
        "`/telegram/webhook`); unset: long polling.",
    )
    telegram_webhook_secret: WebhookSecret | None = _field(
        "TELEGRAM_WEBHOOK_SECRET", None, "What Telegram proves itself with there; unset: made from the bot token."
    )
    telegram_streaming: Literal["edit", "draft"] = _field(
        "TELEGRAM_STREAMING", "edit", "How answers grow: `edit` a message, or `draft` (native, private chats only)."
    )
    slack_bot_token: SlackBotToken | None = _field("SLACK_BOT_TOKEN", None, "Bot token (xoxb-...) of the Slack app.")
    slack_app_token: SlackAppToken | None = _field(
        "SLACK_APP_TOKEN", None, "App-level token (xapp-...) with `connections:write`; both set: Slack."
    )
    slack_api_url: HttpUrl = _field("SLACK_API_URL", "https://slack.com/api/", "Slack's web API.")
    openai_api_key: SecretStr | None = _field("OPENAI_API_KEY", None, "Key of the language model's endpoint.")
    openai_base_url: HttpUrl | None = _field(
        "OPENAI_BASE_URL", None, "Any OpenAI-compatible endpoint, e.g. `http://127.0.0.1:11434/v1`."
    )
    llm_model: str = _field("LLM_MODEL", "gpt-4o-mini", "Model that writes the answers.")
    rewrite_model: str | None = _field(
        "GRAPEVINE_REWRITE_MODEL",
        None,
        "Model that makes follow-up questions stand alone, a fast one (`LLM_MODEL` if unset); `rule`: without a model.",
    )
    llm_price: ModelPrice | None = _field(
        "LLM_PRICE",
        None,
        "Its price of a million tokens in and out, e.g. `0.15/0.60`; tells what `--extract llm` costs.",
    )
    embedding_model: EmbeddingModel = _field(
        "EMBEDDING_MODEL", "minilm", "`minilm` (offline), `openai:NAME[@DIMENSIONS]` or `fastembed:NAME`."
    )
    embedding_base_url: HttpUrl | None = _field(
        "EMBEDDING_BASE_URL", None, "Endpoint of `openai:` embeddings; unset: as OPENAI_BASE_URL."
    )
    embedding_api_key: SecretStr | None = _field(
        "EMBEDDING_API_KEY", None, "Key of the embeddings' endpoint; unset: as OPENAI_API_KEY."
    )
    rerank: RerankerName | None = _field(
        "GRAPEVINE_RERANK", None, "A second look at the best passages: `http` or `fastembed:NAME`; unset: none."
    )
    rerank_url: HttpUrl | None = _field(
        "GRAPEVINE_RERANK_URL", None, "Address for `http`, e.g. `https://api.cohere.com/v2/rerank` or one of your own."
    )
    rerank_model: str | None = _field("GRAPEVINE_RERANK_MODEL", None, "Model to name there, if it wants one.")
    rerank_key: SecretStr | None = _field("GRAPEVINE_RERANK_KEY", None, "Key for it, if it wants one.")
    neo4j_uri: Neo4jUri | None = _field(
        "NEO4J_URI", None, "Neo4j that keeps the documents, e.g. `bolt://host:7687`; unset: a file in GRAPEVINE_DATA."
    )
    neo4j_username: str = _field("NEO4J_USERNAME", "neo4j", "User name in Neo4j.")
    neo4j_password: SecretStr | None = _field("NEO4J_PASSWORD", None, "Its password; unset: no login.")
    neo4j_database: str = _field("NEO4J_DATABASE", "neo4j", "Database in Neo4j.")
    neo4j_pool_size: PoolSize = _field("NEO4J_POOL_SIZE", 50, "Connections to Neo4j that may be open at once.")
    neo4j_timeouts: Neo4jTimeoutsText = _field(
        "NEO4J_TIMEOUTS",
        "acquisition=2 connect=1 liveness=30",
        "Seconds to wait for a free connection and for a new one, and how long an idle one is trusted unchecked.",
    )
    neo4j_vector_index: VectorIndexText = _field(
        "NEO4J_VECTOR_INDEX",
        "m=16 ef_construction=200 quantisation=none",
        "How new vector indexes are made; quantisation is `none`, `scalar` or `binary`.",
    )
    redis_url: RedisUrl | None = _field(
        "REDIS_URL", None, "Redis that replicas share, e.g. `redis://host:6379/0`; unset: this process's own state."
    )
    data: Path = _field("GRAPEVINE_DATA", Path("./grapevine-data"), "Folder of the databases, keys and tokens.")
    host: str = _field("GRAPEVINE_HOST", "127.0.0.1", "Address that `serve` listens on.")
    port: Port = _field("GRAPEVINE_PORT", 8080, "Port that `serve` listens on; 0 takes a free one.")
    admin_token: SecretStr | None = _field(
        "GRAPEVINE_ADMIN_TOKEN", None, "Bearer token of the admin endpoints; unset: made and kept in the data folder."
    )
    api_tokens: ApiTokens = _field("GRAPEVINE_API_TOKENS", (), "Bearer tokens of API callers, separated by commas.")
    admins: People = _field(
        "GRAPEVINE_ADMINS", frozenset(), "Admins on the platforms, e.g. `telegram:12345,slack:U0ABC`."
    )
    access: AccessText = _field("GRAPEVINE_ACCESS", DEFAULT_ACCESS, "Which collections a place may read.")
    contact: str | None = _field(
        "GRAPEVINE_CONTACT", None, "Whom to point people to when the documents have no answer."
    )
    deadline_s: DeadlineSeconds = _field("GRAPEVINE_DEADLINE_S", 60.0, "Seconds from the question to the last token.")
    drain_s: DrainSeconds = _field(
        "GRAPEVINE_DRAIN_S", 25.0, "Seconds that running answers get to end when `serve` stops; the rest is resumed."
    )
    backlog_s: SecondsOrNone = _field(
        "GRAPEVINE_BACKLOG_S",
        600.0,
        "Telegram questions that waited longer for the bot get an apology, one a chat; 0: all are answered.",
    )
    asks_per_minute: CountOrNone = _field(
        "GRAPEVINE_ASKS_PER_MINUTE", 0, "Questions a minute that one person may ask on Telegram and Slack; 0: any."
    )
    daily_tokens_per_person: CountOrNone = _field(
        "GRAPEVINE_DAILY_TOKENS_PER_PERSON", 0, "Model tokens a day (UTC) for one person's questions there; 0: any."
    )
    daily_tokens: CountOrNone = _field(
        "GRAPEVINE_DAILY_TOKENS", 0, "Model tokens a day (UTC) for all questions there together; 0: any."
    )
    proxies: Networks = _field(
        "GRAPEVINE_PROXIES",
        ("127.0.0.0/8", "::1/128"),
        "Reverse proxies (addresses, networks) whose `X-Forwarded-For` is believed.",
    )
    ca_file: ExistingFile | None = _field(
        "GRAPEVINE_CA_FILE", None, "Certificates (PEM) to trust besides the usual ones, e.g. your proxy's."
    )
    retention_days: RetentionDays = _field(
        "GRAPEVINE_RETENTION_DAYS", 30.0, "Days that questions, answers and ratings are kept."
    )
    log: str = _field("GRAPEVINE_LOG", "-", "A file, or `-`: standard output, readable on a terminal, JSON otherwise.")

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
