"""Servers for tests: a process of this machine, on free ports, with temporary data, to be killed and restarted."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from codeweaver_backends.testing.target import NotProvisioned

__all__ = ["ServerProcess", "answers_http", "free_ports", "is_listening"]

_START: Final = 90.0
"""Seconds that a server is given to answer, unless its adapter knows better."""
_RESTART: Final = 60.0


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on, all of them different."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def is_listening(port: int) -> bool:
    """Whether somebody takes connections at this port of the loopback interface."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def answers_http(port: int, path: str = "/") -> bool:
    """Whether the port answers this path with success. Proxies of the environment are not asked."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://127.0.0.1:{port}{path}", timeout=2):
            return True
    except (urllib.error.URLError, OSError, ValueError):
        return False


class ServerProcess:
    """A server, started when it is entered and gone, with its data, when it is left::

    with ServerProcess([binary, "--port", str(port)], lambda: is_listening(port)) as server:
        server.kill()
        server.start()
    """

    def __init__(
        self,
        command: Sequence[str],
        is_ready: Callable[[], bool],
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        patience: float = _START,
    ) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="codeweaver-server-"))
        """Where it runs, and keeps its data and its log; removed at the end."""
        self._command = list(command)
        self._is_ready = is_ready
        self._environment = dict(environment or {})
        self._patience = patience
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, kind: object = None, error: BaseException | None = None, *exc_info: object) -> None:
        self.kill()
        if isinstance(error, Exception) and not isinstance(error, NotProvisioned):
            error.add_note(f"the log of {self._command[0]} is {self._keep_log()}")
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Start it, after ``kill`` on what it had stored, and wait until it answers. Raises ``NotProvisioned``."""
        log = self.folder / "log"
        with log.open("ab") as stream:
            process = self._process = subprocess.Popen(  # noqa: S603 - the command is the one the user named
                self._command, cwd=self.folder, env=os.environ | self._environment, stdout=stream, stderr=stream
            )
        end = time.monotonic() + self._patience
        while time.monotonic() < end and process.poll() is None:
            if self._is_ready():
                return
            time.sleep(0.1)
        self.kill()
        end_of_log = log.read_text(errors="replace")[-500:]
        raise NotProvisioned(f"{self._command[0]} did not come up; its log is {self._keep_log()}: {end_of_log}")

    def _keep_log(self) -> Path:
        """Put the log where it outlives the folder."""
        kept = Path(tempfile.gettempdir(), f"{self.folder.name}.log")
        shutil.copyfile(self.folder / "log", kept)
        return kept

    def restart(self, patience: float = _RESTART) -> None:
        """Kill it, if that was not done, and start it: the rest of its processes may hold its data for a moment."""
        self.kill()
        end = time.monotonic() + patience
        while True:
            try:
                return self.start()
            except NotProvisioned:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def kill(self) -> None:
        """Kill it, as a power failure would."""
        self._end(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)

    def stop(self) -> None:
        """Ask it to end, as an operator does, and wait until it has."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Stop it in its tracks: it takes connections and answers nothing."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
