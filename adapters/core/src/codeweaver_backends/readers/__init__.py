"""Points from what holds them already: files of Parquet, Arrow, numpy and JSON lines, and tables in memory.

``read_points`` is a source of ``stream_upsert_vectors``. Imports, ``choose`` and ``bench`` read by the same readers.
"""

from codeweaver_backends.readers.layout import Columns, ReadError
from codeweaver_backends.readers.points import read_points

__all__ = ["Columns", "ReadError", "read_points"]
