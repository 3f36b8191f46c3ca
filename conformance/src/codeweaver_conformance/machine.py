"""A state machine: any calls in any order, of two instances and in transactions, beside a plain model of the contract.

``StateMachine`` is hypothesis' ``RuleBasedStateMachine`` with a rule for each call. The suite runs it by ``check``; an
adapter's own tests may extend it by rules of their own::

    class Mine(StateMachine):
        @rule()
        def compact(self) -> None: ...

    check(cw, Mine)

It makes the run's number of calls, or as many of them as there is time for: the seed says which, the engine how far
they get. What a failure prints is a program: its calls, the fewest that were found to fail.
"""

from __future__ import annotations

import time
from typing import Any, Final

import hypothesis
import hypothesis.errors
import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from codeweaver_backends.errors import CollectionExistsError, CollectionNotFoundError, UnsupportedError
from codeweaver_backends.types import VectorPoint
from codeweaver_conformance import edges, oracle
from codeweaver_conformance.actors import Actor, Actors, Model
from codeweaver_conformance.caller import Caller
from codeweaver_conformance.program import Spelt, program_of, spelt
from codeweaver_conformance.recorder import creation
from codeweaver_conformance.session import Conformance

__all__ = ["StateMachine", "check"]

SECONDS: Final = 20.0
"""No further call is made after this time."""
STEPS_PER_EXAMPLE: Final = 20
_SIZES: Final = edges.around(*(one for one in edges.EDGES if one <= 1_024), most=1_025)
_MANY: Final = 4_000
"""A collection is not made larger than this: what is beyond is ``suite/test_sizes.py``'s."""

_WHO = st.sampled_from(("first", "second", "inside"))
_WHERE = st.sampled_from((0, 0, 1))
_KIND = st.sampled_from(edges.KINDS)
_START = st.sampled_from((0, 0, 5, 10, 100, 1_000))
_SIZE = st.sampled_from(_SIZES)
_VERSION = st.integers(0, 3)


@st.composite
def _filters(draw: st.DrawFn) -> Spelt:
    """A filter on what ``edges.payload_of`` makes, with operands of every size."""
    n = draw(st.sampled_from((0, 5, 9, 10, 11, 63, 128, 500, 1_000, 1_023)))
    size = min(draw(_SIZE), 256)
    operands = edges.payload_of(n) or edges.payload_of(n + 1)
    operator = draw(st.sampled_from(("eq", "ne", "in", "nin", "ge", "lt")))
    name = draw(st.sampled_from(("g", "n", "wide", "last", "x", "whole", "t", "v")))
    if operator in ("in", "nin"):
        values = f"[edges.payload_of(n).get({name!r}, -1) for n in range({n}, {n + size})]"
    elif name == "t" and operator in ("ge", "lt"):
        name, values = "n", repr(n)
    else:
        values = repr(operands[name])
    condition = f"FilterCondition({name!r}, {operator!r}, {values})"
    group = draw(st.sampled_from(("must", "must_not", "should")))
    return spelt(f"SearchFilter({group}=[{condition}])")


_FILTER = st.one_of(st.none(), _filters())


class StateMachine(Actors):
    """A rule for each call, and one more look at everything at the end."""

    @initialize(metric=st.integers(0, 3), kind=_KIND, size=_SIZE)
    def begin_with(self, metric: int, kind: edges.Kind, size: int) -> None:
        """Begin with a collection that holds something: most of what can go wrong needs one."""
        self.create("first", 0, metric)
        self.upsert("first", 0, kind, 0, size, 0, 0)

    # --- collections ---

    @rule(who=_WHO, where=_WHERE, metric=st.integers(0, 3))
    def create(self, who: str, where: int, metric: int) -> None:
        """Create a collection, also one that is there."""
        actor = self.writer(who)
        name, known = self.place(actor, where)
        chosen = self.cw.metrics[metric % len(self.cw.metrics)]
        if known is not None:
            self.refused(actor, CollectionExistsError, "create_collection", name, 3, chosen)
            return
        if self.changed(actor, "create_collection", name, 3, chosen):
            actor[2][name] = Model(chosen)

    @rule(who=_WHO, where=_WHERE)
    def drop(self, who: str, where: int) -> None:
        """Delete a collection, also one that is not there."""
        actor = self.writer(who)
        name, known = self.place(actor, where)
        if known is None:
            self.refused(actor, CollectionNotFoundError, "delete_collection", name)
            return
        if self.changed(actor, "delete_collection", name):
            del actor[2][name]

    def changed(self, actor: Actor, method: str, *arguments: Any) -> bool:
        """Whether a call has changed which collections there are: in a transaction that may be denied."""
        try:
            self.call(actor, method, *arguments)
        except UnsupportedError:
            if self.caller is None:
                raise
            self.program.pop()
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            self.wrong("no error", f"{type(error).__name__}: {error}")
        return True

    @rule(who=_WHO, where=_WHERE)
    def info(self, who: str, where: int) -> None:
        """Ask what a collection is, and which there are."""
        actor = self.actor(who)
        name, known = self.place(actor, where)
        listed = self.answer(actor, "list_collections")
        self.equal(sorted(one for one in listed if one in self.names), sorted(actor[2]))
        if known is None:
            self.refused(actor, CollectionNotFoundError, "get_collection_info", name)
            return
        told = self.answer(actor, "get_collection_info", name)
        got = [told.dimension, told.distance_metric.name, told.vector_count]
        self.equal(got, [3, known.metric.name, len(known.points)])

    # --- writing ---

    @rule(who=_WHO, where=_WHERE, kind=_KIND, start=_START, size=_SIZE, version=_VERSION, twice=st.integers(0, 3))
    def upsert(self, who: str, where: int, kind: edges.Kind, start: int, size: int, version: int, twice: int) -> None:
        """Write points, the first of them twice in some batches: the last wins."""
        actor = self.writer(who)
        name, known = self.place(actor, where)
        source = f"edges.points({kind!r}, {start}, {size}, {version})"
        if size > 1 and twice == 3:
            source += f" + edges.points({kind!r}, {start}, 1, {version + 1})"
        batch = spelt(source)
        if known is None:
            self.refused(actor, CollectionNotFoundError, "upsert_vectors", name, batch)
        elif len(known.points) + size <= _MANY:
            self.answer(actor, "upsert_vectors", name, batch)
            known.write(batch.value)

    @rule(who=_WHO, where=_WHERE, kind=_KIND, start=_START, size=_SIZE, version=_VERSION)
    def upsert_columns(self, who: str, where: int, kind: edges.Kind, start: int, size: int, version: int) -> None:
        """Write columns."""
        actor = self.writer(who)
        name, known = self.place(actor, where)
        if not self.cw.claims("supports_columnar") or known is None or not size or len(known.points) + size > _MANY:
            return
        numbers = f"for n in range({start}, {start + size})"
        self.answer(
            actor,
            "upsert_batch",
            name,
            spelt(f"edges.ids({kind!r}, {start}, {size})"),
            spelt(f"np.array([edges.vector_of(n, {version}) {numbers}], dtype=np.float32)"),
            spelt(f"[edges.payload_of(n, {version}) {numbers}]"),
        )
        known.write(edges.points(kind, start, size, version))

    @rule(who=_WHO, where=_WHERE, kind=_KIND, start=_START, size=_SIZE)
    def delete(self, who: str, where: int, kind: edges.Kind, start: int, size: int) -> None:
        """Delete points, of which some may not be there."""
        actor = self.writer(who)
        name, known = self.place(actor, where)
        doomed = spelt(f"edges.ids({kind!r}, {start}, {size})")
        if known is None:
            self.refused(actor, CollectionNotFoundError, "delete_vectors", name, doomed)
            return
        self.answer(actor, "delete_vectors", name, doomed)
        for one in doomed.value:
            known.points.pop((type(one), one), None)

    @rule(who=_WHO, where=_WHERE, chosen=_filters())
    def delete_by_filter(self, who: str, where: int, chosen: Spelt) -> None:
        """Delete what matches, and be told how many."""
        actor = self.writer(who)
        name, known = self.place(actor, where)
        if not self.cw.claims("supports_scan") or known is None:
            return
        gone = known.selected(chosen.value)
        self.equal(self.answer(actor, "delete_by_filter", name, chosen), len(gone))
        for one in gone:
            del known.points[type(one.id), one.id]

    # --- reading ---

    @rule(who=_WHO, where=_WHERE, chosen=_FILTER, limit=_SIZE, n=st.integers(0, 12), bounded=st.booleans())
    def search(self, who: str, where: int, chosen: Spelt | None, limit: int, n: int, bounded: bool) -> None:
        """Search with a limit at an edge, with a filter, with a threshold."""
        actor = self.actor(who)
        name, known = self.place(actor, where)
        query = edges.vector_of(n, 1)
        if known is None:
            self.refused(actor, CollectionNotFoundError, "search_vectors", name, query)
            return
        options: dict[str, Any] = {"limit": limit}
        if chosen is not None:
            options["search_filter"] = chosen
        threshold = oracle.score(known.metric, query, edges.vector_of(n + 1)) if bounded else None
        if threshold is not None:
            options["score_threshold"] = threshold
        hits = self.answer(actor, "search_vectors", name, query, **options)
        chosen_filter = chosen.value if chosen else None
        if len(known.points) <= self.cw.limits.exact_size:
            points = known.points.values()
            wrong = oracle.check_ranking(hits, points, query, known.metric, limit, chosen_filter, threshold)
            if wrong:
                self.wrong("an exact ranking", wrong)
        for hit in hits:
            self.equal(hit.payload, known.points[type(hit.id), hit.id].payload)

    @rule(who=_WHO, where=_WHERE, kind=_KIND, start=_START, size=_SIZE)
    def get(self, who: str, where: int, kind: edges.Kind, start: int, size: int) -> None:
        """Get points by id, in the order asked, unknown ones left out."""
        actor = self.actor(who)
        name, known = self.place(actor, where)
        if not self.cw.claims("supports_scan"):
            return
        asked = spelt(f"edges.ids({kind!r}, {start}, {size})")
        if known is None:
            self.refused(actor, CollectionNotFoundError, "get_vectors", name, asked)
            return
        found = self.answer(actor, "get_vectors", name, asked)
        there = [known.points[type(one), one] for one in asked.value if (type(one), one) in known.points]
        self.same(found, there, with_vectors=True)

    @rule(who=_WHO, where=_WHERE, chosen=_FILTER, page=_SIZE, with_vectors=st.booleans())
    def scroll(self, who: str, where: int, chosen: Spelt | None, page: int, with_vectors: bool) -> None:
        """Follow the cursor to its end."""
        actor = self.actor(who)
        name, known = self.place(actor, where)
        if not self.cw.claims("supports_scan"):
            return
        if known is None:
            self.refused(actor, CollectionNotFoundError, "scroll_vectors", name)
            return
        expected = known.selected(chosen.value if chosen else None)
        options: dict[str, Any] = {"limit": max(page, 1, len(expected) // 20), "with_vectors": with_vectors}
        if chosen is not None:
            options["search_filter"] = chosen
        found: list[VectorPoint] = []
        cursor: str | None = None
        for _ in range(len(expected) // options["limit"] + 3):
            answer = self.answer(actor, "scroll_vectors", name, cursor=cursor, **options)
            found += answer.points
            cursor = answer.cursor
            if cursor is None:
                break
        if cursor is not None:
            self.wrong("an end of the scroll", f"{len(found)} points and a cursor")
        self.same(_sorted(found), _sorted(expected), with_vectors=with_vectors)

    @rule(who=_WHO, where=_WHERE, chosen=_FILTER)
    def count(self, who: str, where: int, chosen: Spelt | None) -> None:
        """Count what matches."""
        actor = self.actor(who)
        name, known = self.place(actor, where)
        if not self.cw.claims("supports_scan"):
            return
        given = [chosen] if chosen else []
        if known is None:
            self.refused(actor, CollectionNotFoundError, "count_vectors", name, *given)
            return
        got = self.answer(actor, "count_vectors", name, *given)
        self.equal(got, len(known.selected(chosen.value if chosen else None)))

    def same(self, got: list[VectorPoint], expected: list[VectorPoint], *, with_vectors: bool) -> None:
        """The same points in the same order."""
        self.equal([one.id for one in got], [one.id for one in expected])
        for one, other in zip(got, expected, strict=True):
            self.equal(one.payload, other.payload)
            vector = list(oracle.vector_of(other))
            if with_vectors and (one.vector is None or not np.allclose(one.vector, vector, rtol=1e-6, atol=0)):
                self.wrong(f"the vector {vector} of {other.id!r}", one.vector)

    # --- transactions, and opening again ---

    @rule()
    def begin(self) -> None:
        """Begin a transaction."""
        if self.caller is not None or not self.cw.claims("supports_transactions"):
            return

        async def begun() -> Caller:
            caller = Caller(self.cw.backend)
            await caller.begin()
            return caller

        self.program.append("inside.begin()")
        self.caller = self.run(begun())
        self.inside = {name: one.copy() for name, one in self.live.items()}

    @rule(kept=st.booleans())
    def end(self, kept: bool) -> None:
        """Commit, or roll back."""
        if self.caller is None or self.inside is None:
            return
        self.program.append(f"inside.{'commit' if kept else 'rollback'}()")
        try:
            self.run(self.caller.commit() if kept else self.caller.rollback())
        except Exception as error:  # noqa: BLE001 - as above
            self.wrong("no error", f"{type(error).__name__}: {error}")
        if kept:
            self.live = self.inside
        self.run(self.caller.leave())
        self.caller = self.inside = None

    @rule(who=_WHO)
    def healthy(self, who: str) -> None:
        """Ask for health, which changes nothing."""
        if self.answer(self.actor(who), "health_check") is not True:
            self.wrong(True, "health_check is not True")

    @rule()
    def reopen(self) -> None:
        """Close the first instance, and open another on the same store."""
        if self.caller is None:
            self.program.append("reopen")
            self.run(self.cw.reopen())

    # --- the end ---

    def teardown(self) -> None:
        """Look once more at everything, then leave nothing."""
        try:
            if self.told is None and not self.is_over:
                self.end(kept=True)
                for who in ("first", "second"):
                    for where in (0, 1):
                        if self.names[where] in self.live:
                            self.info(who, where)
                            self.everything(who, where)
        finally:
            self.run(self._cleared())

    def everything(self, who: str, where: int) -> None:
        """Every point, by a search, and by a scroll."""
        actor = self.actor(who)
        name, known = self.place(actor, where)
        most = min(self.cw.limits.exact_size, self.cw.limits.max_limit)
        if known is None or len(known.points) > most:
            return
        hits = self.answer(actor, "search_vectors", name, [1.0, 1.0, 1.0], limit=most)
        self.equal(
            sorted(([type(one.id).__name__, one.id, one.payload or {}] for one in hits), key=repr),
            sorted(([type(one.id).__name__, one.id, one.payload] for one in known.points.values()), key=repr),
        )
        if self.cw.claims("supports_scan"):
            pages = self.answer(actor, "scroll_vectors", name, limit=most)
            self.same(_sorted(pages.points), _sorted(list(known.points.values())), with_vectors=False)

    async def _cleared(self) -> None:
        if self.caller is not None:
            await self.caller.leave()
        await self.cw.forget(self.names)


def check(cw: Conformance, machine: type[StateMachine] = StateMachine) -> None:
    """Run the machine for the run's number of steps; fail by the shortest program found to fail."""
    best: list[tuple[list[str], tuple[object, object]]] = []
    end = time.monotonic() + SECONDS
    made = [0, 0]

    class Bound(machine):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            self.stop_in_time()
            super().__init__()
            made[0] += 1

        def stop_in_time(self) -> None:
            self.is_over = time.monotonic() > end
            hypothesis.assume(not self.is_over)

        def actor(self, who: str) -> Actor:
            self.stop_in_time()
            actor: Actor = super().actor(who)
            return actor

        def call(self, *given: Any, **options: Any) -> Any:
            made[1] += 1
            return super().call(*given, **options)

        def noted(self, expected: object, got: object) -> None:
            nonlocal end
            if not best:
                end = time.monotonic() + cw.shrinking
            if not best or len(self.program) < len(best[0][0]):
                best[:] = [(list(self.program), (expected, got))]

    Bound.cw = cw
    Bound.second = cw.fresh() if cw.capabilities.supports_multiple_instances else None
    settings = hypothesis.settings(
        max_examples=max(1, cw.steps // STEPS_PER_EXAMPLE),
        stateful_step_count=STEPS_PER_EXAMPLE,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        print_blob=False,
        verbosity=hypothesis.Verbosity.quiet,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=(hypothesis.Phase.generate, *([hypothesis.Phase.shrink] if cw.shrinking else [])),
    )
    try:
        run_state_machine_as_test(hypothesis.seed(cw.seed)(Bound), settings=settings)
    except Exception as error:
        # Of an example that ends because its time is over, hypothesis says that it is not the one that it was.
        is_cut = isinstance(error, hypothesis.errors.HypothesisException) and time.monotonic() > end
        if not best and not is_cut:
            raise
    if best:  # also where hypothesis, whose replays are spent, speaks of a flaky test
        program, (expected, got) = best[0]
        cw.program = program_of(creation(cw.subject), program, expected, got)
        cw.violated(expected, got, f"after {len(program)} calls, the last: {program[-1][:300]}")
    cw.tell(f"{made[1]} calls in {made[0]} sequences")


def _sorted(points: list[VectorPoint]) -> list[VectorPoint]:
    return sorted(points, key=lambda one: (isinstance(one.id, str), one.id))
