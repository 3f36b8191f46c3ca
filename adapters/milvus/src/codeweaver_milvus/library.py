"""The one door to pymilvus, whose import would change the program.

Imported by itself, it loads a file ``.env`` into the environment, and fails on a ``MILVUS_URI`` that it cannot read.
Neither has a say here: connections are made from the adapter's own configuration.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

__all__ = ["AsyncMilvusClient", "CollectionSchema", "DataType", "MilvusException"]

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
