"""Two certificates that nobody vouches for, but who is told to, and their keys, which are no secrets."""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["ELSEWHERE", "HERE", "Identity"]


@dataclass(frozen=True, slots=True)
class Identity:
    """A key, and a certificate that it has signed itself."""

    name: str
    key: str
    certificate: str

    def context(self, client: Identity | None = None) -> ssl.SSLContext:
        """A server's side of TLS, for HTTP and gRPC. With ``client`` only who has its key is listened to."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["h2", "http/1.1"])
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "both.pem"
            file.write_text(self.key + self.certificate, encoding="ascii")
            context.load_cert_chain(file)
        if client is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=client.certificate)
        return context


HERE: Final = Identity(
    name="127.0.0.1",
    key=(
        "-----BEGIN PRIVATE KEY-----\n"
        "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg5KySpukkEM2gWgzA\n"
        "yokf9Kfttxyc0BUQq6Cd2wGCtOihRANCAAQ5KXl5oKs76BSfR0j8BEseIUq8wlzC\n"
        "dueq8muACBsPQ5KTAvOwkmbvCcZmLGgkpxn6lORaItL8Ryr0Am7tEmgS\n"
        "-----END PRIVATE KEY-----\n"
    ),
    certificate=(
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
    ),
)

ELSEWHERE: Final = Identity(
    name="elsewhere.example",
    key=(
        "-----BEGIN PRIVATE KEY-----\n"
        "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgiLOiFwjWKL1s9hzW\n"
        "hPBNGcVR5hoqJZEJLnD06BnopHahRANCAARijBnlAzLPVKg4QpyTATzEk2uGwL3o\n"
        "PbRZOLIlGMepryCygfmqT3A4TlPF+1xSlsapArvA2CilwgW2FcgClbOI\n"
        "-----END PRIVATE KEY-----\n"
    ),
    certificate=(
        "-----BEGIN CERTIFICATE-----\n"
        "MIIBrTCCAVOgAwIBAgIUFUOG673GE8rPgVBBe4+fAtErcqMwCgYIKoZIzj0EAwIw\n"
        "HDEaMBgGA1UEAwwRZWxzZXdoZXJlLmV4YW1wbGUwIBcNMjYxMTMwMjAxNjMyWhgP\n"
        "MjEyNjExMDYyMDE2MzJaMBwxGjAYBgNVBAMMEWVsc2V3aGVyZS5leGFtcGxlMFkw\n"
        "EwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYowZ5QMyz1SoOEKckwE8xJNrhsC96D20\n"
        "WTiyJRjHqa8gsoH5qk9wOE5TxftcUpbGqQK7wNgopcIFthXIApWziKNxMG8wHQYD\n"
        "VR0OBBYEFB1zKuCFr3UT8xsztiEV4qqd02OgMB8GA1UdIwQYMBaAFB1zKuCFr3UT\n"
        "8xsztiEV4qqd02OgMA8GA1UdEwEB/wQFMAMBAf8wHAYDVR0RBBUwE4IRZWxzZXdo\n"
        "ZXJlLmV4YW1wbGUwCgYIKoZIzj0EAwIDSAAwRQIhAM99cGvSZKY4HzYvcMPSR6uI\n"
        "SEFaUfR9xjkBqJat8dS4AiB62y6C5/l/HkUHpVBkCGLZiFl8TZZ6F6Kx51qhQc/2\n"
        "TQ==\n"
        "-----END CERTIFICATE-----\n"
    ),
)
