"""The engine's errors as the contract's.

The engine raises plain ``ValueError`` and ``RuntimeError``. Their kind is told by their text alone, and so is the path,
in which any words may stand: it is taken out first, and then only the engine's own phrases are looked for.
"""

from __future__ import annotations

import re
from typing import Final

from codeweaver_backends.errors import (
    BackendAuthenticationError,
    BackendConnectionError,
    BackendError,
    BackendTimeoutError,
    CollectionExistsError,
    CollectionNotFoundError,
    ConflictError,
    RateLimitError,
)

__all__ = ["is_conflict", "is_missing", "translate"]

_STATUS: Final = re.compile(r"non-2xx status code: (\d{3})\b|inner: Status \{ status: (\d{3}),")
_CODE: Final = re.compile(r"<Code>(\w+)</Code>")
_REFUSED: Final = frozenset(
    ("AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "RequestExpired", "SignatureDoesNotMatch")
)
"""Codes of an object store that refuses the credentials, some of them with the status of a bad request."""

_MISSING: Final = re.compile(r"\bNot found: |^Table '[^']*' was not found")
_GONE: Final = re.compile(r"^Table '[^']*' was not found|\bNot found: [^,]*\.lance/_versions\b")
_CONFLICT: Final = re.compile(r"commit conflict|Too many concurrent writers|preempted by concurrent transaction")
_TIMED_OUT: Final = re.compile(r"Query timeout|timed out")
_EXISTS: Final = re.compile(r"^Table '[^']*' already exists")
_FULL: Final = re.compile(r"\(os error (?:28|122)\)|code: (?:28|122),")
_INPUT_OUTPUT: Final = re.compile(
    r"LanceError\(IO\)|Failed to connect to namespace|\bGeneric \w+ error: |\(os error \d+\)|\bNot found: |is closed$"
)


def translate(error: Exception, place: str) -> BackendError | None:
    """The contract's error, or ``None`` for what the contract has no name for. ``place`` is a folder or an URI."""
    if not isinstance(error, ValueError | RuntimeError | OSError) or isinstance(error, TimeoutError):
        return None
    text = _without(place, str(error))
    status = _STATUS.search(text)
    if status is not None:
        return _answered(int(status[1] or status[2]), _CODE.search(text))
    if _CONFLICT.search(text):
        return ConflictError("a concurrent writer won")
    if _TIMED_OUT.search(text):
        return BackendTimeoutError("the engine gave no answer in time")
    if _EXISTS.search(text):
        return CollectionExistsError("the collection exists already")
    if _GONE.search(text):
        return CollectionNotFoundError("the collection does not exist")
    if _FULL.search(text):
        return BackendConnectionError("no space is left on the disk")
    if _INPUT_OUTPUT.search(text):
        return BackendConnectionError(f"the engine failed: {type(error).__name__}: {_first_line(text)}")
    return None


def is_missing(error: BaseException, place: str) -> bool:
    """Whether files were gone that the engine counted on: of a dropped table, or of a version swept away."""
    return _MISSING.search(_without(place, str(error))) is not None


def is_conflict(error: BaseException) -> bool:
    """Whether the write lost against another one, and may be tried again."""
    return isinstance(error, RuntimeError) and _CONFLICT.search(str(error)) is not None


def _answered(status: int, code: re.Match[str] | None) -> BackendError:
    told = f"{status} {code[1]}" if code is not None else f"{status}"
    if status in (401, 403) or (code is not None and code[1] in _REFUSED):
        return BackendAuthenticationError(f"the object store refused the credentials ({told})")
    if status == 429 or (code is not None and code[1] == "SlowDown"):
        return RateLimitError(f"the object store asks to slow down ({told})")
    return BackendConnectionError(f"the object store failed ({told})")


def _without(place: str, text: str) -> str:
    """The text without the place, which the engine writes whole, or without what leads to its root."""
    _, is_store, key = place.partition("://")
    below_root = (key.partition("/")[2] if is_store else place).strip("/")
    text = text.replace(place, "…") if len(place) > 1 else text
    return text.replace(f"{below_root}/", "…/") if below_root else text


def _first_line(text: str) -> str:
    return text.partition("\n")[0][:300]
