"""Collections: what creating, naming, listing, describing and deleting them means."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from codeweaver_backends.errors import (
    BackendError,
    CollectionExistsError,
    CollectionNotFoundError,
    InvalidDimensionError,
    InvalidInputError,
    InvalidNameError,
    InvalidOptionError,
)
from codeweaver_backends.types import DistanceMetric, FilterCondition, SearchFilter
from codeweaver_conformance.clause import clause
from codeweaver_conformance.session import Conformance, point

# Ids are integers wherever ids are not the matter, so that a fault of string ids fails its own tests and no others.
A, B, X, N, M, Z = range(10, 16)

THREE = [point(A, [1, 0], {"v": 1}), point(B, [0, 1], {"v": 2}), point(30, [1, 1], {"v": 3})]

NAMES = [
    "a",
    "Code-Index_2",
    "with space",
    "dots.and/slash",
    "ключ",
    "日本語",
    "ümlaut",
    "%41",
    "a'b\"c",
    "a\\b",
    "cw_x",
    "*",
    "😀",
]

BAD_NAMES = ["", ".", "..", "a\nb", "a\x00b", "tab\t", "\x7f", "x" * 81, "é" * 41, "\ud800"]


@clause("collections.create")
async def test_a_new_collection_is_empty_listed_and_described(cw: Conformance) -> None:
    """Check that create stores dimension and metric, and that an empty collection can be searched."""
    for metric in cw.metrics:
        name = await cw.collection(dimension=7, metric=metric)
        info = await cw.backend.get_collection_info(name)
        cw.equal([info.name, info.dimension, info.vector_count], [name, 7, 0])
        cw.equal(info.distance_metric.name, metric.name)
        cw.true(name in await cw.backend.list_collections(), f"{name!r} in the list", "not listed")
        cw.equal(await cw.ids(name), set(), "a new collection has no points")


@clause("collections.exists")
@pytest.mark.parametrize("settings", [(2, DistanceMetric.COSINE), (3, DistanceMetric.COSINE), (2, "other")])
async def test_creating_an_existing_collection_changes_nothing(cw: Conformance, settings: tuple[int, Any]) -> None:
    """Check for recreate semantics, for `if exists: return`, and for a metric that is overwritten."""
    name = await cw.collection(THREE)
    dimension, metric = settings
    if metric == "other":
        metric = next((one for one in cw.metrics if one is not DistanceMetric.COSINE), DistanceMetric.COSINE)
    with cw.raises(CollectionExistsError):
        await cw.backend.create_collection(name, dimension, metric)
    info = await cw.backend.get_collection_info(name)
    cw.equal([info.dimension, info.distance_metric.name], [2, "COSINE"], "the stored settings stay")
    cw.equal(await cw.payloads(name), {one.id: one.payload for one in THREE}, "the points stay")


def calls_on(name: str, cw: Conformance) -> dict[str, Any]:
    """Every call of the claimed profiles that names a collection, with otherwise valid arguments."""
    backend = cw.backend
    calls = {
        "get_collection_info": lambda: backend.get_collection_info(name),
        "upsert_vectors": lambda: backend.upsert_vectors(name, [point(A, [1, 0])]),
        "upsert_vectors of nothing": lambda: backend.upsert_vectors(name, []),
        "search_vectors": lambda: backend.search_vectors(name, [1, 0]),
        "search_vectors with limit 0": lambda: backend.search_vectors(name, [1, 0], limit=0),
        "delete_vectors": lambda: backend.delete_vectors(name, [A]),
        "delete_vectors of nothing": lambda: backend.delete_vectors(name, []),
        "delete_collection": lambda: backend.delete_collection(name),
    }
    if cw.capabilities.supports_scan:
        calls |= {
            "get_vectors": lambda: backend.get_vectors(name, [A]),
            "scroll_vectors": lambda: backend.scroll_vectors(name),
            "count_vectors": lambda: backend.count_vectors(name),
            "delete_by_filter": lambda: backend.delete_by_filter(name, SearchFilter()),
        }
    return calls


@clause("collections.missing")
async def test_every_call_on_a_missing_collection_is_refused(cw: Conformance) -> None:
    """Check for auto-creation, for empty answers, and for shortcuts on empty arguments that skip the look-up."""
    name = cw.new_name("missing")
    for label, call in calls_on(name, cw).items():
        with cw.raises(CollectionNotFoundError, why=label):
            await call()
    cw.true(name not in await cw.backend.list_collections(), "nothing created", "the collection is listed now")


@clause("collections.delete", "collections.delete-missing")
async def test_deleting_removes_that_collection_and_no_other(cw: Conformance) -> None:
    """Check for deletes by prefix, for swallowed deletes, and for case-folded names."""
    name = await cw.collection(THREE)
    others = [await cw.collection(THREE, name=cw_name) for cw_name in (f"{name}2", f"{name}_old", name.upper() + "X")]
    await cw.backend.delete_collection(name)
    listed = await cw.backend.list_collections()
    cw.true(name not in listed, f"{name!r} gone from the list", "still listed")
    for label, call in calls_on(name, cw).items():
        with cw.raises(CollectionNotFoundError, why=f"{label} after the delete"):
            await call()
    for other in others:
        cw.equal(await cw.count(other), 3, f"{other!r} keeps its points")
        cw.true(other in listed, f"{other!r} still listed", listed)


@clause("collections.recreate")
async def test_a_recreated_collection_starts_empty(cw: Conformance) -> None:
    """Check for points, filters or settings that survive in a cache or in files left behind."""
    name = await cw.collection(THREE)
    await cw.backend.search_vectors(name, [1, 0])
    await cw.backend.delete_collection(name)
    metric = next((one for one in cw.metrics if one is not DistanceMetric.COSINE), DistanceMetric.COSINE)
    await cw.collection(dimension=3, metric=metric, name=name)
    cw.equal(await cw.count(name), 0)
    cw.equal(await cw.ids(name), set())
    cw.equal(await cw.ids(name, SearchFilter(must=[FilterCondition("v", "eq", 1)])), set())
    with cw.raises(InvalidDimensionError, why="the old dimension must be refused"):
        await cw.backend.upsert_vectors(name, [point(A, [1, 0])])
    await cw.backend.upsert_vectors(name, [point(A, [3, 0, 4], {"v": 9})])
    [hit] = await cw.backend.search_vectors(name, [3, 0, 4])
    expected = {"COSINE": 1.0, "DOT_PRODUCT": 25.0}.get(metric.name, 1.0)
    cw.true(abs(hit.score - expected) < 1e-4, f"score {expected} under {metric.name}", hit.score)


@clause("collections.recreate")
async def test_a_recreation_by_another_instance_is_seen(cw: Conformance) -> None:
    """Check for settings or handles that are cached per name and believed for ever."""
    if not cw.capabilities.supports_multiple_instances:
        cw.not_applicable("supports_multiple_instances")
    name = await cw.collection(THREE)
    await cw.backend.search_vectors(name, [1, 0])
    other = cw.fresh()
    metric = next((one for one in cw.metrics if one is not DistanceMetric.COSINE), DistanceMetric.COSINE)
    await other.delete_collection(name)
    await other.create_collection(name, 2, metric)
    await other.upsert_vectors(name, [point(N, [3, 4], {"v": 9})])
    [hit] = await cw.backend.search_vectors(name, [3, 4])
    expected = {"COSINE": 1.0, "DOT_PRODUCT": 25.0}.get(metric.name, 1.0)
    cw.true(abs(hit.score - expected) < 1e-4, f"score {expected} under {metric.name}", hit.score)
    await cw.backend.upsert_vectors(name, [point(M, [6, 8], {"v": 1})])
    cw.equal(await cw.ids(name, backend=other), {N, M}, "the other instance sees what the first one writes")
    await other.delete_collection(name)
    with cw.raises(CollectionNotFoundError):
        await cw.backend.upsert_vectors(name, [point(Z, [1, 1])])


@clause("collections.recreate", "collections.isolation")
async def test_a_deleted_collection_leaves_nothing_to_later_points(cw: Conformance) -> None:
    """Check for rows that stay behind and, where an engine counts from one again, become those of later points."""
    old = {"tag": "old", "list": ["old"], "n": 5}
    for name in (cw.new_name(), None):
        await cw.backend.delete_collection(await cw.collection([point(n, [1, n], old) for n in range(3)], name=name))
        later = await cw.collection([point(n, [1, n]) for n in range(3)], name=name)
        for field in old:
            found = await cw.ids(later, SearchFilter(must=[FilterCondition(field, "exists")]))
            cw.equal(found, set(), f"nobody here has {field!r}")
            found = await cw.ids(later, SearchFilter(must=[FilterCondition(field, "exists", False)]))
            cw.equal(found, {0, 1, 2}, f"all are without {field!r}")
        cw.equal(await cw.payloads(later), {n: {} for n in range(3)})


@clause("collections.names")
async def test_names_are_kept(cw: Conformance) -> None:
    """Check how the adapter codes names that its engine does not allow, and folding of case."""
    stem = cw.new_name()
    names = [f"{stem}{one}" for one in NAMES]
    names = [one for one in names if len(one.encode()) <= 80] + [f"{stem}A", f"{stem}\u00e9", f"{stem}e\u0301"]
    names.append(stem + "x" * (80 - len(stem.encode())))
    for number, name in enumerate(names):
        await cw.collection([point(number, [1, 0], {"name": name})], name=name)
    listed = [one for one in await cw.backend.list_collections() if one.startswith(stem)]
    cw.equal(sorted(listed), sorted(names), "every name comes back exactly")
    for number, name in enumerate(names):
        cw.equal(await cw.payloads(name), {number: {"name": name}}, f"{name!r} holds its own point")
        cw.equal((await cw.backend.get_collection_info(name)).name, name)


@clause("collections.bad-names")
@pytest.mark.parametrize("name", [*BAD_NAMES, None, 5, b"x"], ids=ascii)
async def test_other_names_are_refused(cw: Conformance, name: Any) -> None:
    """Check that the rule is applied before the engine sees the name, by every call."""
    with cw.raises(InvalidNameError):
        await cw.backend.create_collection(name, 2)
    with cw.raises(InvalidNameError):
        await cw.backend.search_vectors(name, [1, 0])
    with cw.raises(InvalidNameError):
        await cw.backend.delete_collection(name)


@clause("collections.list")
async def test_every_collection_is_listed_once(cw: Conformance) -> None:
    """Check for a first page taken for the whole: 10 and 100 are usual."""
    names = [await cw.collection(dimension=1) for _ in range(12)]
    end = time.monotonic() + 4  # a hundred more where that is quick
    while time.monotonic() < end and len(names) < 105:
        names.append(await cw.collection(dimension=1))
    listed = [one for one in await cw.backend.list_collections() if one in set(names)]
    cw.equal(sorted(listed), sorted(names))


@clause("collections.count")
async def test_the_count_is_exact_after_every_write(cw: Conformance) -> None:
    """Check for counts of rows ever written, of deletions asked for, and for cached counts."""
    name = await cw.collection()
    await cw.backend.upsert_vectors(name, [point(number, [1, number]) for number in range(5)])
    cw.equal(await cw.count(name), 5, "after 5 upserts")
    await cw.backend.upsert_vectors(name, [point(0, [0, 1]), point(1, [0, 1])])
    cw.equal(await cw.count(name), 5, "after overwriting 2")
    for step in ("deleting 2", "deleting the same 2 again"):
        await cw.backend.delete_vectors(name, [0, 1])
        cw.equal(await cw.count(name), 3, f"after {step}")
    await cw.backend.delete_vectors(name, ["ghost", 999])
    cw.equal(await cw.count(name), 3, "after deleting ids that were never there")
    await cw.backend.delete_vectors(name, [2, 3, 4])
    cw.equal(await cw.count(name), 0, "after deleting the rest")


@clause("collections.info")
async def test_a_fresh_instance_reads_the_stored_settings(cw: Conformance) -> None:
    """Check that info reads the store, and not the configuration or this instance's memory."""
    metric = cw.metrics[-1]
    name = await cw.collection([point(n, [n + 1] * 7) for n in range(3)], dimension=7, metric=metric)
    fresh = await cw.another()
    info = await fresh.get_collection_info(name)
    cw.equal([info.name, info.dimension, info.vector_count], [name, 7, 3])
    cw.equal(info.distance_metric.name, metric.name)
    cw.true(
        info.indexed_vector_count is None or 0 <= info.indexed_vector_count <= 3,
        "indexed_vector_count None or at most 3",
        info.indexed_vector_count,
    )


@clause("collections.isolation")
async def test_collections_do_not_share_points(cw: Conformance) -> None:
    """Check for one physical table without a scope in search, filter, delete or count."""
    first = await cw.collection([point(X, [1, 0], {"in": 1}), point(1, [0, 1], {"in": 1})])
    second = await cw.collection([point(X, [0, 1], {"in": 2}), point(2, [1, 0], {"in": 2})])
    cw.equal(await cw.payloads(first), {X: {"in": 1}, 1: {"in": 1}})
    cw.equal(await cw.ids(first, SearchFilter(must=[FilterCondition("in", "eq", 2)])), set())
    await cw.backend.delete_vectors(first, [X, 2])
    cw.equal(await cw.payloads(second), {X: {"in": 2}, 2: {"in": 2}}, "deleting in one leaves the other")
    await cw.backend.upsert_vectors(first, [point(X, [1, 1], {"in": 3})])
    cw.equal(await cw.payloads(second), {X: {"in": 2}, 2: {"in": 2}}, "overwriting in one leaves the other")
    cw.equal([await cw.count(first), await cw.count(second)], [2, 2])


@clause("collections.bad-dimension")
@pytest.mark.parametrize("dimension", [0, -1, True, 2.0, "2", None, "maximum + 1"], ids=str)
async def test_bad_dimensions_are_refused(cw: Conformance, dimension: Any) -> None:
    """Check that nothing is created before the dimension is judged."""
    if dimension == "maximum + 1":
        dimension = cw.capabilities.max_vector_dimension + 1
    name = cw.new_name()
    with cw.raises(InvalidInputError):
        await cw.backend.create_collection(name, dimension)
    cw.true(name not in await cw.backend.list_collections(), "nothing created", "the collection is listed")


@clause("collections.first-use")
async def test_of_concurrent_creations_one_succeeds(cw: Conformance) -> None:
    """Check for check-then-create, on the first use of a fresh backend too."""
    backend = await cw.another()
    name = cw.new_name()
    outcomes = await asyncio.gather(*(backend.create_collection(name, 2) for _ in range(20)), return_exceptions=True)
    foreign = [one for one in outcomes if one is not None and not isinstance(one, BackendError)]
    cw.true(not foreign, "only CollectionExistsError", foreign)
    kinds = sorted("created" if one is None else type(one).__name__ for one in outcomes)
    cw.equal(kinds, ["CollectionExistsError"] * 19 + ["created"])
    await asyncio.gather(*(backend.upsert_vectors(name, [point(n, [1, n])]) for n in range(20)))
    cw.equal(await cw.ids(name, backend=backend), set(range(20)), "20 concurrent first upserts")


@clause("collections.engine-options")
async def test_options_of_the_engine_are_kept_and_change_no_meaning(cw: Conformance) -> None:
    """Check the claimed ones but texts, whose values only the engine knows, and what is none of them."""
    known = cw.capabilities.engine_options
    values = {"integer": 1, "boolean": False}
    given = {name: values[kind] for name, kind in known.items() if kind in values}
    name = cw.new_name()
    await cw.backend.create_collection(name, 2, engine_options=given)
    for backend in (cw.backend, await cw.another()):
        cw.equal((await backend.get_collection_info(name)).engine_options, given, "as the collection was created")
    await cw.backend.upsert_vectors(name, [point(A, [1, 0], {"v": 1}), point(B, [0, 1], {"v": 2})])
    cw.equal([hit.id for hit in await cw.backend.search_vectors(name, [1, 0])], [A, B])
    cw.equal(await cw.ids(name, SearchFilter(must=[FilterCondition("v", "eq", 2)])), {B})
    wrong: list[Any] = [{**given, "codeweaver_has_no_such_option": 1}, ["option"], "option"]
    wrong += [{**given, option: None} for option in known] + [{**given, option: [1]} for option in known]
    wrong += [{**given, option: "1"} for option, kind in known.items() if kind != "text"]
    for options in wrong:
        other = cw.new_name()
        with cw.raises(InvalidOptionError, why=f"engine_options={options!r}"):
            await cw.backend.create_collection(other, 2, engine_options=options)
        cw.true(other not in await cw.backend.list_collections(), "nothing created", f"by engine_options={options!r}")
