"""Everything the core raises on purpose.

RagError
├── InputError                 the caller's question or parameters cannot be served (say so; nothing is broken)
├── StoreError                 the store
│   ├── StoreUnavailable       cannot be reached or opened now
│   │   └── LoginRefused       its server refuses the name or the password: trying again soon would lock the login
│   ├── StoreCorrupt           its file is damaged; carries the way back
│   ├── StoreTooNew            written by a newer version
│   └── EmbeddingMismatch      its vectors come from another embedding model
├── EmbeddingError             the embedder cannot be loaded or did not answer
├── RerankError                the reranker cannot be loaded or did not answer; the ranking's order is kept
├── ModelError                 the language model
│   ├── ModelUnavailable       not reachable, 5xx, connection closed before the first token
│   ├── ModelRefusedKey        401 or 403
│   ├── ModelBusy              429
│   ├── ModelTimeout           no token before the deadline
│   ├── ModelInterrupted       died after the first token
│   └── ModelTruncated         ended the answer early itself: token limit, content filter
└── IngestError                one file cannot be ingested; the message is the one line its owner reads

Messages say what happened, to what, and what the person can do; they never carry a key or a question.
"""

from __future__ import annotations


class RagError(Exception):
    """The root of the tree."""


class InputError(RagError):
    """The caller's question or parameters cannot be served."""


class StoreError(RagError):
    """Something about the knowledge store."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or opened now."""


class LoginRefused(StoreUnavailable):
    """The store's server refuses the user name or the password."""


class StoreCorrupt(StoreError):
    """The store's file is damaged."""


class StoreTooNew(StoreError):
    """The store was written by a newer version of this program."""


class EmbeddingMismatch(StoreError):
    """The store's vectors come from another embedding model than the one configured."""


class EmbeddingError(RagError):
    """The embedder cannot be loaded, or did not answer."""


class RerankError(RagError):
    """The reranker cannot be loaded, or did not answer; at question time the ranking's order is kept."""


class ModelError(RagError):
    """Something about the language model; `code` is what the log line and `Failed` carry."""

    code = "model_error"


class ModelUnavailable(ModelError):
    """Not reachable, a server error, or the connection closed before the first token."""

    code = "model_unavailable"


class ModelRefusedKey(ModelError):
    """The endpoint refused the key (401 or 403)."""

    code = "model_refused_key"


class ModelBusy(ModelError):
    """The endpoint is limiting us (429)."""

    code = "model_busy"


class ModelTimeout(ModelError):
    """No (further) token before the deadline."""

    code = "timeout"


class ModelInterrupted(ModelError):
    """The stream died after the first token; what came before stands."""

    code = "model_interrupted"


class ModelTruncated(ModelError):
    """The model ended the answer early itself (token limit, content filter); what came before stands."""

    code = "model_truncated"


class IngestError(RagError):
    """One file cannot be ingested. The message is the one line its owner reads."""
