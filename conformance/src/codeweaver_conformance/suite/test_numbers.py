"""Numbers on their way: the same ids, payloads and operands through every call, where doubles and texts differ."""

from __future__ import annotations

from typing import Final

import numpy as np
import pytest

from codeweaver_backends.types import DistanceMetric, FilterCondition, PointId, SearchFilter, VectorPoint
from codeweaver_conformance import oracle
from codeweaver_conformance.caller import in_transaction
from codeweaver_conformance.clause import clause
from codeweaver_conformance.edges import condition
from codeweaver_conformance.session import Conformance, point

_IDS: Final[list[PointId]] = [
    *(2**53 + n for n in range(-2, 4)),
    *(2**62 + n for n in range(-1, 3)),
    *(2**63 - n for n in range(1, 5)),
    *map(str, (2**53, 2**53 + 1, 2**63 - 1)),
    0,
    "0",
]
_NUMBERS: Final = [
    2**53 - 1,
    2**53,
    2**53 + 1,
    2**53 + 2,
    -(2**53) - 1,
    2**63 - 1,
    2**63 - 2,
    -(2**63),
    -(2**63) + 1,
    0.1,
    0.1 + 0.2,
    1 / 3,
    1e22,
    5e-324,
    1.7976931348623157e308,
    16_777_217,
    16_777_217.0,
    3.0,
    3,
]
_PAYLOADS: Final = [
    {"n": number, "list": [number, 0.1 + 0.2, 2**53 + 1], "deep": {"n": number, "list": [[number]]}}
    for number in _NUMBERS
]


def _points() -> list[VectorPoint]:
    return [point(n, [1, n], payload) for n, payload in enumerate(_PAYLOADS)]


async def _written(cw: Conformance, how: str) -> str:
    """The points, as written by one of the calls."""
    if how == "points":
        return await cw.collection(_points())
    name = await cw.collection()
    if how == "columns":
        matrix = np.array([[1, n] for n in range(len(_PAYLOADS))], dtype=np.float32)
        await cw.backend.upsert_batch(name, list(range(len(_PAYLOADS))), matrix, [dict(one) for one in _PAYLOADS])
    else:
        async with in_transaction(cw.backend) as inside:
            await inside.upsert_vectors(name, _points())
            await inside.commit()
    return name


async def _everywhere(cw: Conformance, how: str) -> None:
    name = await _written(cw, how)
    expected = dict(enumerate(_PAYLOADS))
    cw.equal(await cw.payloads(name), expected, f"payloads written as {how}, by a search")
    if cw.claims("supports_scan"):
        got = await cw.backend.get_vectors(name, list(expected))
        cw.equal({one.id: one.payload for one in got}, expected, f"payloads written as {how}, by get")
        page = await cw.backend.scroll_vectors(name, limit=100)
        cw.equal({one.id: one.payload for one in page.points}, expected, f"payloads written as {how}, by a scroll")


@clause("payload.numbers")
async def test_numbers_are_the_same_through_every_reading_call(cw: Conformance) -> None:
    """Check integers near 2^53 and 2^63, doubles of seventeen digits, in lists and objects, by search, get, scroll."""
    await _everywhere(cw, "points")


@clause("batches.columnar", "payload.numbers")
async def test_numbers_are_the_same_through_columns(cw: Conformance) -> None:
    """Check the same, written as columns."""
    await _everywhere(cw, "columns")


@clause("transactions.commit", "payload.numbers")
async def test_numbers_are_the_same_through_a_transaction(cw: Conformance) -> None:
    """Check the same, written in a transaction."""
    await _everywhere(cw, "a transaction")


@clause("ids.round-trip", "ids.delete")
async def test_neighbouring_integers_are_different_ids(cw: Conformance) -> None:
    """Check ids that are one double through search, get, scroll, replacing, columns and delete."""
    points = [point(one, [1, n], {"id": str(one), "n": n}) for n, one in enumerate(_IDS)]
    name = await cw.collection(points)
    expected = {one.id: one.payload for one in points}
    cw.equal(await cw.payloads(name), expected, "a search")
    if cw.claims("supports_scan"):
        cw.equal([one.id for one in await cw.backend.get_vectors(name, _IDS)], _IDS, "get")
        page = await cw.backend.scroll_vectors(name, limit=100)
        cw.equal({one.id for one in page.points}, set(_IDS), "a scroll")
    if cw.claims("supports_columnar"):
        whole = [one for one in _IDS if isinstance(one, int)]
        other = await cw.collection()
        await cw.backend.upsert_batch(other, whole, np.ones((len(whole), 2), dtype=np.float32))
        cw.equal(await cw.ids(other), set(whole), "columns")
    left = dict(expected)
    for one in _IDS[::2]:
        await cw.backend.delete_vectors(name, [one])
        del left[one]
        cw.equal(await cw.payloads(name), left, f"after deleting {one!r}")
    await cw.backend.upsert_vectors(name, [point(_IDS[1], [1, 5], {"again": True})])
    cw.equal(await cw.payloads(name), left | {_IDS[1]: {"again": True}}, f"after replacing {_IDS[1]!r}")


_OPERANDS: Final = [
    ("eq", 2**53 + 1),
    ("in", [2**53 + 1, 2**63 - 2, 0.1 + 0.2]),
    ("gt", 2**53),
    ("le", -(2**53) - 1),
    ("lt", 2**63 - 1),
    ("ge", 2**63 - 1),
    ("eq", 0.1 + 0.2),
    ("gt", 0.3),
    ("eq", 16_777_217),
    ("ne", 2**53),
]


async def _selects(cw: Conformance, name: str, points: list[VectorPoint], search_filter: SearchFilter) -> None:
    """Search, count, scroll and delete by the filter select what it says; what is deleted is written again."""
    expected = set(oracle.selected(points, search_filter))
    label = repr(search_filter.must)
    cw.equal(await cw.ids(name, search_filter), expected, f"a search by {label}")
    if cw.claims("supports_scan"):
        cw.equal(await cw.backend.count_vectors(name, search_filter), len(expected), f"a count by {label}")
        page = await cw.backend.scroll_vectors(name, search_filter=search_filter, limit=100)
        cw.equal({one.id for one in page.points}, expected, f"a scroll by {label}")
        cw.equal(await cw.backend.delete_by_filter(name, search_filter), len(expected), f"a delete by {label}")
        cw.equal(await cw.ids(name), {one.id for one in points} - expected, f"what a delete by {label} leaves")
        if expected:
            await cw.backend.upsert_vectors(name, [one for one in points if one.id in expected])


@clause("filters.range", "filters.eq", "filters.in", "filters.ne")
@pytest.mark.parametrize("field", ["n", "list", "deep.n"])
async def test_operands_are_exact_in_every_call(cw: Conformance, field: str) -> None:
    """Check operands near 2^53 and 2^63, and of seventeen digits, in search, count, scroll and delete by filter."""
    points = _points()
    name = await cw.collection(points)
    for operator, operand in _OPERANDS:
        await _selects(cw, name, points, condition(field, operator, operand))


@clause("filters.datetime", "filters.datetime-utc")
async def test_instants_are_exact_in_every_call(cw: Conformance) -> None:
    """Check microseconds, offsets with minutes, and none, in search, count, scroll and delete by filter."""
    texts = [
        "2024-05-01T12:00:00.000001Z",
        "2024-05-01T12:00:00.000002Z",
        "2024-05-01T17:30:00.000002+05:30",
        "2024-05-01T17:00:00+05:30",
        "2024-05-01T11:30:00Z",
        "2024-05-01T08:15:00-03:45",
        "2024-05-01T12:00:00.000999Z",
        "2024-05-01T12:00:00.000002",
        "2024-05-01",
        "2024-05-02",
    ]
    points = [point(n, [1, n], {"when": text}) for n, text in enumerate(texts)]
    name = await cw.collection(points)
    for operator in ("gt", "ge", "lt", "le"):
        for operand in (texts[1], texts[2], texts[5], texts[7], texts[8], "2024-05-01T17:45:00+05:45"):
            await _selects(cw, name, points, condition("when", operator, operand))


_SCALES: Final[dict[DistanceMetric, list[list[list[float]]]]] = {
    DistanceMetric.COSINE: [[[3e-20, 4e-20], [4e-20, 3e-20], [-1e-20, 0]], [[3e15, 4e15], [4e15, 3e15], [1e15, 0]]],
    DistanceMetric.EUCLIDEAN: [[[4_096, 4_096.25], [4_096, 4_097], [4_096, 4_096.5]], [[1e-4, 0], [0, 1e-4], [0, 0]]],
    DistanceMetric.MANHATTAN: [[[4_096, 4_096.25], [4_096, 4_097], [4_096, 4_096.5]], [[1e-4, 0], [0, 1e-4], [0, 0]]],
    DistanceMetric.DOT_PRODUCT: [[[4_096, -4_096], [4_096, -4_095.5], [1, 1]], [[1e-4, 0], [0, 1e-4], [0, 0]]],
}


@clause("scores.values", "scores.order")
async def test_scores_are_right_far_from_the_origin_and_near_it(cw: Conformance) -> None:
    """Check short and long vectors, near ones that are far from the origin, and a query that is a stored point."""
    for metric in cw.metrics:
        for rows in _SCALES[metric]:
            points = [point(n, row, {}) for n, row in enumerate(rows)]
            name = await cw.collection(points, metric=metric)
            for row in rows:
                if metric is DistanceMetric.COSINE or any(row):
                    wrong = oracle.check_ranking(await cw.backend.search_vectors(name, row), points, row, metric)
                    cw.true(wrong is None, f"{metric.name} of {row} to {rows}", wrong)


@clause("filters.range")
async def test_a_bound_beyond_the_integers_is_a_number(cw: Conformance) -> None:
    """Check bounds that are doubles outside of 64 bits: every integer is on one side."""
    points = _points()
    name = await cw.collection(points)
    for operator, operand in (("lt", 1e19), ("gt", -1e19), ("ge", 9.3e18), ("le", 9.223372036854776e18)):
        await _selects(cw, name, points, SearchFilter(must=[FilterCondition("n", operator, operand)]))
