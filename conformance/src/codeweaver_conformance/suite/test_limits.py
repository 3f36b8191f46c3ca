"""Limits and batches: how many points a call takes and gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from codeweaver_backends.errors import BackendError, InvalidDimensionError, InvalidInputError, LimitExceededError
from codeweaver_backends.types import FilterCondition, SearchFilter
from codeweaver_conformance.clause import clause
from codeweaver_conformance.session import Conformance, point

# Ids are integers wherever ids are not the matter, so that a fault of string ids fails its own tests and no others.
A, OLD = range(2)


@clause("limits.zero")
async def test_a_limit_of_zero_gives_nothing(cw: Conformance) -> None:
    """Check for `limit or 10`, and for an engine that refuses 0."""
    name = await cw.collection([point(n, [1, n]) for n in range(3)])
    cw.equal(await cw.backend.search_vectors(name, [1, 0], limit=0), [])
    matching = SearchFilter(must_not=[FilterCondition("x", "exists")])
    cw.equal(await cw.backend.search_vectors(name, [1, 0], limit=0, search_filter=matching), [])


@clause("limits.default")
async def test_ten_points_are_returned_by_default(cw: Conformance) -> None:
    """Check the default of the signature."""
    name = await cw.collection([point(n, [1, n]) for n in range(13)])
    cw.equal(len(await cw.backend.search_vectors(name, [1, 0])), 10)


@clause("limits.beyond")
async def test_a_limit_beyond_the_count_gives_all(cw: Conformance) -> None:
    """Check padding, errors of the engine, and its default page, with and without a filter."""
    for size in (0, 1, 3, 40):
        name = await cw.collection([point(n, [1, n], {"even": n % 2 == 0}) for n in range(size)])
        for limit in (size + 1, 500):
            found = await cw.backend.search_vectors(name, [1, 0], limit=limit)
            cw.equal({hit.id for hit in found}, set(range(size)), f"limit={limit} of {size} points")
            even = SearchFilter(must=[FilterCondition("even", "eq", True)])
            found = await cw.backend.search_vectors(name, [1, 0], limit=limit, search_filter=even)
            cw.equal({hit.id for hit in found}, set(range(0, size, 2)), f"limit={limit} of {size} points, filtered")


@clause("limits.maximum")
async def test_the_declared_maximum_is_taken_and_more_is_refused(cw: Conformance) -> None:
    """Check that max_limit is the engine's truth, on a small collection too."""
    name = await cw.collection([point(n, [1, n]) for n in range(3)])
    found = await cw.backend.search_vectors(name, [1, 0], limit=cw.limits.max_limit)
    cw.equal({hit.id for hit in found}, {0, 1, 2})
    for limit in (cw.limits.max_limit + 1, 2**63, 10**30):
        with cw.raises(LimitExceededError, InvalidInputError, why=f"limit={limit}"):
            await cw.backend.search_vectors(name, [1, 0], limit=limit)


@clause("limits.refused")
async def test_other_limits_are_refused(cw: Conformance) -> None:
    """Check for slices by a negative limit, and True taken for 1."""
    name = await cw.collection([point(n, [1, n]) for n in range(5)])
    for limit in (-1, True, 1.0, 1.5, "3", None):
        with cw.raises(InvalidInputError, why=f"limit={limit!r}"):
            await cw.backend.search_vectors(name, [1, 0], limit=limit)
    cw.equal(len(await cw.backend.search_vectors(name, [1, 0], limit=np.int64(3))), 3, "anything with __index__")


# --- batches ---------------------------------------------------------------------------------------------------------


@clause("batches.empty")
async def test_upserting_nothing_changes_nothing(cw: Conformance) -> None:
    """Check for an engine that refuses an empty request."""
    name = await cw.collection([point(A, [1, 0], {"v": 1})])
    await cw.backend.upsert_vectors(name, [])
    await cw.unchanged(name, {A: {"v": 1}})


@clause("batches.large")
async def test_a_large_batch_is_stored_whole(cw: Conformance) -> None:
    """Check pages, message sizes and request limits: many small points, and few heavy ones."""
    count = 6_000
    matrix = np.random.default_rng(cw.seed).standard_normal((count, 8)).astype(np.float32)
    name = await cw.collection([point(n, row.tolist(), {"n": n}) for n, row in enumerate(matrix)], dimension=8)
    cw.equal(await cw.count(name), count, "many small points")
    for n in (0, 1_111, count - 1):
        [hit] = await cw.backend.search_vectors(name, matrix[n].tolist(), limit=1)
        cw.equal([hit.id, hit.payload], [n, {"n": n}])
    found = await cw.ids(name, SearchFilter(must=[FilterCondition("n", "ge", count - 500)]))
    cw.equal(found, set(range(count - 500, count)), "the last 500, by filter")
    if cw.limits.exact_size >= count:
        most = min(count, cw.limits.max_limit)
        cw.equal(len(await cw.backend.search_vectors(name, matrix[0].tolist(), limit=most)), most, "all in one search")
    size = min(cw.limits.max_payload_bytes, 200_000) - 40
    number = 40_000_000 // size if size > 100_000 else 400
    heavy = await cw.collection([point(n, [1, n], {"n": n, "t": "x" * size}) for n in range(number)])
    cw.equal(await cw.count(heavy), number, f"{number} points of {size} bytes each")
    results = await cw.backend.search_vectors(heavy, [1, 0], limit=number, with_payload=["n"])
    cw.equal({hit.id for hit in results}, set(range(number)))


@clause("batches.atomic-validation")
@pytest.mark.parametrize("position", [0, 150, 299])
async def test_one_bad_point_stops_the_batch(cw: Conformance, position: int) -> None:
    """Check that nothing is sent before the whole batch is judged, also where the engine's batches are small."""
    name = await cw.collection([point(A, [1, 0], {"v": 1})])
    batch = [point(n, [1, n], {"n": n}) for n in range(300)]
    batch[position] = point(position, [1, 2, 3], {})
    with cw.raises(InvalidDimensionError):
        await cw.backend.upsert_vectors(name, batch)
    await cw.unchanged(name, {A: {"v": 1}})


@clause("batches.wrong-argument")
@pytest.mark.parametrize(
    "wrong", [None, 5, "abc", {"id": 1}, [{"id": 1, "vector": [1, 0]}], [None], [("a", [1, 0])]], ids=str
)
async def test_anything_but_points_is_refused(cw: Conformance, wrong: Any) -> None:
    """Check that the error is the contract's, and not an AttributeError."""
    name = await cw.collection([point(A, [1, 0], {"v": 1})])
    with cw.raises(InvalidInputError):
        await cw.backend.upsert_vectors(name, wrong)
    with cw.raises(InvalidInputError):
        await cw.backend.delete_vectors(name, 5)
    with cw.raises(InvalidInputError):
        await cw.backend.delete_vectors(name, "a")
    await cw.unchanged(name, {A: {"v": 1}})


@clause("batches.columnar")
async def test_columns_mean_what_points_mean(cw: Conformance) -> None:
    """Check ids, replacing, the last of equal ids, payloads and their absence, of every dtype."""
    name = await cw.collection([point(OLD, [1, 0], {"v": 0, "gone": 1})])
    ids: list[Any] = ["old", 1, "1", "twice", "twice"]
    matrix = np.array([[0, 1], [3, 4], [4, 3], [1, 0], [0, 1]], dtype=np.float32)
    payloads = [{"v": n, "deep": {"x": [n, None]}} for n in range(4)] + [None]
    await cw.backend.upsert_batch(name, ids, matrix, payloads)
    expected = {"old": payloads[0], 1: payloads[1], "1": payloads[2], "twice": {}}
    cw.equal(await cw.payloads(name), expected)
    cw.equal(await cw.count(name), 4)
    hits = await cw.backend.search_vectors(name, [0, 1], limit=2)
    cw.equal(
        {hit.id for hit in hits},
        {"old", "twice"},
        "the vectors are those of the columns",
    )
    found = await cw.ids(name, SearchFilter(must=[FilterCondition("deep.x", "eq", 1)]))
    cw.equal(found, {1}, "payloads are filtered alike")
    rows = np.array([[-1, 2], [-2, 1]])
    kinds = [rows.astype(dtype) for dtype in (np.float64, np.int64, np.float16, np.float32)]
    kinds += [np.asfortranarray(kinds[3]), np.repeat(kinds[3], 2, axis=0)[::2], np.repeat(kinds[3], 2, axis=1)[:, ::2]]
    for number, kind in enumerate(kinds):
        await cw.backend.upsert_batch(name, [5, 6], kind, [{"kind": number}, {}])
        kind[:] = 9  # which is the caller's right, and no concern of the store's
        for one, row in zip((5, 6), rows.tolist(), strict=True):
            [hit] = await cw.backend.search_vectors(name, row, limit=1)
            cw.true(hit.id == one and hit.score > 1 - 1e-5, f"point {one} at {row}, of {kind.dtype}", hit)
    cw.equal(await cw.count(name), 6)
    await cw.backend.upsert_batch(name, [], np.empty((0, 2), dtype=np.float32), [])
    cw.equal(await cw.count(name), 6, "no columns at all")
    many = np.random.default_rng(cw.seed).standard_normal((3_000, 2)).astype(np.float32)
    await cw.backend.upsert_batch(name, [f"m{n}" for n in range(3_000)], many, [{"n": n} for n in range(3_000)])
    cw.equal(await cw.count(name), 3_006, "3,000 points in one call")


@clause("batches.columnar-refused")
async def test_bad_columns_are_refused(cw: Conformance) -> None:
    """Check lengths, shapes, values, ids and payloads; nothing is written of any of them."""
    name = await cw.collection([point(A, [1, 0], {"v": 1})])
    good = np.ones((2, 2), dtype=np.float32)
    bad: list[tuple[Any, ...]] = [
        (["b", "c"], np.ones((3, 2), dtype=np.float32)),
        (["b", "c"], np.ones((2, 3), dtype=np.float32)),
        (["b", "c"], np.ones(2, dtype=np.float32)),
        (["b", "c"], np.array([["1", "2"], ["3", "4"]])),
        (["b", "c"], np.array([[1, 2], [3, np.nan]], dtype=np.float32)),
        (["b", "c"], np.array([[1, 2], [0, 0]], dtype=np.float32)),
        (["b", "c"], [[1.0, 2.0], [3.0, "4"]]),
        (["b", "c"], good, [{}]),
        (["b", "c"], good, [{}, {"x": b"bytes"}]),
        (["b", "c"], good, "ab"),
        (["b", True], good),
        ("bc", good),
    ]
    for columns in bad:
        with cw.raises(BackendError, why=repr(columns)[:80]) as raised:
            await cw.backend.upsert_batch(name, *columns)
        cw.true(isinstance(raised.error, InvalidInputError), "InvalidInputError", raised.error)
    await cw.unchanged(name, {A: {"v": 1}})
