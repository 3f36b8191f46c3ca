"""A certificate that nobody vouches for, and its key, which is no secret: no client may take it."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path
from typing import Final

__all__ = ["untrusted"]

_KEY: Final = (
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg5KySpukkEM2gWgzA\n"
    "yokf9Kfttxyc0BUQq6Cd2wGCtOihRANCAAQ5KXl5oKs76BSfR0j8BEseIUq8wlzC\n"
    "dueq8muACBsPQ5KTAvOwkmbvCcZmLGgkpxn6lORaItL8Ryr0Am7tEmgS\n"
    "-----END PRIVATE KEY-----\n"
)
_CERTIFICATE: Final = (
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBmzCCAUGgAwIBAgIUGEtLCLPXiaz1QJR0/6dFjtxvyFIwCgYIKoZIzj0EAwIw\n"
    "FDESMBAGA1UEAwwJMTI3LjAuMC4xMCAXDTI2MTEzMDEyNTMyOFoYDzIxMjYxMTA2\n"
    "MTI1MzI4WjAUMRIwEAYDVQQDDAkxMjcuMC4wLjEwWTATBgcqhkjOPQIBBggqhkjO\n"
    "PQMBBwNCAAQ5KXl5oKs76BSfR0j8BEseIUq8wlzCdueq8muACBsPQ5KTAvOwkmbv\n"
    "CcZmLGgkpxn6lORaItL8Ryr0Am7tEmgSo28wbTAdBgNVHQ4EFgQUcpF3j3g2W0LW\n"
    "r1PsCBBIRxZBGr8wHwYDVR0jBBgwFoAUcpF3j3g2W0LWr1PsCBBIRxZBGr8wDwYD\n"
    "VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARhwR/AAABgglsb2NhbGhvc3QwCgYIKoZI\n"
    "zj0EAwIDSAAwRQIgZPY4ZXjmT030GFlZOttes+LMGb5WWB21uf0oUG2hou4CIQD7\n"
    "1T+RPAy+tmajcHPlpkgwJWtkZAOyiB8ypejY0+xbkA==\n"
    "-----END CERTIFICATE-----\n"
)


def untrusted() -> ssl.SSLContext:
    """A server's side of TLS, for 127.0.0.1, signed by itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "both.pem"
        file.write_text(_KEY + _CERTIFICATE, encoding="ascii")
        context.load_cert_chain(file)
    return context
