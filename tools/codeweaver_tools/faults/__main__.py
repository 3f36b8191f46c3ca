"""``python -m codeweaver_tools.faults --target NAME``: the figures are merged into a report, by target and fault."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from codeweaver_backends.plugins import find_plugins
from codeweaver_backends.testing import NotProvisioned, Target, find_targets
from codeweaver_tools.faults import disks, forks, hostile, kills, nodes, secrets
from codeweaver_tools.faults.writer import tell

_NOT_VERIFIED: Final = 3
_FAULTS: Final = ("kills", "sparse", "node", "disk", "forks", "hostile", "secrets")
_OF_ONE: Final = ("kills", "sparse", "disk", "forks")
"""Faults of a single server: a cluster has nodes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """0: nothing was wrong; 1: something was; 3: some fault could not be tried here."""
    parser = argparse.ArgumentParser(prog="python -m codeweaver_tools.faults", description="Faults, on a real engine.")
    parser.add_argument("--target", required=True, choices=sorted(find_targets()))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--nodes", type=int, default=3, help="nodes that are killed, and that are cut off")
    parser.add_argument("--forks", type=int, default=5)
    parser.add_argument("--values", type=int, default=100_000, help="hostile strings")
    parser.add_argument("--errors", type=int, default=10_000, help="errors that could show a secret")
    parser.add_argument("--only", choices=_FAULTS, help="one fault alone")
    parser.add_argument("--report", type=Path, default=Path("reports", "faults.json"))
    options = parser.parse_args(arguments)
    target = find_targets()[options.target]
    claims = find_plugins()[target.backend].load().get_capabilities()
    faults: dict[str, Callable[[], dict[str, Any]]] = {
        "kills": lambda: kills.run(target, options.kills),
        "sparse": lambda: kills.run(target, options.kills, "sparse"),
        "node": lambda: nodes.run(target, options.nodes),
        "disk": lambda: disks.run(target),
        "forks": lambda: forks.run(target, options.forks),
        "hostile": lambda: _hostile(target, options.values),
        "secrets": lambda: asyncio.run(secrets.run(target, options.errors)),
    }
    file: Path = options.report
    every: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    told: dict[str, Any] = every.setdefault(target.name, {})
    status = 0
    for name, run in faults.items():
        if options.only not in (None, name) or (
            name == "sparse" and not getattr(claims, "supports_hybrid_search", False)
        ):
            continue
        if options.only is None and (name in _OF_ONE if target.nodes else name == "node"):
            continue
        begun = time.monotonic()
        try:
            told[name] = run()
            status = 1 if told[name]["wrong"] else status
        except NotProvisioned as reason:
            told[name] = {"not verified": str(reason)}
            status = status or _NOT_VERIFIED
        told[name] |= {"seconds": round(time.monotonic() - begun, 1), "day": f"{datetime.now(UTC):%Y-%m-%d}"}
        tell(f"{target.name} {name}: {json.dumps(told[name])}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(every, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return status


def _hostile(target: Target, values: int) -> dict[str, Any]:
    with target.provide() as settings:
        return asyncio.run(hostile.run(target.backend, settings, values))


if __name__ == "__main__":
    sys.exit(main())
