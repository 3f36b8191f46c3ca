"""Settings: the folder of the file, from ``EmbeddedConfig``."""

from __future__ import annotations

from typing import ClassVar

from codeweaver_backends.sdk import EmbeddedConfig

__all__ = ["SqliteVecConfig"]


class SqliteVecConfig(EmbeddedConfig):
    """A folder, with one SQLite file in it for all collections."""

    backend: ClassVar[str] = "sqlite-vec"
