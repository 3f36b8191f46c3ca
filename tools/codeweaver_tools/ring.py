"""A ring of copies: one collection goes from engine to engine and comes back to the first, where it must be the same.

``python -m codeweaver_tools.ring --through TARGET,TARGET,…`` takes definitions of Python's standard library, with ids
of all kinds, payloads, embedded vectors and sparse vectors, and gives them to ``codeweaver-backends copy``, one engine
after the other: first undisturbed, then interrupted at random moments, by ``kill -9`` or by Ctrl-C. After each copy the
target is read and held against what was written to the first engine, by code that the command does not use. Sparse
vectors go as far as there is hybrid search: the first target without it must refuse them, and is then given the points
without.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from codeweaver_backends import VectorPoint
from codeweaver_backends.deployments import open_deployment
from codeweaver_backends.sdk.hybrid.terms import text_indices
from codeweaver_backends.sources import is_secret_name
from codeweaver_backends.testing import NotProvisioned, find_targets
from codeweaver_conformance.compare.corpus import Chunk, python_files, read_corpus, stdlib_folder
from codeweaver_conformance.compare.embed import StaticModel
from codeweaver_tools.faults.writer import tell

__all__ = ["Hop", "copy_killed", "differences", "main", "make_points", "read_all", "run"]

NAME: Final = "code"
_NOT_VERIFIED: Final = 3
_REFUSED: Final = 2
_INTERRUPTED: Final = (130, -signal.SIGINT)
"""The second is of a process that had not begun to heed it."""
_PEAK: Final = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)
_BATCH: Final = 1_000
_FILES: Final = 100
_TOLERANCE: Final = 1e-6
"""Relative, per element and copy: what the contract promises of a stored vector."""


# --- the points ------------------------------------------------------------------------------------------------------


def make_points(count: int, dimension: int) -> Iterator[list[VectorPoint]]:
    """So many definitions in lists, those of the library again, under other ids, where they do not suffice."""
    chunks = _definitions(count)
    model = StaticModel.load()
    columns = np.arange(dimension) % model.dimension
    for start in range(0, count, _BATCH):
        rows = range(start, min(start + _BATCH, count))
        chosen = [chunks[row % len(chunks)] for row in rows]
        vectors = model.embed([chunk.text for chunk in chosen])[:, columns]
        yield [_point(row, row // len(chunks), *one) for row, *one in zip(rows, chosen, vectors, strict=True)]


def _definitions(count: int) -> list[Chunk]:
    folder = stdlib_folder()
    files, chunks = python_files(folder), list[Chunk]()
    for start in range(0, len(files), _FILES):
        chunks += read_corpus(folder, files[start : start + _FILES]).chunks
        if len(chunks) >= count:
            break
    return chunks[:count]


def _point(row: int, turn: int, chunk: Chunk, vector: Any) -> VectorPoint:
    """Ids are texts, integers and the texts of UUIDs in turn; every fifth point has no sparse vector."""
    place = f"{chunk.id}#{turn}" if turn else chunk.id
    point_id = (place, row * 10**9, str(uuid.uuid5(uuid.NAMESPACE_URL, place)))[row % 3]
    payload = {**chunk.payload, "summary": chunk.summary, "size": {"share": chunk.lines / 1_000, "of": None}}
    weights = Counter(text_indices(chunk.text))
    sparse = {index: float(np.float32(1 + np.log(times))) for index, times in weights.items()}
    return VectorPoint(point_id, vector, payload, (sparse or None) if row % 5 else None)


async def _fill(where: str, config: Path, points: Iterator[list[VectorPoint]], dimension: int) -> None:
    async with open_deployment(where, config) as backend:
        claims = await backend.get_capabilities()
        wanted = {"kind": "keyword", "line": "integer"} if claims.supports_payload_indexes else {}
        indexes = {field: kind for field, kind in wanted.items() if kind in claims.payload_index_types}
        await backend.create_collection(NAME, dimension, **({"payload_indexes": indexes} if indexes else {}))
        if claims.supports_hybrid_search:
            await backend.create_sparse_index(NAME, ["name", "summary"], "bm25")
        for batch in points:
            await backend.upsert_vectors(NAME, batch)


# --- holding one engine against the other ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kept:
    """One point, as it was read."""

    vector: Any
    payload: str
    sparse: Mapping[int, float] | None


async def read_all(where: str, config: Path) -> dict[tuple[str, Any], Kept]:
    """Every point of a deployment's collection, by the type of its id and the id."""
    found: dict[tuple[str, Any], Kept] = {}
    async with open_deployment(where, config) as backend:
        cursor = None
        while True:
            page = await backend.scroll_vectors(NAME, cursor=cursor, limit=_BATCH, with_vectors=True)
            for one in page.points:
                key = (type(one.id).__name__, one.id)
                if key in found:
                    raise AssertionError(f"{where} gave {one.id!r} twice")
                payload = json.dumps(one.payload, sort_keys=True)
                found[key] = Kept(np.asarray(one.vector, dtype=np.float32), payload, one.sparse_vector)
            cursor = page.cursor
            if cursor is None:
                return found


def differences(
    first: Mapping[tuple[str, Any], Kept], second: Mapping[tuple[str, Any], Kept], copies: int, *, with_sparse: bool
) -> dict[str, int]:
    """How many points are lost, more, or other than they were, after so many copies. Without sparse vectors: none."""
    common = first.keys() & second.keys()
    return {
        "lost": len(first.keys() - common),
        "more": len(second.keys() - common),
        "payloads": sum(first[key].payload != second[key].payload for key in common),
        "vectors": sum(not _is_same(first[key].vector, second[key].vector, copies) for key in common),
        "sparse vectors": sum(
            not _is_same_sparse(first[key].sparse if with_sparse else None, second[key].sparse, copies)
            for key in common
        ),
    }


def _is_same(a: Any, b: Any, copies: int) -> bool:
    return bool(a.shape == b.shape and np.allclose(a, b, rtol=_TOLERANCE * copies, atol=0))


def _is_same_sparse(a: Mapping[int, float] | None, b: Mapping[int, float] | None, copies: int) -> bool:
    a, b = a or {}, b or {}
    if a.keys() != b.keys():
        return False
    return all(abs(weight - b[index]) <= _TOLERANCE * copies * weight for index, weight in a.items())


# --- copying ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Hop:
    """One copy of the ring."""

    source: str
    target: str
    seconds: float = 0.0
    """Of all its runs together."""
    memory_mb: int | None = None
    """The most that a run's process took, the engines that work in it included; Linux tells it."""
    kills: list[str] = field(default_factory=list)
    """What interrupted it, and how far it had come."""
    refused: str | None = None
    """What the target said to sparse vectors."""
    wrong: dict[str, int] = field(default_factory=dict)
    """What ``differences`` found."""


def copy_killed(
    hop: Hop, command: Sequence[str], journal: Path, moments: Sequence[float], chance: random.Random
) -> None:
    """Run the command; interrupt it after so many seconds of each run, once for each of ``moments``, and let it end."""
    for moment in (*moments, None):
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            begun = time.monotonic()
            process = subprocess.Popen([*command, "--journal", str(journal)], stdout=out, stderr=err)  # noqa: S603
            by = signal.SIGKILL if chance.random() < 0.5 else signal.SIGINT
            status, memory, is_interrupted = _wait(process, moment, by)
            hop.seconds += time.monotonic() - begun
            if memory:
                hop.memory_mb = max(hop.memory_mb or 0, memory)
            out.seek(0)
            err.seek(0)
            told, said = out.read().decode(), err.read().decode()
            if is_interrupted and status in (-signal.SIGKILL, *_INTERRUPTED):
                hop.kills.append(f"{by.name} {'after its report' if _is_report(told) else _state(journal)}")
                if not _is_report(told):
                    continue
            elif status or not json.loads(told)["ok"]:
                raise AssertionError(f"{hop.source} → {hop.target}: status {status}: {told}{said}")
            return  # also where it came to its end before the moment, or was interrupted when it had told all


def _is_report(told: str) -> bool:
    with suppress(ValueError):
        return bool(json.loads(told)["ok"])
    return False


def _wait(process: subprocess.Popen[bytes], moment: float | None, by: signal.Signals) -> tuple[int, int, bool]:
    """The status, the most memory in MB, and whether it was interrupted."""
    until = time.monotonic() + moment if moment is not None else math.inf
    most, is_interrupted = 0, False
    while process.poll() is None:
        # Not what the system tells of children that have ended: that begins with the memory of who started them.
        most = max(most, _most_memory(process.pid))
        if not is_interrupted and time.monotonic() >= until:
            process.send_signal(by)
            is_interrupted = True
        time.sleep(0.02)
    return process.returncode, most, is_interrupted


def _most_memory(pid: int) -> int:
    with suppress(OSError):
        found = _PEAK.search(Path("/proc", str(pid), "status").read_text(encoding="ascii"))
        return int(found[1]) // 1_000 if found else 0
    return 0


def _state(journal: Path) -> str:
    """How far a copy is."""
    if not journal.exists():
        return "before it began"
    entry = json.loads(journal.read_text(encoding="utf-8"))["collections"].get(NAME, {"state": "new", "written": 0})
    return {"written": "comparing", "done": "comparing"}.get(entry["state"], f"writing, {entry['written']:,} written")


def _command(config: Path, hop: Hop, *options: str) -> list[str]:
    command = [sys.executable, "-m", "codeweaver_backends.cli", "copy", hop.source, hop.target]
    return [*command, "--config", str(config), "--json", *options]


def _refusal(config: Path, hop: Hop) -> str:
    """What the target says to sparse vectors; nothing must have been written by then."""
    command = _command(config, hop, "--journal", str(config.with_name("refused.json")))
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    told = json.loads(done.stdout)
    if done.returncode != _REFUSED or asyncio.run(_names(hop.target, config)):
        raise AssertionError(f"{hop.source} → {hop.target}: not refused, or not at once: {done.returncode} {told}")
    return str(told["error"]["message"])


async def _names(where: str, config: Path) -> list[str]:
    async with open_deployment(where, config) as backend:
        return list(await backend.list_collections())


async def _takes_sparse(where: str, config: Path) -> bool:
    async with open_deployment(where, config) as backend:
        return bool((await backend.get_capabilities()).supports_hybrid_search)


def run(targets: Sequence[str], count: int, dimension: int, kills: int = 0, lasting: Sequence[float] = ()) -> list[Hop]:
    """Once around, each engine in a place of its own. ``lasting`` are the seconds that each copy takes undisturbed."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As a shell starts what is in the background; those that are started here would ignore it, too.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    chance = random.Random(f"{targets} {kills}")  # noqa: S311 - any moments will do
    deal = Counter(chance.randrange(len(targets)) for _ in range(kills))
    hops: list[Hop] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="codeweaver-ring-")))
        config, names = folder / "codeweaver.toml", list[str]()
        with config.open("w", encoding="utf-8") as stream:
            for number, name in enumerate((*targets, targets[0])):
                target = find_targets()[name]
                settings = stack.enter_context(target.provide())
                names.append(f"{number}-{name}")
                lines = [_line(folder, names[-1], key, value) for key, value in settings.items()]
                stream.write("\n".join([f"[deployments.{names[-1]}]", f'backend = "{target.backend}"', *lines, "\n"]))
        asyncio.run(_fill(names[0], config, make_points(count, dimension), dimension))
        first = asyncio.run(read_all(names[0], config))
        if len(first) != count:
            raise AssertionError(f"{len(first):,} points in {names[0]}, and {count:,} were written")
        has_sparse = asyncio.run(_takes_sparse(names[0], config))
        for number, (source, name) in enumerate(pairwise(names)):
            hop = Hop(source.partition("-")[2], name.partition("-")[2])
            hops.append(hop)
            journey = Hop(source, name)
            options: tuple[str, ...] = ()
            if has_sparse and not asyncio.run(_takes_sparse(name, config)):
                hop.refused = _refusal(config, journey)
                has_sparse, options = False, ("--without-sparse-vectors",)
            moments = sorted(chance.random() for _ in range(deal[number]))
            seconds = [share * lasting[number] for share in moments]
            pauses = [later - before for before, later in zip([0.0, *seconds], seconds, strict=False)]
            # What each run does again, its start above all, is added: else no later run would come so far.
            pauses = [pause + chance.uniform(1, 3) for pause in pauses]
            copy_killed(hop, _command(config, journey, *options), folder / f"{number}.json", pauses, chance)
            hop.wrong = differences(first, asyncio.run(read_all(name, config)), number + 1, with_sparse=has_sparse)
            tell(f"{datetime.now(UTC):%H:%M:%S} {hop}")
    return hops


def _line(folder: Path, name: str, key: str, value: Any) -> str:
    """A setting in TOML; a secret stands in a file of its own."""
    if is_secret_name(key):
        file = folder / f"{name}-{key}"
        file.write_text(str(value), encoding="utf-8")
        key, value = f"{key}_file", file
    return f"{key} = {json.dumps(value if isinstance(value, bool | int | float) else str(value))}"


def main(arguments: Sequence[str] | None = None) -> int:
    """0: the same everywhere; 1: it is not; 3: an engine could not be had."""
    parser = argparse.ArgumentParser(prog="python -m codeweaver_tools.ring", description="Copies, in a ring.")
    parser.add_argument("--points", type=int, default=50_000)
    parser.add_argument("--dimension", type=int, default=256, help="the embedded vectors are cut, or repeated, to it")
    parser.add_argument("--kills", type=int, default=10, help="in a second round; 0: there is none")
    parser.add_argument("--through", required=True, help="targets, a,b,c: from the last it goes to the first")
    parser.add_argument("--report", type=Path, default=Path("reports", "ring.json"))
    options = parser.parse_args(arguments)
    targets = options.through.split(",")
    try:
        plain = run(targets, options.points, options.dimension)
        killed = (
            run(targets, options.points, options.dimension, options.kills, [hop.seconds for hop in plain])
            if options.kills
            else []
        )
    except NotProvisioned as reason:
        tell(f"NOT VERIFIED: {reason}")
        return _NOT_VERIFIED
    report = {
        "points": options.points,
        "dimension": options.dimension,
        "day": f"{datetime.now(UTC):%Y-%m-%d}",
        "undisturbed": [asdict(hop) for hop in plain],
        "interrupted": [asdict(hop) for hop in killed],
    }
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return int(any(sum(hop.wrong.values()) for hop in (*plain, *killed)))


if __name__ == "__main__":
    sys.exit(main())
