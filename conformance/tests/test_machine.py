"""The state machine, as who runs it sees it: the program that it prints, its time, rules of one's own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

MACHINE = "test_any_sequence_of_calls_leaves_what_the_contract_says"


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=400)
    return done.returncode, done.stdout + done.stderr


def own(folder: Path, *lines: str) -> None:
    """A test module of the user's own, which runs the machine."""
    head = ("from codeweaver_conformance import machine", "from codeweaver_conformance.clause import clause")
    (folder / "test_own.py").write_text("\n".join((*head, *lines)), encoding="utf-8")


@pytest.mark.parametrize(
    ("defect", "says"),
    [
        ("num_scroll_payload_whole", ".scroll_vectors("),
        ("sec_metric", "second.search_vectors("),
        ("txk_list_commits", "inside.list_collections("),
    ],
)
def test_a_failure_prints_a_program_that_fails_again(tmp_path: Path, defect: str, says: str) -> None:
    own(tmp_path, "machine.SECONDS = 240", '@clause("state.machine")', f"def {MACHINE}(cw):", "    machine.check(cw)")
    backend = f"--cw-backend=codeweaver_tools.defects:{defect}"
    status, said = run(tmp_path, "test_own.py", backend, "--cw-shrink=10", "--cw-steps=2000")
    assert status == 1, said
    assert "clause state.machine: " in said
    [script] = re.findall(r"^PYTHONPATH=\. python (.+\.py)$", said, re.MULTILINE)
    program = (tmp_path / script).read_text(encoding="utf-8")
    assert says in program
    done = subprocess.run(
        [sys.executable, "-W", "error", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= program.count("print(await ")


def test_its_time_ends_it_and_it_tells_how_far_it_came(tmp_path: Path) -> None:
    own(
        tmp_path,
        "machine.SECONDS = 1.0",
        '@clause("state.machine")',
        f"def {MACHINE}(cw):",
        "    machine.check(cw)",
        "    [told] = cw.told",
        "    print(told)",
    )
    status, said = run(tmp_path, "test_own.py", "--cw-backend=memory", "--cw-steps=100000", "-s", "--durations=1")
    assert status == 0, said
    [(calls, sequences)] = re.findall(r"(\d+) calls in (\d+) sequences", said)
    assert 0 < int(sequences) < int(calls) < 100_000
    [seconds] = re.findall(r"([\d.]+)s call", said)
    assert float(seconds) < 20


def test_a_rule_of_ones_own(tmp_path: Path) -> None:
    own(
        tmp_path,
        "from hypothesis.stateful import rule",
        "class Mine(machine.StateMachine):",
        "    @rule()",
        "    def compact(self):",
        "        called.append(1)",
        "called = []",
        '@clause("state.machine")',
        f"def {MACHINE}(cw):",
        "    machine.check(cw, Mine)",
        "    assert called",
    )
    status, said = run(tmp_path, "test_own.py", "--cw-backend=memory", "--cw-steps=100")
    assert status == 0, said
