"""Sizes: every call that takes or gives many, at and above the edges where engines and adapters change their ways.

One large collection of a run is written in batches of these sizes, and read, and at last deleted from, by many tests;
a smaller one is for what asks often, and for searches, which need not be exact on more. Points hold their number.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from codeweaver_backends.types import DistanceMetric, FilterCondition, FilterLike, SearchFilter, VectorPoint
from codeweaver_conformance import oracle
from codeweaver_conformance.clause import clause
from codeweaver_conformance.edges import EDGES, condition, vector_of
from codeweaver_conformance.session import Conformance, point

_QUERY: Final = [1.0, 0.5, -0.25]
FEW: Final = 1_000
"""Points of the smaller collection: every backend's searches are exact on so many."""
_BY_POINTS: Final = (64, 65, 100, 101, 128, 129, 256, 257, 500, 501, 512, 513, 1_000, 1_001, 1_024, 1_025, 2_049)
_BY_COLUMNS: Final = (128, 256, 500, 512, 1_000, 1_024, 2_048, 5_462)
MANY: Final = sum(_BY_POINTS) + sum(_BY_COLUMNS)
"""Points of the large one."""
_DELETED_BY_ID: Final = (128, 129, 256, 500, 512, 1_000, 1_001, 1_024, 5_001)
_DELETED_BY_FILTER: Final = (100, 128, 500, 512, 1_000, 1_001, 1_024, 2_048, 4_097)
_BORDER: Final = sum(_DELETED_BY_ID)
"""Numbers below are deleted by id, those above by filter."""


def numbered(start: int, size: int, version: int = 0) -> list[VectorPoint]:
    """Points that hold their number."""
    return [point(n, vector_of(n, version), {"n": n, "g": n % 7, "pad": f"x{n}"}) for n in range(start, start + size)]


def _windows() -> Iterator[tuple[str, int, int]]:
    """How the large collection is written: by which call, from which number on, how many points."""
    start = 0
    for call, sizes in (("upsert_vectors", _BY_POINTS), ("upsert_batch", _BY_COLUMNS)):
        for size in sizes:
            yield call, start, size
            start += size


async def _written(cw: Conformance) -> str:
    name = await cw.collection(dimension=3)
    for call, start, size in _windows():
        points = numbered(start, size)
        if call == "upsert_vectors" or not cw.claims("supports_columnar"):
            await cw.backend.upsert_vectors(name, points)
        else:
            matrix = np.array([one.vector for one in points], dtype=np.float32)
            await cw.backend.upsert_batch(name, [one.id for one in points], matrix, [one.payload for one in points])
    return name


async def large(cw: Conformance) -> str:
    """The large collection, whole."""
    return await cw.fixture("sizes", lambda: _written(cw))


async def doomed(cw: Conformance) -> str:
    """The large collection, to delete from: whoever reads from now on is given another."""
    name = await cw.fixture("sizes, doomed", lambda: large(cw))
    cw.unshare("sizes")
    return name


async def small(cw: Conformance) -> str:
    """The smaller collection."""
    return await cw.fixture("sizes, few", lambda: cw.collection(numbered(0, FEW), dimension=3))


def window(start: int, end: int) -> SearchFilter:
    """The points with numbers from ``start`` to below ``end``."""
    return SearchFilter(must=[FilterCondition("n", "ge", start), FilterCondition("n", "lt", end)])


async def matching(cw: Conformance, name: str, search_filter: FilterLike) -> list[Any]:
    """The ids that a filter selects, of which there are a hundred at most."""
    found = await cw.backend.search_vectors(name, _QUERY, 110, search_filter, with_payload=False)
    return sorted(one.id for one in found)


# --- writing ---------------------------------------------------------------------------------------------------------


@clause("batches.large", "collections.count")
async def test_batches_of_any_size_are_stored(cw: Conformance) -> None:
    """Check the first and the last point of batches at every edge, as points and as columns, and how many there are."""
    name = await large(cw)
    cw.equal(await cw.count(name), MANY, "vector_count")
    ends = sorted({n for _, start, size in _windows() for n in (start, start + size - 1)})
    found: list[Any]
    if cw.claims("supports_scan"):
        found = await cw.backend.get_vectors(name, ends)
    else:
        chosen = SearchFilter(must=[FilterCondition("n", "in", ends)])
        found = await cw.backend.search_vectors(name, _QUERY, len(ends), chosen)
    known = {one.id: one for one in found}
    for call, start, size in _windows():
        told = f"{call} of {size} points: the first and the last"
        payloads = {n: (known[n].payload or {}).get("n") for n in {start, start + size - 1} & known.keys()}
        cw.equal(payloads, {n: n for n in (start, start + size - 1)}, told)
        if cw.claims("supports_scan"):
            off = [n for n in payloads if not np.allclose(known[n].vector, vector_of(n), rtol=1e-6)]
            cw.equal(off, [], f"{told}, with another vector")


@clause("batches.columnar", "vectors.round-trip")
async def test_columns_of_any_size_are_stored_whole(cw: Conformance) -> None:
    """Check every payload, and every eleventh vector, of the largest columns."""
    name = await large(cw)
    _, start, size = list(_windows())[-1]
    found = await cw.backend.get_vectors(name, list(range(start, start + size)), with_vectors=False)
    wrong = [one.id for one in found if one.payload != {"n": one.id, "g": one.id % 7, "pad": f"x{one.id}"}]
    cw.equal([len(found), wrong[:5]], [size, []], "the number of points, and those with another payload")
    some = await cw.backend.get_vectors(name, list(range(start, start + size, 11)), with_payload=False)
    wrong = [one.id for one in some if not np.allclose(one.vector, vector_of(one.id), rtol=1e-6)]
    cw.equal([len(some), wrong[:5]], [len(range(0, size, 11)), []], "the number of points, and those of another vector")


@clause("ids.last-wins", "batches.large")
async def test_equal_ids_far_apart_in_a_batch_are_one_point(cw: Conformance) -> None:
    """Check that the last of equal ids wins, and vectors stay in place, where an adapter sends a batch in pieces."""
    points = numbered(0, 2_600)
    again = {place: place % 4 for place in (127, 256, 511, 999, 1_000, 1_024, 2_047, 2_048, 2_599)}
    for place, n in again.items():
        points[place] = point(n, vector_of(n, 9), {"n": n, "place": place})
    name = await cw.collection(points, dimension=3)
    cw.equal(await cw.count(name), len(points) - len(again))
    found = await cw.backend.search_vectors(name, _QUERY, search_filter=condition("n", "lt", 4))
    last = {n: max(place for place, one in again.items() if one == n) for n in set(again.values())}
    places = {one.id: (one.payload or {}).get("place") for one in found}
    cw.equal(places, {n: last.get(n) for n in range(4)}, "the places of equal ids")
    [hit] = await cw.backend.search_vectors(name, vector_of(2_590), search_filter=window(2_590, 2_591))
    cw.true(abs(hit.score - 1) < 1e-5, "score 1: the vector of point 2,590", hit.score)


# --- reading ---------------------------------------------------------------------------------------------------------


@clause("limits.beyond", "scores.order", "metrics.size")
async def test_a_smaller_limits_answer_begins_a_larger_ones(cw: Conformance) -> None:
    """Check limits at every edge: the number of hits, their scores, and that no better one is missing."""
    for name, count, limits in (
        (await small(cw), FEW, (10, 64, 100, 127, 128, 129, 256, 257, 500, 512, 999, FEW)),
        (await large(cw), MANY, (1_001, 1_024, 1_025, 2_048, 2_049, 4_097, 5_462, 10_001, MANY)),
    ):
        most = min(count, cw.limits.max_limit)
        if count <= cw.limits.exact_size:
            await _begin(cw, name, count, [limit for limit in limits if limit <= most], most)


async def _begin(cw: Conformance, name: str, count: int, limits: list[int], most: int) -> None:
    whole = await cw.backend.search_vectors(name, _QUERY, limit=most)
    wrong = oracle.check_ranking(whole, numbered(0, count), _QUERY, DistanceMetric.COSINE, most)
    cw.true(wrong is None, f"an exact ranking of {count} points", wrong)
    for limit in limits:
        hits = await cw.backend.search_vectors(name, _QUERY, limit=limit, with_payload=["n"])
        cw.equal(len(hits), limit, f"limit={limit} of {count} points")
        cw.equal(len({one.id for one in hits}), limit, f"each point once, limit={limit}")
        off = [n for n, one in enumerate(hits) if abs(one.score - whole[n].score) > 1e-5]
        cw.equal(off[:5], [], f"the places whose scores are not those of a larger limit, limit={limit}")
        odd = [one for one in hits if one.payload != {"n": one.id}]
        cw.equal(odd[:2], [], f"with_payload=['n'], limit={limit}")
    threshold = whole[most // 2].score
    for limit in (257, most):
        hits = await cw.backend.search_vectors(name, _QUERY, limit=limit, score_threshold=threshold)
        cw.true(all(one.score >= threshold for one in hits), f"scores of {threshold} at least", f"limit={limit}")
        passed = min(limit, sum(one.score > threshold + 1e-6 for one in whole))
        cw.true(len(hits) >= passed, f"{passed} hits at least, limit={limit}", len(hits))


@clause("vectors.with-vectors")
async def test_any_number_of_hits_has_vectors(cw: Conformance) -> None:
    """Check the hits of a large search for those that came without."""
    name = await large(cw)
    limit = min(2_100, cw.limits.max_limit)
    hits = await cw.backend.search_vectors(name, _QUERY, limit=limit, with_vectors=True, with_payload=False)
    bare = [n for n, one in enumerate(hits) if one.vector is None or len(one.vector) != 3]
    cw.equal(bare[:5], [], "the places of hits without their vector")


@clause("scan.get")
async def test_any_number_of_ids_is_got(cw: Conformance) -> None:
    """Check numbers of ids at every edge, in another order than the store's, with and without vectors."""
    name = await large(cw)
    for size in (100, 128, 129, 256, 500, 512, 513, 1_000, 1_001, 1_024, 1_025, 2_048, 2_049, 4_097, 5_462, 10_001):
        wanted = [n * 3_001 % MANY for n in range(size)]  # 3,001 and MANY have no common divisor
        vectors = size in (1_025, 2_049)
        found = await cw.backend.get_vectors(name, wanted, with_payload=["n"], with_vectors=vectors)
        cw.true([one.id for one in found] == wanted, f"{size} points in the order asked", f"{len(found)} points")
        cw.true(all(one.payload == {"n": one.id} for one in found), f"the payload's n, of {size} ids", "others")
        if vectors:
            off = [one.id for one in found if not np.allclose(one.vector or [0], vector_of(one.id), rtol=1e-6)]
            cw.equal(off[:5], [], f"the points of {size} that came with another vector, or none")


@clause("scan.scroll")
async def test_pages_of_any_size_join_to_the_whole(cw: Conformance) -> None:
    """Check small pages of some points, large pages of all, and a filter that holds to the end."""
    few, many, largest = await small(cw), await large(cw), cw.limits.max_limit
    cases: list[tuple[str, int, SearchFilter | None, list[int]]] = [
        (few, size, None, list(range(FEW))) for size in (64, 100, 128, 129, 256, 500, 512, 999, 1_000, 1_001)
    ]
    cases += [(many, min(size, largest), None, list(range(MANY))) for size in (1_000, 1_024, 2_049, 10_001)]
    cases += [(many, 256, condition("g", "eq", 3), list(range(3, MANY, 7)))]
    for name, size, search_filter, expected in cases:
        found: list[Any] = []
        cursor: str | None = None
        for _ in range(len(expected) // size + 3):
            page = await cw.backend.scroll_vectors(
                name, cursor=cursor, limit=size, search_filter=search_filter, with_payload=False
            )
            cw.true(len(page.points) <= size, f"{size} points on a page at most", len(page.points))
            found += [one.id for one in page.points]
            cursor = page.cursor
            if cursor is None:
                break
        cw.equal(cursor, None, f"an end, after pages of {size}")
        cw.true(sorted(found) == expected, f"{len(expected)} points, each once, by pages of {size}", len(found))


@clause("scan.count")
async def test_any_number_of_points_is_counted(cw: Conformance) -> None:
    """Check counts at the edges, of all and of what matches."""
    name = await large(cw)
    cw.equal(await cw.backend.count_vectors(name), MANY)
    for size in (128, 500, 1_000, 1_024, 2_048, 2_049, 4_097, 5_462, 10_001):
        cw.equal(await cw.backend.count_vectors(name, condition("n", "lt", size)), size, f"the points below {size}")


@clause("filters.limits", "filters.in", "filters.nin")
async def test_lists_of_any_length_are_answered(cw: Conformance) -> None:
    """Check in and nin at every edge up to the declared length: the values that count come last, and at the edges."""
    name = await small(cw)
    start, most = FEW - 40, min(cw.limits.max_in_values, 10_001)
    sizes = sorted({128, 129, 256, 257, 500, 512, 513, 1_000, 1_001, 1_024, 1_025, 2_049, most})
    for size in (one for one in sizes if one <= most):
        values = [-1 - n for n in range(size)]
        marks = sorted({0, size - 1, *(edge - 1 for edge in EDGES if edge <= size)}, reverse=True)
        for number, place in enumerate(marks):
            values[place] = start + 2 * number
        chosen = {start + 2 * number for number in range(len(marks))}
        among = [FilterCondition("n", "ge", start), FilterCondition("n", "in", values)]
        others = [FilterCondition("n", "ge", start), FilterCondition("n", "nin", values)]
        cw.equal(await matching(cw, name, SearchFilter(must=list(among))), sorted(chosen), f"in of {size} values")
        found = await matching(cw, name, SearchFilter(must=list(others)))
        cw.equal(found, sorted(set(range(start, FEW)) - chosen), f"nin of {size} values")
        if cw.claims("supports_scan"):
            counted = await cw.backend.count_vectors(name, SearchFilter(must=list(among)))
            cw.equal(counted, len(chosen), f"count of an in of {size} values")
    for size in (one for one in (129, 257, 1_025) if one <= most):
        texts = [f"none{n}" for n in range(size)]
        chosen = {start + 3 * number for number in range(8)}
        texts[-len(chosen) :] = [f"x{n}" for n in sorted(chosen)]
        found = await matching(cw, name, SearchFilter(must=[FilterCondition("pad", "in", texts)]))
        cw.equal(found, sorted(chosen), f"in of {size} texts")


@clause("scan.count", "scan.scroll", "scan.delete-by-filter", "filters.in")
async def test_long_lists_mean_the_same_in_every_call(cw: Conformance) -> None:
    """Check search, count, scroll, and at last the delete, by ins of numbers and of texts."""
    name = await cw.collection(numbered(0, FEW), dimension=3)
    left = set(range(FEW))
    for field, size in (("n", 201), ("pad", 300), ("n", 301)):
        chosen = sorted(left)[-size:]
        values: list[Any] = [n if field == "n" else f"x{n}" for n in chosen]
        among = SearchFilter(must=[FilterCondition(field, "in", values[: cw.limits.max_in_values])])
        chosen, told = chosen[: len(values[: cw.limits.max_in_values])], f"an in of {len(values)} values of {field}"
        cw.equal(await cw.ids(name, among), set(chosen), f"a search by {told}")
        cw.equal(await cw.backend.count_vectors(name, among), len(chosen), f"a count by {told}")
        page = await cw.backend.scroll_vectors(name, search_filter=among, limit=FEW)
        cw.equal({one.id for one in page.points}, set(chosen), f"a scroll by {told}")
        cw.equal(await cw.backend.delete_by_filter(name, among), len(chosen), f"the number told of a delete by {told}")
        left -= set(chosen)
        cw.equal(await cw.ids(name), left, f"what a delete by {told} has left")


# --- deleting --------------------------------------------------------------------------------------------------------


@clause("ids.delete-many")
async def test_any_number_of_ids_is_deleted(cw: Conformance) -> None:
    """Check deletes at the edges, and a large one: their own points are gone, and no others."""
    name = await doomed(cw)
    left, start = await cw.count(name), 0
    for size in _DELETED_BY_ID:
        await cw.backend.delete_vectors(name, list(range(start, start + size)))
        start, left = start + size, left - size
        cw.equal(await cw.count(name), left, f"vector_count after deleting {size} ids")
    cw.equal(await matching(cw, name, condition("n", "lt", _BORDER)), [], "what was deleted")


@clause("scan.delete-by-filter")
async def test_any_number_of_points_is_deleted_by_a_filter(cw: Conformance) -> None:
    """Check deletes by filter at the edges, and a large one: as many are gone as were told."""
    name = await doomed(cw)
    left, start = await cw.count(name), _BORDER
    for size in _DELETED_BY_FILTER:
        cw.equal(await cw.backend.delete_by_filter(name, window(start, start + size)), size, "the number told")
        start, left = start + size, left - size
        cw.equal(await cw.count(name), left, f"vector_count after deleting {size} points")
    cw.equal(await matching(cw, name, window(_BORDER, start)), [], "what was deleted")
    beyond = await matching(cw, name, window(start, start + 20))
    cw.equal(beyond, list(range(start, min(start + 20, MANY))), "what no filter selected")
