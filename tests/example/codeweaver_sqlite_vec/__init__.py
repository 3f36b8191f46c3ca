"""sqlite-vec behind the protocol: the example of the author's guide, small and complete."""

from codeweaver_sqlite_vec.config import SqliteVecConfig
from codeweaver_sqlite_vec.plugin import SqliteVecPlugin

__all__ = ["SqliteVecConfig", "SqliteVecPlugin"]
