"""What a test is given: ``cw``, the backend under test and the ways to ask of it what the contract promises."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import pytest

from codeweaver_backends.capabilities import BackendCapabilities, Limits
from codeweaver_backends.contract import CLAUSES, Clause
from codeweaver_backends.errors import BackendError
from codeweaver_backends.types import DistanceMetric, FilterLike, Payload, PointId, SearchResult, VectorPoint
from codeweaver_conformance import oracle
from codeweaver_conformance.recorder import Call, Recorder, Transcript, creation
from codeweaver_conformance.replay import script
from codeweaver_conformance.subject import OF_THE_SUBJECT, Subject

__all__ = ["DENIED", "NOT_VERIFIED", "ClauseViolation", "Conformance", "Raised", "point"]

T = TypeVar("T")

DENIED = "denied as declared: "
NOT_VERIFIED = "not verified: "


class ClauseViolation(AssertionError):  # noqa: N818 - the name says what happened
    """The backend did not keep a clause."""


@dataclass(slots=True)
class Raised:
    """What a call raised, for a closer look."""

    error: Exception | None = None


def point(point_id: Any, vector: Any, payload: Any = None) -> VectorPoint:
    """A point, shortly; of anything, since tests also give what is refused."""
    return VectorPoint(point_id, vector, payload)


class Conformance:
    """One run against one subject. Tests share its backend and its event loop; collections are each test's own."""

    def __init__(
        self,
        subject: Subject,
        *,
        prefix: str,
        seed: int,
        cases: int,
        steps: int = 400,
        timeout: float = 120.0,
        shrinking: float = 20.0,
    ) -> None:
        self.subject = subject
        self.prefix = prefix
        self.seed = seed
        self.cases = cases
        self.steps = steps
        self.timeout = timeout
        """Seconds after which a test counts as hanging."""
        self.shrinking = shrinking
        """Seconds in which a generated example that fails is made smaller; 0: it is shown as it was found."""
        self.program: str | None = None
        """What to print of a failure, where the test knows better than the transcript."""
        self.outcome = "not run"
        """What the test came to: passed, skipped or failed."""
        self.told: list[str] = []
        """What the test says of itself."""
        self.made_by_health: list[str] = []
        """Collections that came up while the run's first health check was made: later ones would find them there."""
        self.transcript = Transcript()
        self._runner = asyncio.Runner()
        self._numbers = itertools.count(1)
        self._shared: Any = None
        self._fixtures: dict[str, str] = {}
        self._fixture_calls: dict[str, list[Call]] = {}
        self._extra: list[Any] = []
        self._settings: dict[str, tuple[int, DistanceMetric]] = {}
        self._clauses: tuple[Clause, ...] = ()
        self._has_run = False

    # --- running ---

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run to completion on the run's event loop."""
        return self._runner.run(coroutine)

    def run_test(self, ids: Sequence[str], test: Callable[..., Awaitable[None]], arguments: Mapping[str, Any]) -> None:
        """Run one test of these clauses, and leave nothing behind."""
        self._clauses = tuple(CLAUSES[one] for one in ids)
        self.outcome = "skipped"
        for one in self._clauses:
            if lacking := self.lacking(one.capability):
                self.not_applicable(lacking)
            if undecided := self.undecided(one.capability):
                self.not_verified(undecided)
        self.transcript, self.program, self.told = Transcript(), None, []
        self._has_run, self.outcome = True, "failed"
        before = set(self._settings)
        try:
            if inspect.iscoroutinefunction(test):
                # In a context of its own: what a test begins and does not end is not the next test's.
                self._runner.run(self._bounded(test, arguments), context=contextvars.copy_context())
            else:
                test(**arguments)
            self.outcome = "passed"
        except pytest.skip.Exception:
            self.outcome = "skipped"
            raise
        except (ClauseViolation, pytest.fail.Exception):
            raise
        except (Exception, asyncio.CancelledError) as error:  # nobody cancels a test: a call let its own cancelling out
            raise ClauseViolation(self._story("no error", f"{type(error).__name__}: {error}", "")) from error
        finally:
            self.run(self._tidy(set(self._settings) - before - set(self._fixtures.values())))

    async def _bounded(self, test: Callable[..., Awaitable[None]], arguments: Mapping[str, Any]) -> None:
        try:
            async with asyncio.timeout(self.timeout):
                await test(**arguments)
        except TimeoutError as error:
            if isinstance(error, BackendError):
                raise
            self.violated(f"an end within {self.timeout:g} s", "none")

    async def forget(self, names: Iterable[str]) -> None:
        """Delete collections of this run before their test ends: one that makes many leaves few."""
        for name in names:
            self._settings.pop(name, None)
            with suppress(Exception):  # as in ``_tidy``
                await (self._shared or self._open()).delete_collection(name)

    async def _tidy(self, collections: Iterable[str]) -> None:
        for backend in self._extra:
            await _close(backend)
        self._extra.clear()
        for name in collections:
            del self._settings[name]
            with suppress(Exception):  # a broken backend is judged by its tests, not by our broom
                await (self._shared or self._open()).delete_collection(name)

    def close(self) -> list[str]:
        """Sweep every collection of this run, and close. What could not be swept is told, with the reason."""

        async def sweep() -> list[str]:
            await self._tidy([])
            if not self._has_run:
                return []
            backend = self._shared or self._open()
            try:
                names = [one for one in await backend.list_collections() if str(one).startswith(self.prefix)]
            except Exception as error:  # noqa: BLE001 - a broken backend is judged by its tests, not by our broom
                return [f"collections named {self.prefix}…, perhaps: list_collections raised {_told(error)}"]
            left = []
            for name in names:
                try:
                    await backend.delete_collection(name)
                except Exception as error:  # noqa: BLE001 - as above
                    left.append(f"collection {name}: {_told(error)}")
            return left

        async def end() -> None:
            with suppress(Exception):  # as above
                await _close(self._shared)

        left = [self.subject.hidden(one) for one in self.run(sweep())]
        self.run(end())
        self._runner.close()
        return left

    # --- the backend ---

    @property
    def backend(self) -> Any:
        """The backend under test: every call is noted for the story of a failure, and passed on unchanged."""
        return Recorder(self._shared or self._open(), self.transcript)

    def _open(self) -> Any:
        self._shared = self.subject.create()
        return self._shared

    def fresh(self, **overrides: Any) -> Any:
        """Another backend with the same settings, closed after the test. See ``supports_multiple_instances``."""
        return self._track(self.subject.create(**overrides), **overrides)

    def at_port(self, port: int, **overrides: Any) -> Any:
        """A backend that looks for its engine at another port, closed after the test."""
        return self._track(self.subject.create_at(port, **overrides), **overrides)

    def _track(self, backend: Any, **overrides: Any) -> Any:
        self._extra.append(backend)
        self.transcript.opened(backend, **overrides)
        return Recorder(backend, self.transcript)

    async def reopen(self) -> Any:
        """Close the backend and open another on the same store, as a restart of the application does."""
        if self._shared is not None:
            await _close(self.backend)
            self._shared = None
        self._fixtures.clear()
        return self.backend

    async def with_settings(self, **settings: Any) -> Any:
        """A backend on the same store with other settings: beside the first where that is claimed, else in its place.

        It is closed after the test, and the first is opened again when it is asked for.
        """
        if not self.capabilities.supports_multiple_instances:
            if self._shared is not None:
                await _close(self.backend)
                self._shared = None
            for backend in self._extra:
                await _close(Recorder(backend, self.transcript))
        return self.fresh(**settings)

    async def another(self) -> Any:
        """A second backend on the same store: beside the first where that is claimed, else after a restart."""
        return self.fresh() if self.capabilities.supports_multiple_instances else await self.reopen()

    # --- claims ---

    @property
    def capabilities(self) -> BackendCapabilities:
        """What is enforced now: the connected instance's word, or the plugin's where the instance has none."""
        stated = getattr(self._shared or self._open(), "capabilities", None)
        if not isinstance(stated, BackendCapabilities):
            stated = self.subject.registration.capabilities
        return stated if isinstance(stated, BackendCapabilities) else BackendCapabilities()

    @property
    def limits(self) -> Limits:
        """The declared limits."""
        return self.capabilities.limits

    @property
    def metrics(self) -> list[DistanceMetric]:
        """The claimed metrics."""
        return list(self.capabilities.supported_distance_metrics)

    def claims(self, capability: str | None) -> bool:
        """Whether a capability, as a clause spells it, is claimed, and can be tested."""
        return not self.lacking(capability) and not self.undecided(capability)

    def lacking(self, capability: str | None) -> str:
        """The first part of a capability that is not claimed, with the reason where its name does not tell it."""
        for part in capability.split("+") if capability else ():
            if part in OF_THE_SUBJECT:
                reason, is_there = OF_THE_SUBJECT[part]
                if not is_there(self.subject):
                    return f"{part}: {reason}"
                continue
            name, _, member = part.partition(":")
            value = getattr(self.capabilities, name)
            if not (DistanceMetric[member] in value if member else value):
                return part
        return ""

    def undecided(self, capability: str | None) -> str:
        """Why it cannot be tested whether a claimed capability is there; empty where it can."""
        if "server" not in (capability or "").split("+") or self.subject.has_server:
            return ""
        if self.subject.location is None:
            return "nobody declares whether the engine runs in this process: set location in the plugin or its target"
        return "the kit cannot look for the server at another port: its target has no `elsewhere`"

    async def settle(self) -> None:
        """Wait the declared visibility, and not a moment where none is declared."""
        if self.limits.visibility:
            await asyncio.sleep(self.limits.visibility)

    # --- collections and reading back ---

    def new_name(self, hint: str = "") -> str:
        """A collection name of this run that was not used before; it is deleted after the test if it exists."""
        name = f"{self.prefix}{next(self._numbers)}{hint}"
        self._settings[name] = (2, DistanceMetric.COSINE)
        return name

    async def collection(
        self,
        points: Sequence[VectorPoint] = (),
        *,
        dimension: int = 2,
        metric: DistanceMetric = DistanceMetric.COSINE,
        name: str | None = None,
        **options: Any,
    ) -> str:
        """A new collection that holds these points."""
        name = name or self.new_name()
        self._settings[name] = (dimension, metric)
        await self.backend.create_collection(name, dimension, metric, **options)
        if points:
            await self.backend.upsert_vectors(name, list(points))
        return name

    async def fixture(self, key: str, make: Callable[[], Awaitable[str]]) -> str:
        """A collection that tests only read, made once in a run."""
        if key in self._fixtures:
            self.transcript.repeated(key, self._fixture_calls[key], self._shared or self._open())
        else:
            start = len(self.transcript.calls)
            self._fixtures[key] = await make()
            self._fixture_calls[key] = self.transcript.calls[start:]
            self.transcript.repeated(key, (), self.backend)
        return self._fixtures[key]

    def unshare(self, key: str) -> None:
        """Make the fixture anew for whoever asks next: the one that there is will be changed."""
        self._fixtures.pop(key, None)

    def query(self, name: str) -> list[float]:
        """A query vector that any collection of ours takes."""
        return [1.0] * self._settings[name][0]

    async def everything(
        self, name: str, search_filter: FilterLike | None = None, backend: Any = None
    ) -> list[SearchResult]:
        """Every point that matches, by searching with a limit above the count: all that the base profile offers."""
        backend = backend or self.backend
        results: list[SearchResult] = await backend.search_vectors(
            name,
            self.query(name),
            limit=min(self.limits.exact_size, self.limits.max_limit),
            search_filter=search_filter,
        )
        return results

    async def ids(self, name: str, search_filter: FilterLike | None = None, backend: Any = None) -> set[PointId]:
        """The ids of ``everything``. Ids are told apart by type, as Python does for ``1`` and ``"1"``."""
        found = [result.id for result in await self.everything(name, search_filter, backend)]
        if len(set(found)) != len(found):
            self.violated("each point once", found)
        return set(found)

    async def payloads(self, name: str, backend: Any = None) -> dict[PointId, Payload]:
        """Payload by id."""
        return {result.id: result.payload or {} for result in await self.everything(name, backend=backend)}

    async def count(self, name: str, backend: Any = None) -> int:
        """``vector_count``."""
        info = await (backend or self.backend).get_collection_info(name)
        return int(info.vector_count)

    # --- judging ---

    def violated(self, expected: object, got: object, why: str = "") -> NoReturn:
        """Fail the test, telling the story."""
        raise ClauseViolation(self._story(expected, got, why))

    def equal(self, got: object, expected: object, why: str = "") -> None:
        """``got`` is ``expected``, types included."""
        if not oracle.json_equal(_plain(got), _plain(expected)):
            self.violated(expected, got, why)

    def true(self, condition: object, expected: str, got: object) -> None:
        """The condition holds."""
        if not condition:
            self.violated(expected, got)

    @contextmanager
    def raises(self, *allowed: type[Exception], why: str = "") -> Any:
        """The block raises one of these errors of the contract."""
        names = " or ".join(one.__name__ for one in allowed)
        raised = Raised()
        try:
            yield raised
        except allowed as error:
            raised.error = error
        except (ClauseViolation, pytest.fail.Exception, pytest.skip.Exception):
            raise
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task and task.cancelling():
                raise  # the test itself is ended, by its timeout
            raise ClauseViolation(self._story(names, f"{type(error).__name__}: {error}", why)) from error
        else:
            self.violated(names, "no error", why)

    async def unchanged(self, name: str, before: Mapping[PointId, Payload]) -> None:
        """The collection holds exactly these payloads: a refused call wrote nothing."""
        self.equal(await self.payloads(name), dict(before), "the refused call must leave the collection as it was")
        self.equal(await self.count(name), len(before), "vector_count after the refused call")

    def not_applicable(self, reason: str) -> NoReturn:
        """End a test whose promise is about something this backend does not claim. It is denied, and no pass."""
        pytest.skip(DENIED + reason)

    def not_verified(self, reason: str) -> NoReturn:
        """End the test without a verdict. It counts as a pass nowhere."""
        pytest.skip(NOT_VERIFIED + reason)

    def tell(self, what: str) -> None:
        """Say how much was done, where the engine's speed decides it: the certificate has it beside the outcome."""
        self.told.append(what)

    def reproduction(self) -> str:
        """A program that makes the test's calls again. Keys are read from the environment."""
        return self.subject.hidden(self.program or script(self.transcript, *creation(self.subject)))

    def _story(self, expected: object, got: object, why: str) -> str:
        lines = [f"clause {one.id}: {one.sentence}" for one in self._clauses]
        lines += [f"why:      {why}"] if why else []
        lines += [f"call:     {self.transcript.last()}", f"expected: {_cut(expected)}", f"got:      {_cut(got)}"]
        return self.subject.hidden("\n".join(lines))


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


async def _close(backend: Any) -> None:
    close = getattr(backend, "aclose", None)
    if close is not None:
        with suppress(BackendError):
            await close()


def _plain(value: object) -> Any:
    """Sets, and mappings keyed by ids of two types, as something with a plain equality."""
    if isinstance(value, set | frozenset):
        return sorted(([type(one).__name__, one] for one in value), key=repr)
    if isinstance(value, Mapping) and not all(isinstance(key, str) for key in value):
        return sorted(([type(key).__name__, key, one] for key, one in value.items()), key=lambda row: repr(row[:2]))
    if isinstance(value, list) and any(isinstance(one, set) for one in value):
        return [_plain(one) for one in value]
    return value


def _cut(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 1_500 else f"{text[:700]} … {text[-700:]}"
