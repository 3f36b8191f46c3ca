"""Settings of the memory backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from codeweaver_backends.config import BackendConfig, Configures

if TYPE_CHECKING:
    from codeweaver_backends.memory.backend import MemoryBackend  # noqa: F401 - named in quotes, which the linter does not read

__all__ = ["MemoryConfig"]


class MemoryConfig(BackendConfig, Configures["MemoryBackend"]):
    """A backend without a store of its own shares the one it is given."""

    backend: ClassVar[str] = "memory"

    store: Any = Field(default=None, description="A MemoryStore to share between backends; a new one if absent")
