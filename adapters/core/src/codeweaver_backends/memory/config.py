"""Settings of the memory backend."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from codeweaver_backends.config import BackendConfig

__all__ = ["MemoryConfig"]


class MemoryConfig(BackendConfig):
    """A backend without a store of its own shares the one it is given."""

    backend: ClassVar[str] = "memory"

    store: Any = Field(default=None, description="A MemoryStore to share between backends; a new one if absent")
