"""A disk for tests that is soon full."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from codeweaver_backends.testing.target import NotProvisioned

__all__ = ["small_disk"]


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A disk in memory, mounted for as long as the block lasts. Raises ``NotProvisioned``: only root mounts one."""
    folder = Path(tempfile.mkdtemp(prefix="codeweaver-disk-"))
    mount, umount = shutil.which("mount"), shutil.which("umount")
    try:
        command = [str(mount), "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
        if not (mount and umount) or subprocess.run(command, check=False, capture_output=True).returncode:  # noqa: S603
            raise NotProvisioned("only root may mount a small disk")
        try:
            yield folder
        finally:
            subprocess.run([umount, "-l", str(folder)], check=True)  # noqa: S603
    finally:
        folder.rmdir()
