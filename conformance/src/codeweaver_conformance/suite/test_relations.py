"""Relations: what answers have to do with each other, whatever each of them is; and what two instances see."""

from __future__ import annotations

import asyncio
from typing import Any

from codeweaver_backends.errors import CollectionExistsError, CollectionNotFoundError
from codeweaver_backends.types import DistanceMetric, FilterCondition, SearchFilter
from codeweaver_conformance import edges, oracle
from codeweaver_conformance.clause import clause
from codeweaver_conformance.session import Conformance

_QUERY = [1.0, 0.5, -0.25]
_SOME = 1_000


async def _shared(cw: Conformance) -> str:
    return await cw.fixture("relations", lambda: cw.collection(edges.points("int", 0, _SOME), dimension=3))


@clause("filters.applied", "filters.must-not", "filters.missing")
async def test_a_filter_and_its_negation_part_the_whole(cw: Conformance) -> None:
    """Check that each point is on one side, for each operator; and count, scroll and search agree on both."""
    name = await _shared(cw)
    everyone = await cw.ids(name)
    whole = edges.payload_of(500)
    for field, operator in (("g", "eq"), ("wide", "ge"), ("x", "lt"), ("list", "eq"), ("n", "in"), ("t", "ne")):
        value = list(range(450, 514)) if operator == "in" else whole[field]
        operand = value[2] if field == "list" else value
        one = FilterCondition(field, operator, operand)
        inside, outside = SearchFilter(must=[one]), SearchFilter(must_not=[one])
        found, rest = await cw.ids(name, inside), await cw.ids(name, outside)
        label = f"{field} {operator}"
        cw.equal([len(found & rest), len(everyone - found - rest)], [0, 0], f"{label}: on both sides, on neither")
        expected = {n for n in range(_SOME) if oracle.matches(inside, edges.payload_of(n))}
        cw.equal(found, expected, label)
        if cw.claims("supports_scan"):
            counted = [await cw.backend.count_vectors(name, each) for each in (inside, outside)]
            cw.equal(counted, [len(found), len(rest)], f"{label}: counts")
            page = await cw.backend.scroll_vectors(name, search_filter=outside, limit=_SOME)
            cw.equal({each.id for each in page.points}, rest, f"{label}: a scroll of the negation")


@clause("filters.in", "filters.should")
async def test_an_in_is_the_union_of_its_values(cw: Conformance) -> None:
    """Check that an in finds what its values find one by one, and what a should of them finds."""
    name = await _shared(cw)
    for field in ("g", "wide", "x", "t", "last"):
        values = [edges.payload_of(n)[field] for n in (0, 1, 8, 500, 999)]
        single = [await cw.ids(name, edges.condition(field, "eq", one)) for one in values]
        together = await cw.ids(name, edges.condition(field, "in", values))
        either = SearchFilter(should=[FilterCondition(field, "eq", one) for one in values])
        cw.equal(together, set().union(*single), f"in of {field}")
        cw.equal(await cw.ids(name, either), together, f"should of {field}")


# --- two instances ---------------------------------------------------------------------------------------------------


def _ranked(hits: list[Any]) -> list[list[Any]]:
    return [[one.id, round(one.score, 5)] for one in sorted(hits, key=lambda one: (-round(one.score, 5), one.id))]


@clause("collections.info", "scores.repeatable", "consistency.durable")
async def test_another_instance_gives_the_same_answers(cw: Conformance) -> None:
    """Check metric, scores, points and counts of an instance that has not created the collection."""
    made = {
        metric: await cw.collection(edges.points("int", 0, 60), dimension=3, metric=metric) for metric in cw.metrics
    }
    asked = {metric: await cw.backend.search_vectors(name, _QUERY, limit=30) for metric, name in made.items()}
    other = await cw.another()
    for metric, name in made.items():
        hits = await other.search_vectors(name, _QUERY, limit=30)
        wrong = oracle.check_ranking(hits, edges.points("int", 0, 60), _QUERY, metric, 30)
        cw.true(wrong is None, f"the ranking by {metric.name}", wrong)
        cw.equal(_ranked(hits)[:10], _ranked(asked[metric])[:10], f"the same search, by {metric.name}")
        info = await other.get_collection_info(name)
        cw.equal([info.dimension, info.distance_metric.name, info.vector_count], [3, metric.name, 60])


@clause("collections.recreate", "consistency.read-your-writes")
async def test_an_instance_sees_what_another_does(cw: Conformance) -> None:
    """Check that nothing is remembered over what another instance writes, drops and creates anew."""
    if not cw.capabilities.supports_multiple_instances:
        cw.not_applicable("supports_multiple_instances")
    one, other, name = cw.backend, cw.fresh(), cw.new_name()
    with cw.raises(CollectionNotFoundError, why="not there yet"):
        await other.get_collection_info(name)
    cw.true(name not in await other.list_collections(), "not listed yet", name)
    metrics = [cw.metrics[0], cw.metrics[-1]]
    for turn, metric in enumerate(metrics):
        indexes: dict[str, Any] = {}
        if cw.capabilities.supports_payload_indexes and turn:
            indexes["payload_indexes"] = {"g": cw.capabilities.payload_index_types[0]}
        await cw.collection(edges.points("int", 0, 40, turn), dimension=3, metric=metric, name=name, **indexes)
        for version in (turn, turn + 5):
            more = 30 if version == turn else 35
            await one.upsert_vectors(name, edges.points("int", 20, more, version))
            await cw.settle()
            await _sees(cw, other, name, metric, (turn, version), more, indexes)
        gone = edges.condition("n", "lt", 20)
        if cw.claims("supports_scan"):
            expected = sum(oracle.matches(gone, edges.payload_of(n)) for n in range(20))
            cw.equal(await other.delete_by_filter(name, gone), expected, "deleted by the other instance")
        else:
            await other.delete_vectors(name, list(range(20)))
        await cw.settle()
        cw.true(19 not in await cw.ids(name), "what the other has deleted is gone", 19)
        await one.delete_collection(name)
        with cw.raises(CollectionNotFoundError, why="dropped by the first instance"):
            await other.search_vectors(name, _QUERY)


async def _sees(
    cw: Conformance,
    other: Any,
    name: str,
    metric: DistanceMetric,
    versions: tuple[int, int],
    more: int,
    indexes: dict[str, Any],
) -> None:
    """``other`` sees 20 points of the first version, and ``more`` of the second."""
    points = edges.points("int", 0, 20, versions[0]) + edges.points("int", 20, more, versions[1])
    info = await other.get_collection_info(name)
    cw.equal(
        [info.vector_count, info.distance_metric.name], [20 + more, metric.name], "what the other instance is told"
    )
    cw.equal(info.payload_indexes, indexes.get("payload_indexes", {}), "the indexes of now")
    cw.true(name in await other.list_collections(), "listed", name)
    wrong = oracle.check_ranking(await other.search_vectors(name, _QUERY, limit=20), points, _QUERY, metric, 20)
    cw.true(wrong is None, f"the ranking by {metric.name} of what is there now", wrong)
    if cw.claims("supports_scan"):
        cw.equal(await other.count_vectors(name), 20 + more)
        [got] = await other.get_vectors(name, [25])
        cw.equal(got.payload, edges.payload_of(25, versions[1]), "get")
        page = await other.scroll_vectors(name, limit=100)
        cw.equal({each.id: each.payload for each in page.points}, {each.id: each.payload for each in points}, "scroll")


@clause("consistency.read-your-writes", "consistency.overwrite", "ids.stable")
async def test_nothing_is_remembered_of_what_another_changes(cw: Conformance) -> None:
    """Check what was empty and is not, what was deleted and is there again, and counts that come out the same."""
    if not cw.capabilities.supports_multiple_instances:
        cw.not_applicable("supports_multiple_instances")
    other, name = cw.fresh(), await cw.collection(dimension=3)

    async def sees(expected: dict[int, int], told: str) -> None:
        await cw.settle()
        for label, backend in (("the other", other), ("the first", cw.backend)):
            payloads = {n: edges.payload_of(n, version) for n, version in expected.items()}
            cw.equal(await cw.payloads(name, backend=backend), payloads, f"{told}: a search by {label}")
            cw.equal(await cw.count(name, backend), len(expected), f"{told}: the count told to {label}")
            for version in range(3):
                chosen = edges.condition("v", "eq", version)
                there = {n for n, one in expected.items() if one == version}
                cw.equal(
                    await cw.ids(name, chosen, backend), there, f"{told}: a search of version {version} by {label}"
                )
                if cw.claims("supports_scan"):
                    counted = await backend.count_vectors(name, chosen)
                    cw.equal(counted, len(there), f"{told}: a count of version {version} by {label}")
            if cw.claims("supports_scan"):
                got = await backend.get_vectors(name, list(range(9)), with_vectors=False)
                cw.equal({one.id: one.payload for one in got}, payloads, f"{told}: a get by {label}")

    await sees({}, "empty")
    await cw.backend.upsert_vectors(name, edges.points("int", 0, 6))
    await sees(dict.fromkeys(range(6), 0), "written by the first")
    await other.delete_vectors(name, [1, 2, 7])
    await sees(dict.fromkeys((0, 3, 4, 5), 0), "deleted by the other")
    await cw.backend.upsert_vectors(name, [*edges.points("int", 1, 1, 1), *edges.points("int", 7, 1, 1)])
    await sees({**dict.fromkeys((0, 3, 4, 5), 0), 1: 1, 7: 1}, "written anew by the first")
    await cw.backend.upsert_vectors(name, edges.points("int", 3, 2, 2))
    await sees({0: 0, 3: 2, 4: 2, 5: 0, 1: 1, 7: 1}, "overwritten by the first")
    await cw.backend.delete_vectors(name, [0, 1, 3, 4, 5, 7])
    await sees({}, "emptied by the first")
    await other.upsert_vectors(name, edges.points("int", 0, 2, 1))
    await sees({0: 1, 1: 1}, "written by the other")


@clause("collections.first-use")
async def test_two_instances_create_a_collection_once(cw: Conformance) -> None:
    """Check creations of one name by two instances at once: one succeeds, the other is told."""
    if not cw.capabilities.supports_multiple_instances:
        cw.not_applicable("supports_multiple_instances")
    backends = [cw.backend, cw.fresh()]
    await asyncio.gather(*(one.list_collections() for one in backends))
    for _ in range(4):
        name = cw.new_name()
        outcomes = await asyncio.gather(*(one.create_collection(name, 3) for one in backends), return_exceptions=True)
        failed = [one for one in outcomes if one is not None]
        cw.true(
            len(failed) == 1 and isinstance(failed[0], CollectionExistsError), "one CollectionExistsError", outcomes
        )
