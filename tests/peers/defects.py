"""``python tests/peers/defects.py``: the planted defects, as the peers' suites see them through the bridges.

Every ``--every``-th defect, those of servers left out. What is told is whether a test of a peer failed, and which
first; what the kit's own suite finds, ``python -m codeweaver_tools.defects`` tells.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import signal
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from codeweaver_tools.defects import load

_HERE = Path(__file__).parent
_PEERS = ("langchain", "haystack")
_PATIENCE = 20
"""Seconds after which a test of a hanging backend has failed."""


class _Watch:
    """Notes which test failed first, and ends those that hang."""

    def __init__(self) -> None:
        self.failed = ""
        self.tests = 0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        signal.alarm(_PATIENCE)
        try:
            return (yield)
        finally:
            signal.alarm(0)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.tests += report.when == "call"
        if report.failed:
            self.failed = self.failed or report.nodeid.rpartition("::")[2]


def _too_long(*_: object) -> None:
    raise TimeoutError(f"a test took more than {_PATIENCE} s")


def run(reference: str, peer: str) -> tuple[str, int]:
    """The first test of the peer's that fails on the plugin, or nothing, and how many were run."""
    signal.signal(signal.SIGALRM, _too_long)
    watch = _Watch()
    arguments = ["-q", "-x", "-c", str(_HERE / "pytest.ini"), "-p", "no:cacheprovider", "--tb=no"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        pytest.main([*arguments, f"--target={reference}", str(_HERE / f"test_{peer}.py")], plugins=[watch])
    return watch.failed, watch.tests


def main() -> None:
    """Run, print the table, write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--every", type=int, default=4, help="how many defects of the list there are for one that is run"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--report", type=Path, default=Path("reports/peers-defects.json"))
    options = parser.parse_args()
    chosen = [one for _, one in sorted(load().items()) if not one.needs_server][:: options.every]
    rows: list[dict[str, Any]] = [{"id": one.id, "class": one.group, "sentence": one.sentence} for one in chosen]
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
        for peer in _PEERS:
            correct, tests = pool.submit(run, "codeweaver_tools.defects.rig:RigPlugin", peer).result()
            if correct or not tests:
                raise SystemExit(f"{peer}: the correct backend fails {correct or 'before any test'}")
            found = pool.map(run, [one.reference for one in chosen], [peer] * len(chosen))
            for row, (failed, _) in zip(rows, found, strict=True):
                row[peer] = failed
    total = Counter(row["class"] for row in rows)
    caught = {peer: Counter(row["class"] for row in rows if row[peer]) for peer in _PEERS}
    table = Table("class", "planted", *_PEERS)
    for group in sorted(total):
        table.add_row(group, str(total[group]), *(str(caught[peer][group]) for peer in _PEERS))
    table.add_row("all", str(len(rows)), *(str(caught[peer].total()) for peer in _PEERS))
    Console().print(table)
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
