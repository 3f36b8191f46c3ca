"""The memory backend: exact, small, and the example that a plugin author copies."""

from codeweaver_backends.memory.backend import MemoryBackend
from codeweaver_backends.memory.config import MemoryConfig
from codeweaver_backends.memory.plugin import MemoryPlugin
from codeweaver_backends.memory.store import MemoryStore

__all__ = ["MemoryBackend", "MemoryConfig", "MemoryPlugin", "MemoryStore"]
