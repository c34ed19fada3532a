"""Who owns a turn or a job: one start of one process."""

from __future__ import annotations

import os
import secrets
import socket


def new_owner() -> str:
    """`host/process/random`: no two starts have the same."""
    return f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"


def is_dead(owner: str, *, me: str) -> bool:
    """Whether this owner is certainly gone: a process of this machine that runs no more."""
    host, _, rest = owner.partition("/")
    pid = rest.partition("/")[0]
    if host != socket.gethostname() or owner == me or not pid.isdigit():
        return False
    if int(pid) == os.getpid():
        return True  # our number and not us: in a container every start has the same one
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
