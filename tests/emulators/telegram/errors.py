"""What the emulated server refuses, in the words of the real one."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """A refusal, as the Bot API would send it."""

    def __init__(
        self, code: int, description: str, *, retry_after: int | None = None, migrated_to: int | None = None
    ) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.retry_after = retry_after
        self.migrated_to = migrated_to

    def body(self) -> dict[str, Any]:
        """The JSON the caller gets."""
        body: dict[str, Any] = {"ok": False, "error_code": self.code, "description": self.description}
        if self.retry_after is not None:
            body["parameters"] = {"retry_after": self.retry_after}
        if self.migrated_to is not None:
            body["parameters"] = {"migrate_to_chat_id": self.migrated_to}
        return body


def bad_request(what: str) -> ApiError:
    return ApiError(400, f"Bad Request: {what}")


def upgraded(chat_id: int) -> ApiError:
    return ApiError(400, "Bad Request: group chat was upgraded to a supergroup chat", migrated_to=chat_id)


def forbidden(what: str) -> ApiError:
    return ApiError(403, f"Forbidden: {what}")


def conflict(what: str) -> ApiError:
    return ApiError(409, f"Conflict: {what}")


def too_many(retry_after: int) -> ApiError:
    return ApiError(429, f"Too Many Requests: retry after {retry_after}", retry_after=retry_after)


NOT_MODIFIED = (
    "message is not modified: specified new message content and reply markup are exactly the same "
    "as a current content and reply markup of the message"
)
