"""Whether a deployment works: reached, healthy, with the permissions that are needed, and how quickly it answers."""

from __future__ import annotations

import asyncio
import re
import secrets
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any, Final, Literal

from codeweaver_backends.errors import BackendError, CollectionNotFoundError
from codeweaver_backends.plugins import find_plugins
from codeweaver_backends.transfer.comparing import same_payload, same_vectors
from codeweaver_backends.transfer.origin import capabilities_of
from codeweaver_backends.types import DistanceMetric, FilterCondition, SearchFilter, VectorPoint

__all__ = ["CHECK_PREFIX", "CheckReport", "Step", "check_backend", "versions_of", "with_cause"]

CHECK_PREFIX: Final = "codeweaver-check-"
"""Collections with this name were made by a check; one that stays was left by a check that was killed."""
_ROUNDS: Final = 7
_POINTS: Final = (
    VectorPoint("check", [0.6, 0.8], {"text": "naïve \x00 日本", "n": 1, "deep": {"none": None}}),
    VectorPoint(1, [0.8, -0.6], {"n": 2}),
)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was tried."""

    name: str
    outcome: Literal["ok", "warning", "error", "not tried"]
    detail: str = ""


@dataclass(slots=True)
class CheckReport:
    """What a check found."""

    backend: str
    versions: dict[str, str]
    """Of the adapter, of what it asks for, and of the server where it tells."""
    steps: list[Step] = field(default_factory=list)
    round_trip_ms: float | None = None
    """The median time of a call that only asks whether the engine answers, in milliseconds."""
    is_reachable: bool = False

    @property
    def ok(self) -> bool:
        """Whether there was no error."""
        return all(step.outcome in ("ok", "warning") for step in self.steps)

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON can say it."""
        return {"ok": self.ok, **asdict(self)}


def versions_of(backend: str) -> dict[str, str]:
    """The distribution that brings the plugin, and what it asks for, as far as they are installed."""
    entry = find_plugins().get(backend)
    found = entry.entry_point.dist if entry else None
    if found is None:
        return {}
    versions = {found.name: found.version}
    for requirement in found.requires or []:
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        with suppress(PackageNotFoundError):
            versions[name] = distribution(name).version
    return versions


def with_cause(error: Exception) -> str:
    """What an error says, and its cause where it does not say that itself."""
    text, cause = str(error), str(error.__cause__ or "")
    return text if cause in text else f"{text} ({cause})"


async def check_backend(backend: Any) -> CheckReport:
    """Try everything that a deployment needs, in a collection of its own, which is deleted at the end.

    It never raises for what the engine does; the report tells it. Collections of others are not touched.
    """
    name = str(getattr(backend, "name", type(backend).__name__))
    report = CheckReport(name, versions_of(name))
    run = _Run(backend, report)
    if not await run.step("connect", run.connect):
        for left in ("health", "create", "write", "read", "search", "delete", "remove"):
            report.steps.append(Step(left, "not tried"))
        return report
    report.is_reachable = True
    server = getattr(backend, "server_version", None)
    if isinstance(server, str):
        report.versions["server"] = server
    await run.step("health", run.health)
    try:
        if await run.step("create", run.create):
            for title, work in (
                *([("cluster", run.cluster)] if hasattr(backend, "deployment_warnings") else []),
                ("write", run.write),
                ("read", run.read),
                ("search", run.search),
                ("delete", run.delete),
            ):
                await run.step(title, work)
    finally:
        # Also where somebody interrupts it: what was made goes.
        if run.is_created:
            await asyncio.shield(run.step("remove", run.remove))
    await run.step("leftovers", run.leftovers)
    return report


class _WrongError(Exception):
    """The engine did not fail, and what it did is not right."""


class _AdviceError(Exception):
    """Something that is not wrong, and should be known."""


class _Run:
    def __init__(self, backend: Any, report: CheckReport) -> None:
        self._backend = backend
        self._report = report
        self._name = CHECK_PREFIX + secrets.token_hex(6)
        self.is_created = False

    async def step(self, name: str, work: Callable[[], Awaitable[str]]) -> bool:
        """Do it and note how it went."""
        try:
            self._report.steps.append(Step(name, "ok", await work()))
        except _AdviceError as advice:
            self._report.steps.append(Step(name, "warning", str(advice)))
        except (_WrongError, BackendError) as error:
            self._report.steps.append(Step(name, "error", with_cause(error)))
            return False
        except Exception as error:  # noqa: BLE001 - a check tells what is broken, an adapter's error too
            self._report.steps.append(Step(name, "error", f"{type(error).__name__}: {error}"))
            return False
        return True

    async def connect(self) -> str:
        # A call that raises says why; health_check only says that.
        names = await self._backend.list_collections()
        return f"{len(names)} collection{'' if len(names) == 1 else 's'}"

    async def health(self) -> str:
        times = []
        for _ in range(_ROUNDS):
            started = time.perf_counter()
            if not await self._backend.health_check():
                raise _WrongError("health_check says no, though the engine answers other calls")
            times.append(1_000 * (time.perf_counter() - started))
        self._report.round_trip_ms = round(statistics.median(times), 3)
        return f"one round trip takes {self._report.round_trip_ms:.2f} ms (median of {_ROUNDS})"

    async def create(self) -> str:
        self.is_created = True  # a creation whose answer was lost counts too
        await self._backend.create_collection(self._name, 2, DistanceMetric.COSINE)
        return "a collection of its own"

    async def cluster(self) -> str:
        # In a collection as the settings make it; of an adapter whose engine has clusters.
        warnings = await self._backend.deployment_warnings(self._name)
        if warnings:
            raise _AdviceError("; ".join(warnings))
        return "nothing to warn of"

    async def write(self) -> str:
        await self._backend.upsert_vectors(self._name, list(_POINTS))
        info = await self._backend.get_collection_info(self._name)
        if info.vector_count != len(_POINTS):
            raise _WrongError(f"{len(_POINTS)} points were written and {info.vector_count} are counted")
        return f"{len(_POINTS)} points"

    async def read(self) -> str:
        if not (await capabilities_of(self._backend)).supports_scan:
            raise _AdviceError("it cannot be scanned, so points are not read back by id")
        found = await self._backend.get_vectors(self._name, [point.id for point in _POINTS])
        if [point.id for point in found] != [point.id for point in _POINTS]:
            raise _WrongError("the points that were written are not given back")
        if not all(same_vectors([one.vector for one in _POINTS], [one.vector for one in found])):
            raise _WrongError("the vectors are not given back as they were written")
        if not all(same_payload(one.payload, two.payload) for one, two in zip(_POINTS, found, strict=True)):
            raise _WrongError("the payloads are not given back as they were written")
        return "ids, vectors and payloads as written"

    async def search(self) -> str:
        [first] = await self._backend.search_vectors(self._name, [0.6, 0.8], 1)
        [other] = await self._backend.search_vectors(
            self._name, [0.6, 0.8], 2, SearchFilter(must=[FilterCondition("n", "eq", 2)])
        )
        if (first.id, other.id) != ("check", 1) or abs(first.score - 1) > 1e-4:
            raise _WrongError("a search does not find what was written")
        return "by vector, and with a filter"

    async def delete(self) -> str:
        await self._backend.delete_vectors(self._name, ["check"])
        info = await self._backend.get_collection_info(self._name)
        if info.vector_count != 1:
            raise _WrongError(f"one of two points was deleted and {info.vector_count} are counted")
        return "a point"

    async def remove(self) -> str:
        with suppress(CollectionNotFoundError):
            await self._backend.delete_collection(self._name)
        return "the collection"

    async def leftovers(self) -> str:
        left = [name for name in await self._backend.list_collections() if name.startswith(CHECK_PREFIX)]
        if left:
            raise _AdviceError(f"collections of checks that were killed, or that are running: {', '.join(left)}")
        return "none"
