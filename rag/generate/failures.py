"""What goes wrong at a model endpoint, in our words: what happened, where, and what the operator can do.

The endpoint's own message is never quoted: OpenAI's repeats the key ("Incorrect API key provided: sk-..."), others
repeat the prompt.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from openai import APIConnectionError, APIError, APIStatusError, APITimeoutError

from rag.errors import ModelBusy, ModelError, ModelRefusedKey, ModelTimeout, ModelUnavailable


def endpoint(base_url: str) -> str:
    """The host and port of `base_url`, without what a URL may hold of credentials and paths."""
    parts = urlsplit(base_url)
    host = parts.hostname or "the model endpoint"
    return f"{host}:{parts.port}" if parts.port else host


def explained(error: Exception, *, endpoint: str, model: str) -> ModelError:
    """The error of our tree that `error`, raised before the first token, stands for."""
    if isinstance(error, APIStatusError):
        return _status(error.status_code, error.code, endpoint=endpoint, model=model)
    if isinstance(error, APITimeoutError):
        return ModelTimeout(f"{endpoint} did not answer in time (OPENAI_BASE_URL)")
    if isinstance(error, APIConnectionError):
        cause = type(error.__cause__ or error).__name__
        return ModelUnavailable(f"no connection to {endpoint} ({cause}): check OPENAI_BASE_URL and the network")
    if isinstance(error, APIError):
        if error.code in {"429", "rate_limit_exceeded"}:
            return _status(429, error.code, endpoint=endpoint, model=model)
        return ModelUnavailable(f"{endpoint} reported an error instead of an answer from {model}")
    return ModelUnavailable(
        f"{endpoint} answered with something that is no completion ({type(error).__name__}): check OPENAI_BASE_URL"
    )


def is_worth_retrying(error: Exception) -> bool:
    """Whether the same request may succeed a moment later."""
    if isinstance(error, APIStatusError):
        if error.code == "insufficient_quota":
            return False
        return error.status_code in {408, 409, 425, 429} or error.status_code >= 500
    # A plain APIError is an error event inside the stream: a gateway whose provider just failed.
    return isinstance(error, APIError)


def retry_after_s(error: Exception) -> float | None:
    """The pause the endpoint asks for, in seconds; None if it asks for none or in a form of its own."""
    if not isinstance(error, APIStatusError):
        return None
    try:
        return max(0.0, float(error.response.headers.get("retry-after", "")))
    except ValueError:
        return None


def _status(status: int, code: str | None, *, endpoint: str, model: str) -> ModelError:
    if status in {401, 403}:
        return ModelRefusedKey(f"{endpoint} refused the key ({status}): check OPENAI_API_KEY and OPENAI_BASE_URL")
    if status == 429:
        return ModelBusy(f"{endpoint} is limiting us (429): too many requests, or the account's quota is used up")
    if status == 404:
        return ModelUnavailable(
            f"{endpoint} does not know the model or the path (404): check LLM_MODEL ({model}) and OPENAI_BASE_URL "
            "(it usually ends in /v1)"
        )
    if status >= 500:
        return ModelUnavailable(f"{endpoint} failed ({status})")
    if code == "context_length_exceeded":
        return ModelUnavailable(f"the prompt does not fit into the context window of LLM_MODEL ({model})")
    return ModelUnavailable(f"{endpoint} refused the request ({status}): check LLM_MODEL ({model})")
