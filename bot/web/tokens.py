"""Bearer tokens: who is the admin, who may call the API."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable


class Tokens:
    """Knows tokens by fingerprint only; every comparison takes the same time whether it holds or not."""

    def __init__(self, *, admin: str | None = None, api: Iterable[str] = (), key: bytes) -> None:
        """Take the configured tokens.

        Args:
            admin: The admin's token; None: nobody is.
            api: The tokens of API callers.
            key: A kept secret, so that fingerprints cannot be tried out offline.
        """
        self._key = key
        self._admin = self._fingerprint(admin) if admin else None
        self._api = tuple(self._fingerprint(token) for token in api)

    @property
    def has_api_tokens(self) -> bool:
        """Whether API tokens are configured at all."""
        return bool(self._api)

    def is_admin(self, token: str) -> bool:
        """Whether this is the admin's token."""
        return self._admin is not None and hmac.compare_digest(self._admin, self._fingerprint(token))

    def api_caller(self, token: str) -> str | None:
        """The lasting id of the caller who holds this API token; None if it is not one."""
        offered = self._fingerprint(token)
        return offered if self.is_current(offered) else None

    def is_current(self, caller: str) -> bool:
        """Whether a caller's id still belongs to a configured token."""
        # No early exit: which of the tokens matched should not be measurable.
        return sum(hmac.compare_digest(caller.encode(), known.encode()) for known in self._api) > 0

    def _fingerprint(self, token: str) -> str:
        return hmac.new(self._key, b"token\0" + token.encode(errors="replace"), hashlib.sha256).hexdigest()[:32]
