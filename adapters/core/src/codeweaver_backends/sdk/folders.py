"""Folders of embedded engines: opened once in a process, shared by its backends, locked against other processes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import portalocker

from codeweaver_backends.errors import BackendConnectionError
from codeweaver_backends.sdk.calls import in_thread

__all__ = ["FileLock", "SharedFolder", "SharedFolders"]

R = TypeVar("R")

_FLAGS: Final = portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING


class FileLock:
    """An exclusive lock on a file, tried for and never waited for. Held by the process, not by its children."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: Any = None

    def acquire(self) -> bool:
        """Take the lock, or say that another process has it, or another holder in this one."""
        stream = self._path.open("a")
        try:
            portalocker.lock(stream, _FLAGS)
        except portalocker.AlreadyLocked:
            stream.close()
            return False
        except BaseException:
            stream.close()
            raise
        self._stream = stream
        return True

    def release(self) -> None:
        """Let go of it."""
        stream, self._stream = self._stream, None
        if stream is not None:
            portalocker.unlock(stream)
            stream.close()

    def forget(self) -> None:
        """Close what a fork inherited. Unlocking would take the lock from the parent, whose it is."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


@dataclass(slots=True, eq=False)
class SharedFolder(Generic[R]):
    """A folder that is open in this process, and what the engine made of it."""

    path: Path
    resource: R
    lock: FileLock
    users: int = 0


class SharedFolders(Generic[R]):
    """The folders that one kind of engine has open in this process.

    The first who asks for a folder opens it, the last who gives it back closes it. In a child process nothing is open:
    what a fork inherits belongs to the parent.
    """

    def __init__(self, opens: Callable[[Path], R], closes: Callable[[R], None], *, lock_name: str = ".lock") -> None:
        self._opens = opens
        self._closes = closes
        self._lock_name = lock_name
        self._folders: dict[Path, SharedFolder[R]] = {}
        self._guard = threading.Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    async def open(self, path: Path) -> SharedFolder[R]:
        """The folder, opened in a thread. Raises ``BackendConnectionError`` where another process has it open."""
        return await in_thread(self.acquire, path, give_back=self.release)

    async def close(self, folder: SharedFolder[R]) -> None:
        """Give the folder back."""
        await in_thread(self.release, folder)

    def acquire(self, path: Path) -> SharedFolder[R]:
        """The folder, opened by the first who asks for it in this process."""
        resolved = path.expanduser().resolve()
        with self._guard:
            folder = self._folders.get(resolved)
            if folder is None:
                folder = self._folders[resolved] = self._opened(resolved)
            folder.users += 1
        return folder

    def _opened(self, path: Path) -> SharedFolder[R]:
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / self._lock_name)
        if not lock.acquire():
            raise BackendConnectionError("the folder is open in another process")
        try:
            return SharedFolder(path, self._opens(path), lock)
        except BaseException:
            lock.release()
            raise

    def release(self, folder: SharedFolder[R]) -> None:
        """Give it back for one user; the last one closes it."""
        with self._guard:
            folder.users -= 1
            if folder.users or self._folders.get(folder.path) is not folder:
                return
            del self._folders[folder.path]
            try:
                self._closes(folder.resource)
            finally:
                folder.lock.release()

    def _forget(self) -> None:
        self._guard = threading.Lock()  # another thread of the parent may have held it
        for folder in self._folders.values():
            folder.lock.forget()
        # The resources themselves are left alone: closing them here would flush into the parent's files.
        _INHERITED.append(self._folders)
        self._folders = {}


_INHERITED: Final[list[Any]] = []
"""What must not be collected in a child, since collecting would close it."""
