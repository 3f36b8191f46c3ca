"""The journal of a copy: how far each collection is, so that the same copy goes on where it was stopped.

It is a small JSON file, replaced as a whole after every batch that the target acknowledged: also after a kill or a loss
of power it is an old one or a new one, never half of one. A batch that was written and not yet noted is written again,
which changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import orjson

from codeweaver_backends.transfer.report import TransferError

__all__ = ["Entry", "Journal"]

FORMAT: Final = "codeweaver-journal/1"


@dataclass(slots=True)
class Entry:
    """One collection of the copy."""

    state: Literal["new", "creating", "writing", "written", "done"] = "new"
    cursor: str | None = None
    """Where the source's next page begins."""
    written: int = 0
    is_ours: bool = False
    """Whether this copy created the target's collection, so that it may delete from it."""


class Journal:
    """The entries of one copy; without a path they are kept in memory only."""

    def __init__(self, path: Path | None, identity: str, *, is_kept: bool = False) -> None:
        self._path = path
        self._is_kept = is_kept
        self._identity = identity
        self._entries: dict[str, Entry] = {}
        if path is not None and path.exists():
            self._load(path)

    def _load(self, path: Path) -> None:
        try:
            content: dict[str, Any] = orjson.loads(path.read_bytes())
            known, identity = content["format"], content["identity"]
            entries = {name: Entry(**entry) for name, entry in content["collections"].items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise TransferError(f"the journal {str(path)!r} cannot be read: {type(error).__name__}") from None
        if known != FORMAT:
            raise TransferError(f"the journal {str(path)!r} is of the format {known!r}; this version writes {FORMAT!r}")
        if identity != self._identity:
            raise TransferError(f"the journal {str(path)!r} is of another copy: {identity}")
        self._entries = entries

    def entry(self, collection: str) -> Entry:
        """The entry of this collection; what is changed in it counts after ``save``."""
        return self._entries.setdefault(collection, Entry())

    def save(self) -> None:
        """Replace the file, and return when it is on the disk."""
        if self._path is None:
            return
        content = {
            "format": FORMAT,
            "identity": self._identity,
            "collections": {name: asdict(entry) for name, entry in self._entries.items()},
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_name(f"{self._path.name}.new")
        with new.open("wb") as stream:
            stream.write(orjson.dumps(content, option=orjson.OPT_INDENT_2))
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(self._path)

    def end(self, collections: Iterable[str]) -> None:
        """Forget what is done, if that is not the caller's to do; others may have been begun, and are kept."""
        if self._path is None or self._is_kept:
            return
        for collection in collections:
            self._entries.pop(collection, None)
        if self._entries:
            self.save()
        else:
            self._path.unlink(missing_ok=True)
