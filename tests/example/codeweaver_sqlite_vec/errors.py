"""SQLite's errors as the contract's: by their class, never by their words."""

from __future__ import annotations

import apsw

from codeweaver_backends import BackendConnectionError, BackendError, ConflictError

__all__ = ["translate"]


def translate(error: Exception) -> BackendError | None:
    """The contract's error; ``None`` for what is not the engine's, or is a fault of ours."""
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return ConflictError("another process is writing to the file")
    if isinstance(error, apsw.CantOpenError | apsw.CorruptError | apsw.FullError | apsw.IOError | apsw.NotADBError):
        return BackendConnectionError(f"the file cannot be used: {type(error).__name__}: {error}")
    return None
