"""Whom outgoing connections trust and which proxy they take, the same for every client."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi

from bot.settings import SettingsError


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """Certificates checked against the system's and certifi's authorities, and those of `ca_file` (PEM) besides.

    SSL_CERT_FILE and SSL_CERT_DIR take the place of the system's and certifi's, as OpenSSL has it.

    Raises:
        SettingsError: If a file holds no certificates.
    """
    try:
        context = ssl.create_default_context()
        if not (os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")):
            context.load_verify_locations(cafile=certifi.where())  # a small container has no authorities of its own
        if ca_file is not None:
            context.load_verify_locations(cafile=ca_file)
    except (ssl.SSLError, OSError) as error:
        raise SettingsError(f"GRAPEVINE_CA_FILE: {ca_file} holds no certificates that can be read (PEM)") from error
    return context


def proxy_for(url: str) -> str | None:
    """The proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name for an address; None: none."""
    parts = urlsplit(url)
    if proxy_bypass(parts.netloc):
        return None
    return getproxies().get(parts.scheme)
