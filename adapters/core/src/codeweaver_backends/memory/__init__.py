"""The memory backend: exact, small, and the example that a plugin author copies."""

from codeweaver_backends.memory.backend import MemoryBackend, MemoryStore
from codeweaver_backends.memory.config import MemoryConfig
from codeweaver_backends.memory.plugin import MemoryPlugin

__all__ = ["MemoryBackend", "MemoryConfig", "MemoryPlugin", "MemoryStore"]
