"""Payload: any JSON object, exactly."""

from __future__ import annotations

import copy
import datetime
import decimal
import enum
import json
import uuid
from typing import Any

import numpy as np
import pytest

from codeweaver_backends.errors import InvalidInputError, InvalidPayloadError, LimitExceededError
from codeweaver_backends.types import FilterCondition, SearchFilter, VectorPoint
from codeweaver_conformance.clause import clause
from codeweaver_conformance.session import Conformance, point

# Ids are integers wherever ids are not the matter, so that a fault of string ids fails its own tests and no others.
NONE, EMPTY, LEFT, A, B, C, FITS, WIDE, X, Y = range(10)

EXACT: list[dict[str, Any]] = [
    {"a": None, "b": {"c": None}, "d": [None]},
    {"deep": {"er": {"still": [{"x": [1, [2, [3]]]}, [], {}]}}},
    {"empty": {"list": [], "object": {}, "text": ""}},
    {"mixed": [1, "1", 1.5, True, None, [1], {"a": 1}]},
    {"text": 'O\'Brien said "hi" \\ back\nslash\ttab'},
    {"unicode": "日本語 ключ \u00e9 e\u0301 😀 \u202e \u2028 \ufeff"},
    {"control": "\x00\x01\x1d\x1e\x1f\x7f\x80"},
    {"long": "x" * 9_000},
    {"looks": "null", "like": "[1]", "json": '{"a": 1}', "num": "1", "bool": "true"},
    {"date": "2024-05-01T12:00:00Z", "odd": "2024-05-01T12:00:00.123456789+02:00"},
    {"objects": [{"a": None, "b": 1}, {"c": [None, {}, []]}], "nulls": [[None], {"d": None}]},
]

NUMBERS: list[dict[str, Any]] = [
    {"i": 1, "f": 1.0, "t": True, "s": "1"},
    {"i": 0, "f": 0.0, "t": False},
    {"big": 2**53 + 1, "max": 2**63 - 1, "min": -(2**63)},
    {"float": 0.41809884672577885, "tiny": 5e-324, "huge": 1.7976931348623157e308, "e": 1e300, "third": 1 / 3},
    {"list": [1, 1.0, 2**53 + 1, 0.1, -1, -1.5]},
    {"large": 1e16, "larger": 123456789012345680.0, "int": 10**16},
]

KEYS: list[dict[str, Any]] = [
    {"": 1},
    {"Title": 1, "title": 2, "TITLE": 3},
    {"a.b": 1, "a": {"b": 2}},
    {"a b": 1, "a-b": 2, "a/b": 3, "a[0]": 4, "$x": 5, "1x": 6, "0": 7},
    {'quote"': 1, "single'": 2, "back\\slash": 3, "new\nline": 4, "nul\x00": 5},
    {"ключ": 1, "鍵": 2, "😀": 3},
    {"__proto__": 1, "constructor": 2, "*": 3, "%": 4},
    {"e\u0301": 1, "\u00e9": 2, "inner": {"e\u0301": 3, "\u00e9": 4, "list": [{"e\u0301": 5}]}},
    {"k" * 255: 1, "k" * 256: 2, "k" * 255 + "x": 3, "inner": {"k" * 1_000: 4}},
]

RESERVED: list[dict[str, Any]] = [
    {key: f"mine: {key}"}
    for key in (
        "id", "_id", "vector", "vectors", "_vector", "sparse", "text", "document", "doc", "d", "i", "f", "facts", "n",
        "score", "_score", "distance", "_distance", "_rowid", "payload", "metadata", "properties", "doc_id", "pk",
        "raw", "uuid", "$meta", "page_content", "collection",
    )
]  # fmt: skip


class _Colour(enum.Enum):
    RED = "red"


class _Level(enum.IntEnum):
    LOW = 1


REFUSED: dict[str, Any] = {
    "NaN": {"a": float("nan")},
    "infinity": {"a": [1, {"b": float("inf")}]},
    "bytes": {"a": b"x"},
    "set": {"a": {1}},
    "datetime": {"a": datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)},
    "date": {"a": datetime.date(2024, 1, 1)},
    "uuid": {"a": uuid.UUID(int=1)},
    "enum": {"a": _Colour.RED},
    "int enum": {"a": _Level.LOW},
    "decimal": {"a": decimal.Decimal(1)},
    "numpy scalar": {"a": np.int64(1)},
    "numpy array": {"a": np.zeros(2)},
    "object": {"a": object()},
    "lone surrogate": {"a": "\ud800"},
    "lone surrogate key": {"\ud800": 1},
    "int key": {1: "a"},
    "nested int key": {"a": {2: "b"}},
    "None key": {None: "a"},
    "2**63": {"a": 2**63},
    "-2**63-1": {"a": [-(2**63) - 1]},
    "a list": [1],
    "text": "abc",
}


@clause("payload.exact")
async def test_any_json_comes_back_exactly(cw: Conformance) -> None:
    """Check for values that are dropped, turned to text, or flattened by the store."""
    await _round_trip(cw, [*EXACT, _nested(min(cw.limits.max_payload_depth, 200))])


def _nested(depth: int) -> dict[str, Any]:
    """A payload of so many containers in each other, itself among them."""
    inner: Any = []
    for level in range(depth - 2):
        inner = [inner] if level % 2 else {"d": inner}
    return {"nested": inner}


@clause("payload.numbers")
async def test_numbers_keep_type_and_value(cw: Conformance) -> None:
    """Check for one number type in the store, and for a JSON writer or reader that rounds."""
    await _round_trip(cw, NUMBERS)


@clause("payload.keys")
async def test_keys_are_kept(cw: Conformance) -> None:
    """Check for keys that become column names or paths."""
    await _round_trip(cw, KEYS)


@clause("payload.reserved")
async def test_no_key_is_reserved(cw: Conformance) -> None:
    """Check that the adapter's own fields lie where no payload key can reach."""
    payloads = [*RESERVED, {key: value for one in RESERVED for key, value in one.items()}]
    name = await _round_trip(cw, payloads)
    for key in ("id", "text", "score", "f", "payload"):
        found = await cw.ids(name, SearchFilter(must=[FilterCondition(key, "eq", f"mine: {key}")]))
        expected = {number for number, one in enumerate(payloads) if key in one}
        cw.equal(found, expected, f"and {key!r} is filtered like any other field")


async def _round_trip(cw: Conformance, payloads: list[dict[str, Any]]) -> str:
    """Every call that reads gives these payloads: whole, and by the names of all keys."""
    name = await cw.collection([point(number, [1, number], one) for number, one in enumerate(payloads)])
    ids = list(range(len(payloads)))
    for how in ({}, {"with_payload": sorted({key for one in payloads for key in one})}):
        found = {"search": await cw.backend.search_vectors(name, [1, 1], len(ids), **how)}
        if cw.claims("supports_scan"):
            found["get"] = await cw.backend.get_vectors(name, ids, **how)
            found["scroll"] = (await cw.backend.scroll_vectors(name, limit=len(ids), **how)).points
        for call, hits in found.items():
            got = {one.id: one.payload for one in hits}
            for number, expected in enumerate(payloads):
                cw.equal(got.get(number), expected, f"payload {number} of a {call}{' by names' if how else ''}")
    return name


@clause("payload.none")
async def test_no_payload_comes_back_empty(cw: Conformance) -> None:
    """Check that None and {} are no error, and are told as {}."""
    name = await cw.collection([point(NONE, [1, 0], None), point(EMPTY, [0, 1], {}), VectorPoint(LEFT, [1, 1])])
    for result in await cw.everything(name):
        cw.equal(result.payload, {}, f"point {result.id!r}")


@clause("payload.independent")
async def test_points_of_a_batch_do_not_shape_each_other(cw: Conformance) -> None:
    """Check for a schema that is read from the first point."""
    payloads = [None, {"a": 1}, {"b": "x", "a": "text"}, {"a": [1]}, {"a": None}, {"a": {"c": True}}, {}]
    name = await cw.collection([point(number, [1, number], one) for number, one in enumerate(payloads)])
    await cw.backend.upsert_vectors(name, [point(99, [1, 1], {"a": 1.5, "never": "seen"})])
    expected = {number: one or {} for number, one in enumerate(payloads)} | {99: {"a": 1.5, "never": "seen"}}
    cw.equal(await cw.payloads(name), expected)


@clause("payload.refused")
@pytest.mark.parametrize("kind", REFUSED)
async def test_what_json_cannot_say_is_refused(cw: Conformance, kind: str) -> None:
    """Check for values that a JSON writer turns to null or text without a word."""
    name = await cw.collection([point(A, [1, 0], {"v": 1})])
    with cw.raises(InvalidPayloadError):
        await cw.backend.upsert_vectors(name, [point(B, [1, 0], {"v": 2}), point(C, [1, 0], REFUSED[kind])])
    await cw.unchanged(name, {A: {"v": 1}})


@clause("payload.copied")
async def test_stored_payloads_share_nothing_with_the_callers(cw: Conformance) -> None:
    """Check for a store, or a cache, that keeps or hands out its own objects."""
    payload: dict[str, Any] = {"v": 1, "list": [1], "deep": {"list": [1]}}
    kept = copy.deepcopy(payload)
    name = await cw.collection([point(A, [1, 0], payload)])

    def change(payload: Any) -> None:
        payload["v"] = 2
        payload["list"].append(2)
        payload["deep"]["list"].append(2)
        payload["deep"]["new"] = 3

    change(payload)
    cw.equal(await cw.payloads(name), {A: kept}, "after changing what was given")
    reads: dict[str, Any] = {"search": lambda: cw.everything(name)}
    if cw.claims("supports_scan"):
        reads["get"] = lambda: cw.backend.get_vectors(name, [A])
        reads["scroll"] = lambda: _page(cw, name)
    for call, read in reads.items():
        [result] = await read()
        change(result.payload)
        for field in ("list", "deep.list"):
            found = await cw.ids(name, SearchFilter(must=[FilterCondition(field, "eq", 2)]))
            cw.equal(found, set(), f"by a filter of {field}, after changing what a {call} gave")
        cw.equal(await cw.payloads(name), {A: kept}, f"a search after changing what a {call} gave")
        [again] = await read()
        cw.equal(again.payload, kept, f"a {call} after changing what it gave")


async def _page(cw: Conformance, name: str) -> list[VectorPoint]:
    points: list[VectorPoint] = (await cw.backend.scroll_vectors(name)).points
    return points


@clause("payload.untouched")
async def test_the_callers_points_are_not_changed(cw: Conformance) -> None:
    """Check for ids, vectors or payloads that are rewritten in place."""
    points = [point(A, [3.0, 4.0], {"id": 1, "deep": {"x": [1]}}), VectorPoint(2, [1.0, 1.0], None)]
    before = copy.deepcopy(points)
    await cw.collection(points)
    cw.equal(
        [(one.id, one.vector, one.payload) for one in points], [(one.id, one.vector, one.payload) for one in before]
    )


@clause("payload.size")
async def test_payloads_up_to_the_declared_size_are_stored(cw: Conformance) -> None:
    """Check the declared max_payload_bytes against what the engine takes: it counts bytes of compact JSON."""
    declared = cw.limits.max_payload_bytes
    size = min(declared, 1_000_000)
    fits = {"t": "x" * (size - len(json.dumps({"t": ""}, separators=(",", ":"))))}
    name = await cw.collection([point(FITS, [1, 0], fits), point(WIDE, [0, 1], {"t": "é" * ((size - 8) // 2)})])
    cw.true((await cw.payloads(name))[FITS] == fits, f"{size} bytes come back", "another payload")
    with cw.raises(LimitExceededError, InvalidInputError):
        await cw.backend.upsert_vectors(name, [point(B, [1, 0]), point(C, [1, 0], {"t": "x" * declared})])
    cw.equal(await cw.ids(name), {FITS, WIDE})


@clause("payload.with-payload")
async def test_the_payload_is_returned_as_asked(cw: Conformance) -> None:
    """Check the option's three forms, and that it does not change what is found."""
    payload = {"a": 1, "b": {"c": 2}, "a.b": 3, "": 4}
    name = await cw.collection([point(X, [1, 0], payload), point(Y, [0, 1], {"other": 1})])
    expected: list[tuple[Any, Any]] = [
        (True, payload),
        (False, {}),
        (["b", "missing"], {"b": {"c": 2}}),
        (["a.b", ""], {"a.b": 3, "": 4}),
        ([], {}),
    ]
    for asked, wanted in expected:
        results = await cw.backend.search_vectors(name, [1, 0], limit=2, with_payload=asked)
        cw.equal({result.id for result in results}, {X, Y}, f"with_payload={asked!r}")
        [first] = [result for result in results if result.id == X]
        cw.equal(first.payload or {}, wanted, f"with_payload={asked!r}")
    for wrong in ("a", 1, None, [1]):
        with cw.raises(InvalidInputError, why=f"with_payload={wrong!r}"):
            await cw.backend.search_vectors(name, [1, 0], with_payload=wrong)
