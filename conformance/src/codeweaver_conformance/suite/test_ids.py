"""Ids: kept with value and type, replaced as a whole, deleted as asked."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import pytest

from codeweaver_backends.errors import InvalidIdError
from codeweaver_conformance.clause import clause
from codeweaver_conformance.session import Conformance, point

PLAIN = [
    0,
    1,
    42,
    2**31,
    2**53 + 1,
    2**63 - 1,
    "0",
    "1",
    "a",
    "A",
    "id-1",
    "id_1",
    "x" * 512,
    "日本",
    "\u00e9",
    "e\u0301",
    "😀" * 512,
]

UUIDS = [
    "f47ac10b-58cc-4372-a567-0e02b2c3d479",
    "F47AC10B-58CC-4372-A567-0E02B2C3D479",
    "f47ac10b58cc4372a5670e02b2c3d479",
    "{f47ac10b-58cc-4372-a567-0e02b2c3d479}",
    "urn:uuid:f47ac10b-58cc-4372-a567-0e02b2c3d479",
    "00000000-0000-0000-0000-000000000001",
]

HOSTILE = [
    "it's",
    'say "hi"',
    "back\\slash",
    "a/b/../c",
    "%",
    "_",
    "*",
    "?",
    "new\nline",
    "tab\t",
    "nul\x00middle",
    "\x00",
    " ",
    " lead",
    "trail ",
    "x') OR ('a'='a",
    '"] or true or id in ["',
    "'; DROP TABLE points; --",
    "{{x}}",
    "${x}",
    "\u202eabc",
    "s:1",
    "i:1",
    "\x1f\x1e\x1d",
    "null",
    "None",
    "true",
]

REFUSED = [True, False, 1.0, -1, 2**63, "", "x" * 513, "\ud800", None, b"a", ("a",), uuid.UUID(int=1), np.int64(1)]


@clause("ids.round-trip")
@pytest.mark.parametrize("ids", [PLAIN, HOSTILE], ids=["plain", "hostile"])
async def test_ids_come_back_with_value_and_type(cw: Conformance, ids: list[Any]) -> None:
    """Check for ids turned to text, folded, trimmed, hashed without the original, or rounded."""
    name = await cw.collection([point(one, [1, number], {"n": number}) for number, one in enumerate(ids)])
    cw.equal(await cw.payloads(name), {one: {"n": number} for number, one in enumerate(ids)})
    cw.equal(await cw.count(name), len(ids))


@clause("ids.distinct")
async def test_ids_that_look_alike_are_different_points(cw: Conformance) -> None:
    """Check for a key that loses the type, the case or the form of an id."""
    alike = [1, "1", "01", "1.0", "I", "i", "\u00e9", "e\u0301", "s1", "i1", "s:1", "i:1"]
    name = await cw.collection([point(one, [1, number], {"n": number}) for number, one in enumerate(alike)])
    cw.equal(await cw.payloads(name), {one: {"n": number} for number, one in enumerate(alike)})
    await cw.backend.delete_vectors(name, [1])
    cw.equal(await cw.ids(name), set(alike[1:]), "deleting 1 leaves '1'")
    await cw.backend.delete_vectors(name, ["1"])
    cw.equal(await cw.ids(name), set(alike[2:]), "deleting '1' takes it")


@clause("ids.uuid")
async def test_uuid_spellings_are_kept_letter_for_letter(cw: Conformance) -> None:
    """Check for an engine that reads them as UUIDs and writes them its own way, or takes them for one."""
    name = await cw.collection([point(one, [1, number], {"n": number}) for number, one in enumerate(UUIDS)])
    cw.equal(await cw.payloads(name), {one: {"n": number} for number, one in enumerate(UUIDS)})
    await cw.backend.delete_vectors(name, UUIDS[1:2])
    cw.equal(await cw.ids(name), {*UUIDS} - {UUIDS[1]})


@clause("ids.refused")
@pytest.mark.parametrize("bad", REFUSED, ids=lambda one: ascii(one)[:30])
async def test_other_ids_are_refused_and_nothing_is_written(cw: Conformance, bad: Any) -> None:
    """Check that a batch is judged whole before its first byte is sent."""
    name = await cw.collection([point("a", [1, 0], {"v": 1})])
    with cw.raises(InvalidIdError):
        await cw.backend.upsert_vectors(name, [point("b", [1, 0]), point(bad, [1, 0])])
    await cw.unchanged(name, {"a": {"v": 1}})


@clause("ids.replace")
async def test_upserting_an_existing_id_replaces_the_whole_point(cw: Conformance) -> None:
    """Check for inserts beside, for skipped updates, and for payloads that are merged."""
    name = await cw.collection([point("x", [1, 0], {"v": 1, "old": True, "deep": {"a": 1}}), point("y", [1, 1], {})])
    await cw.backend.upsert_vectors(name, [point("x", [0, 1], {"v": 2, "deep": {"b": 1}})])
    cw.equal(await cw.payloads(name), {"x": {"v": 2, "deep": {"b": 1}}, "y": {}})
    cw.equal(await cw.count(name), 2)
    [hit] = await cw.backend.search_vectors(name, [0, 1], limit=1)
    cw.true(hit.id == "x" and abs(hit.score - 1) < 1e-5, "x with score 1: its vector was replaced", hit)
    await cw.backend.upsert_vectors(name, [point("x", [1, 0])])
    cw.equal(await cw.payloads(name), {"x": {}, "y": {}}, "no payload replaces the old one too")


@clause("ids.last-wins")
async def test_of_equal_ids_in_one_batch_the_last_wins(cw: Conformance) -> None:
    """Check new and existing ids: engines treat them differently."""
    name = await cw.collection([point("old", [1, 0], {"v": 0})])
    batch = [
        point("new", [1, 0], {"v": 1}),
        point("old", [1, 0], {"v": 1}),
        point(1, [1, 0], {"v": 1}),
        point("1", [1, 0], {"v": 5}),
        point("new", [0, 1], {"v": 2}),
        point("old", [0, 1], {"v": 2}),
        point(1, [0, 1], {"v": 2}),
    ]
    await cw.backend.upsert_vectors(name, batch)
    cw.equal(await cw.payloads(name), {"new": {"v": 2}, "old": {"v": 2}, 1: {"v": 2}, "1": {"v": 5}})
    cw.equal(await cw.count(name), 4)
    hits = await cw.backend.search_vectors(name, [0, 1], limit=3)
    cw.equal({hit.id for hit in hits}, {"new", "old", 1}, "with the last vector, too")


@clause("ids.content")
async def test_equal_content_does_not_make_points_equal(cw: Conformance) -> None:
    """Check for engine ids that are derived from vector and payload."""
    name = await cw.collection([point(one, [1, 0], {"same": True}) for one in ("a", "b", 7)])
    cw.equal(await cw.ids(name), {"a", "b", 7})
    cw.equal(await cw.count(name), 3)


@clause("ids.stable")
async def test_a_fresh_instance_addresses_the_same_points(cw: Conformance) -> None:
    """Check for engine ids from hash() or a salt of the instance's."""
    name = await cw.collection([point(one, [1, 0], {"v": 1}) for one in ("a", "b", 3)])
    fresh = await cw.another()
    await fresh.upsert_vectors(name, [point("a", [0, 1], {"v": 2}), point(3, [0, 1], {"v": 2})])
    cw.equal(await cw.payloads(name, fresh), {"a": {"v": 2}, "b": {"v": 1}, 3: {"v": 2}})
    await fresh.delete_vectors(name, ["a", 3])
    cw.equal(await cw.ids(name, backend=fresh), {"b"})


@clause("ids.delete", "ids.delete-unknown")
async def test_deleting_takes_the_named_points_and_no_others(cw: Conformance) -> None:
    """Check for deletes that stop at the first unknown id, and for deletes that report success and do nothing."""
    name = await cw.collection([point(one, [1, 0], {"v": 1}) for one in ("a", "b", "c", 1, 2, 3)])
    await cw.backend.delete_vectors(name, ["ghost", "a", 999, 1, "a"])
    cw.equal(await cw.ids(name), {"b", "c", 2, 3})
    for again in (["a", 1], [], ["ghost"]):
        await cw.backend.delete_vectors(name, again)
        cw.equal(await cw.ids(name), {"b", "c", 2, 3}, f"after deleting {again}")
    hits = await cw.backend.search_vectors(name, [1, 0], limit=10)
    cw.equal({hit.id for hit in hits}, {"b", "c", 2, 3}, "search does not find deleted points")
    await cw.backend.upsert_vectors(name, [point("a", [1, 0], {"v": 2})])
    cw.equal(await cw.ids(name), {"a", "b", "c", 2, 3}, "a deleted id can be written again")


@clause("ids.delete-many")
async def test_a_large_delete_is_complete(cw: Conformance) -> None:
    """Check for a delete that takes the engine's first page only: 1,000 is a usual one."""
    count = 2_600
    name = await cw.collection([point(n if n % 2 else f"s{n}", [1, n]) for n in range(count)])
    doomed: list[Any] = [n if n % 2 else f"s{n}" for n in range(count) if n >= 10]
    await cw.backend.delete_vectors(name, doomed)
    cw.equal(await cw.count(name), 10)
    cw.equal(await cw.ids(name), {n if n % 2 else f"s{n}" for n in range(10)})


@clause("ids.delete-malformed")
@pytest.mark.parametrize("bad", [True, -1, 1.5, "", None, 2**63], ids=str)
async def test_a_malformed_id_in_a_delete_deletes_nothing(cw: Conformance, bad: Any) -> None:
    """Check that ids are judged before the first one is deleted."""
    name = await cw.collection([point("a", [1, 0], {"v": 1}), point(1, [0, 1], {"v": 2})])
    with cw.raises(InvalidIdError):
        await cw.backend.delete_vectors(name, ["a", 1, bad])
    await cw.unchanged(name, {"a": {"v": 1}, 1: {"v": 2}})


@clause("ids.hostile")
async def test_hostile_ids_are_replaced_and_deleted_like_any_other(cw: Conformance) -> None:
    """Check literals in the engine's expressions: a quote that ends one deletes too much, or nothing."""
    name = await cw.collection([point(one, [1, number], {"v": 1}) for number, one in enumerate(["keep", *HOSTILE])])
    await cw.backend.upsert_vectors(name, [point(one, [1, 0], {"v": 2}) for one in HOSTILE])
    cw.equal(await cw.payloads(name), {"keep": {"v": 1}, **{one: {"v": 2} for one in HOSTILE}})
    left = {"keep", *HOSTILE}
    for start in range(0, len(HOSTILE), 3):
        await cw.backend.delete_vectors(name, HOSTILE[start : start + 3])
        left -= {*HOSTILE[start : start + 3]}
        cw.equal(await cw.ids(name), left, f"after deleting {HOSTILE[start : start + 3]!r}")
