"""The workflow of GitHub Actions, made of nox's sessions and of the servers in ``compose/compose.yaml``.

``python -m codeweaver_tools.workflow``, run at the root, writes it; ``--check`` fails if it is not current. On every
push the default sessions run, a job for each engine, and the thorough ones beside them; each night every target on
every Python with the newest clients, each week with the oldest ones. Certificates are artifacts, and the table of all
of them is the summary of the run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

__all__ = ["main", "workflow"]

FILE = Path(".github/workflows/ci.yml")
_HEAD = "# Made by python -m codeweaver_tools.workflow out of `nox --list --json`; edit noxfile.py, not this file.\n"
_NIGHTLY, _WEEKLY = "17 3 * * *", "17 5 * * 0"
_PYTHONS = "3.11\n3.12\n3.13\n"
_OWN = "core"
"""The engine that the core brings."""


def sessions(*options: str) -> list[str]:
    """The sessions that nox would run."""
    command = [sys.executable, "-m", "nox", "--list", "--json", *options]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own
    return [one["session"] for one in json.loads(listed.stdout)]


def servers() -> dict[str, tuple[str, Mapping[str, Any]]]:
    """The server of each target that needs one: its name in the compose file, and what stands there.

    Of a cluster it is the node that the tests ask; the others start with it.
    """
    described = yaml.safe_load(Path("compose/compose.yaml").read_text(encoding="utf-8"))["services"]
    asked = {name: one for name, one in described.items() if "x-tests" in one}
    return {target: (name, one) for name, one in asked.items() for target in one["x-tests"]["targets"]}


def workflow(default: Iterable[str], thorough: Iterable[str], matrix: Iterable[str]) -> dict[str, Any]:
    """The workflow of these sessions."""
    default, matrix = list(default), list(matrix)
    on_push = "github.event_name != 'schedule'"
    engines = [one[6:-1] for one in default if one.startswith("tests(") and one != "tests(repository)"]
    by_engine = {engine: [one for one in default if _engine(one, engines) == engine] for engine in engines}
    jobs: dict[str, Any] = {
        "checks": _job([one for one in default if _engine(one, engines) is None], on_push),
        "thorough": _job(list(thorough), on_push),
    }
    for engine, own in by_engine.items():
        jobs[engine] = _job(own, on_push)
    for name, cron, age in (("nightly", _NIGHTLY, "newest"), ("weekly", _WEEKLY, "oldest")):
        for engine in engines:
            chosen = [one for one in matrix if one.endswith(f"{age})") and _engine(one, engines) == engine]
            when = f"github.event.schedule == '{cron}' || github.event_name == 'workflow_dispatch'"
            jobs[f"{name}-{engine}"] = _job(chosen, when)
    return {
        "name": "CI",
        "on": {
            "push": {"branches": ["main"]},
            "pull_request": None,
            "schedule": [{"cron": _NIGHTLY}, {"cron": _WEEKLY}],
            "workflow_dispatch": None,
        },
        "permissions": {"contents": "read"},
        "concurrency": {
            "group": "${{ github.workflow }}-${{ github.ref }}-${{ github.event_name }}",
            "cancel-in-progress": "${{ github.event_name == 'pull_request' }}",
        },
        "jobs": {**jobs, "table": _table(list(jobs))},
    }


def _engine(session: str, engines: list[str]) -> str | None:
    """The engine that a session is of; ``None`` if it is of none."""
    name, target = _parts(session)
    if name == "tests":
        return target if target in engines else None
    if name != "conformance" and not name.startswith("matrix"):
        return None
    return next((one for one in engines if target.partition("-")[0] == one), _OWN)


def _job(chosen: list[str], when: str) -> dict[str, Any]:
    needed = dict(found for session in chosen if (found := _server(session)))
    in_services = {name: _service(one) for name, one in needed.items() if "command" not in one}
    by_compose = [name for name, one in needed.items() if "command" in one]
    environment = {key: value for one in needed.values() for key, value in one["x-tests"]["environment"].items()}
    start = [
        {
            "name": f"Start {name}, which a service container cannot be: it needs a command",
            "run": f"docker compose -f compose/compose.yaml --profile {name} up --wait",
        }
        for name in by_compose
    ]
    return {
        "if": when,
        "runs-on": "ubuntu-latest",
        "timeout-minutes": 120,
        "strategy": {"fail-fast": False, "matrix": {"session": chosen}},
        **({"services": in_services} if in_services else {}),
        **({"env": environment} if environment else {}),
        "steps": [
            {"uses": "actions/checkout@v4"},
            {"uses": "actions/setup-python@v5", "with": {"python-version": _PYTHONS}},
            {"run": "python -m pip install -q nox uv"},
            *start,
            {"run": 'python -m nox -s "${{ matrix.session }}"'},
            {
                "if": "always()",
                "uses": "actions/upload-artifact@v4",
                "with": {
                    "name": "reports-${{ github.job }}-${{ strategy.job-index }}",
                    "path": "reports",
                    "if-no-files-found": "ignore",
                },
            },
        ],
    }


def _server(session: str) -> tuple[str, Mapping[str, Any]] | None:
    name, target = _parts(session)
    return servers().get(target) if name == "conformance" or name.startswith("matrix") else None


def _parts(session: str) -> tuple[str, str]:
    """The session's name, and its first parameter."""
    name, _, rest = session.partition("(")
    return name, rest.rstrip(")").partition(",")[0]


def _service(one: Mapping[str, Any]) -> dict[str, Any]:
    """A server as a service container. Its data is gone with it."""
    check = one["healthcheck"]
    quoted = check["test"][1].replace("\\", "\\\\").replace('"', '\\"')
    options = f'--health-cmd "{quoted}" --health-interval {check["interval"]} --health-timeout {check["timeout"]}'
    options += f" --health-retries {check['retries']} --memory {one['mem_limit']}"
    return {
        "image": one["image"],
        "env": dict(one["environment"]),
        "ports": [port.removeprefix("127.0.0.1:") for port in one["ports"]],
        "options": options,
    }


def _table(needs: list[str]) -> dict[str, Any]:
    return {
        "if": "always()",
        "needs": needs,
        "runs-on": "ubuntu-latest",
        "timeout-minutes": 10,
        "steps": [
            {"uses": "actions/checkout@v4"},
            {"uses": "actions/setup-python@v5", "with": {"python-version": "3.13"}},
            {"run": "python -m pip install -q -e adapters/core -e conformance -e tools"},
            {"uses": "actions/download-artifact@v4", "with": {"path": "all", "pattern": "reports-*"}},
            {"run": 'python -m codeweaver_tools.matrix all >> "$GITHUB_STEP_SUMMARY"'},
        ],
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the file is not current")
    check = parser.parse_args().check
    made = workflow(sessions(), sessions("-t", "thorough"), sessions("-t", "matrix"))
    text = _HEAD + yaml.safe_dump(made, sort_keys=False, width=118, allow_unicode=True)
    if FILE.is_file() and FILE.read_text(encoding="utf-8") == text:
        return
    if check:
        sys.exit(f"{FILE} is not current; run python -m codeweaver_tools.workflow")
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
