"""The one door to pymilvus, whose import would change the program.

Imported by itself, it loads a file ``.env`` into the environment, and fails on a ``MILVUS_URI`` that it cannot read.
Neither has a say here: connections are made from the adapter's own configuration.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Final

__all__ = ["AsyncMilvusClient", "CollectionSchema", "DataType", "MilvusException", "quietly"]

_READ: Final = ("MILVUS_URI", "MILVUS_DEFAULT_CONNECTION", "MILVUS_CONN_ALIAS", "MILVUS_CONN_TIMEOUT")
"""The variables that pymilvus reads when it is imported."""


@contextmanager
def _left_alone() -> Iterator[None]:
    """The environment without pymilvus's variables, and nothing that reads ``.env`` into it."""
    kept = {name: os.environ.pop(name) for name in _READ if name in os.environ}
    dotenv: Any = None
    with suppress(ImportError):
        import dotenv
    load = getattr(dotenv, "load_dotenv", None)
    if dotenv is not None:
        dotenv.load_dotenv = lambda *args, **kwargs: False
    try:
        yield
    finally:
        if dotenv is not None:
            dotenv.load_dotenv = load
        os.environ.update(kept)


with _left_alone():
    from pymilvus import AsyncMilvusClient, CollectionSchema, DataType
    from pymilvus.exceptions import MilvusException


_calling: ContextVar[bool] = ContextVar("calling", default=False)


class _OursOnly(logging.Filter):
    """Drops what the client logs of calls made here: each of its failures is raised, and told by whom it concerns."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not _calling.get()


_FILTER: Final = _OursOnly()


@contextmanager
def quietly() -> Iterator[None]:
    """A call in which pymilvus logs nothing."""
    for handler in logging.getLogger("pymilvus").handlers:
        if _FILTER not in handler.filters:
            handler.addFilter(_FILTER)
    token = _calling.set(True)
    try:
        yield
    finally:
        _calling.reset(token)
