"""What the handlers need of the process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from adapters.ports import Inbound, StopOutcome, StopRequest

Accept = Callable[[Inbound], Awaitable[None]]
"""Records the question as owed and queues it; raises if it could not be recorded."""
Stop = Callable[[StopRequest], Awaitable[StopOutcome]]
