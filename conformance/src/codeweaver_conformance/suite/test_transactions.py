"""Transactions: what is seen inside and outside of one, and what its end leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from codeweaver_backends.errors import CollectionNotFoundError, UnsupportedError
from codeweaver_backends.types import FilterCondition, SearchFilter
from codeweaver_conformance.caller import Caller, bystanders, in_transaction
from codeweaver_conformance.clause import clause
from codeweaver_conformance.session import Conformance, point

# Whoever is in a transaction here is a caller of the kit's, so that the test itself is always outside of it.

VERSION_1, VERSION_2 = (SearchFilter(must=[FilterCondition("v", "eq", v)]) for v in (1, 2))
POINTS = [point(n, [1, n], {"v": 1, "deep": {"n": [n, None]}}) for n in range(6)]


async def seen(cw: Conformance, names: Iterable[str], backend: Any = None) -> list[Any]:
    """All that a search with a limit above the count, filters and a count tell of collections."""
    await cw.settle()
    found: list[Any] = []
    for name in names:
        hits = sorted(await cw.everything(name, backend=backend), key=lambda hit: int(hit.id))
        found.append([[hit.id, hit.payload, round(hit.score, 4)] for hit in hits])
        found += [await cw.ids(name, one, backend) for one in (VERSION_1, VERSION_2)]
        found.append(await cw.count(name, backend))
    return found


async def change(tx: Caller, name: str) -> None:
    """Three points are new, two replaced, two deleted."""
    await tx.upsert_vectors(name, [point(n, [-2, n], {"v": 2}) for n in (0, 1, 10, 11, 12)])
    await tx.delete_vectors(name, [2, 3])


@clause("transactions.own-writes")
async def test_a_transaction_sees_its_own_writes(cw: Conformance) -> None:
    """Check search, filters and count after each of its writes: new points, replaced, deleted, and written again."""
    name = await cw.collection(POINTS)
    async with in_transaction(cw.backend) as tx:
        await change(tx, name)
        await cw.settle()
        cw.equal(await cw.ids(name, backend=tx), {0, 1, 4, 5, 10, 11, 12})
        cw.equal(await cw.ids(name, VERSION_2, tx), {0, 1, 10, 11, 12}, "a filter on what it wrote")
        cw.equal(await cw.ids(name, VERSION_1, tx), {4, 5}, "a filter on what it replaced and deleted")
        cw.equal(await cw.count(name, tx), 7)
        [best] = await tx.search_vectors(name, [-2, 1], limit=1)
        cw.equal([best.id, round(best.score, 4), best.payload], [1, 1.0, {"v": 2}], "the replaced vector")
        await tx.upsert_vectors(name, [point(1, [3, 1], {"v": 3}), point(2, [1, 2], {"v": 1})])
        await tx.delete_vectors(name, [10])
        await cw.settle()
        cw.equal(await cw.ids(name, backend=tx), {0, 1, 2, 4, 5, 11, 12}, "deleted and written again, and the reverse")
        cw.equal(await cw.ids(name, VERSION_2, tx), {0, 11, 12})
        await tx.commit()
    await cw.settle()
    cw.equal(await cw.ids(name), {0, 1, 2, 4, 5, 11, 12}, "after the commit")
    cw.equal((await cw.payloads(name))[1], {"v": 3}, "the last of its writes")


@clause("transactions.invisible", "transactions.commit")
async def test_others_see_nothing_before_the_commit_and_everything_after(cw: Conformance) -> None:
    """Check for writes and deletes that go straight in, and for a commit that forgets a collection."""
    names = [await cw.collection(POINTS), await cw.collection(POINTS[:3])]
    before = await seen(cw, names)
    async with in_transaction(cw.backend) as tx:
        for name in names:
            await change(tx, name)
        for who, backend in bystanders(cw).items():
            cw.equal(await seen(cw, names, backend), before, f"{who}, before the commit")
        inside = await seen(cw, names, tx)
        await tx.commit()
    for who, backend in bystanders(cw).items():
        cw.equal(await seen(cw, names, backend), inside, f"{who}, after the commit")
    cw.equal(await seen(cw, names, await cw.reopen()), inside, "a fresh instance, after the commit")


@clause("transactions.rollback")
async def test_a_rollback_restores_exactly(cw: Conformance) -> None:
    """Check vectors, payloads, filters and counts, beyond a batch of hundreds; and that the ids can be used again."""
    many = [point(n, [1, n / 100], {"v": 1, "n": n}) for n in range(400)]
    names = [await cw.collection(POINTS), await cw.collection(many)]
    before = await seen(cw, names)
    async with in_transaction(cw.backend) as tx:
        for name in names:
            await change(tx, name)
        await tx.upsert_vectors(names[1], [point(n, [-1, n], {"v": 2}) for n in range(200, 700)])
        await tx.delete_vectors(names[1], list(range(50, 350)))
        await tx.rollback()
    for who, backend in bystanders(cw).items():
        cw.equal(await seen(cw, names, backend), before, who)
    await cw.backend.upsert_vectors(names[0], [point(1, [5, 1], {"v": 2}), point(10, [5, 2], {"v": 2})])
    await cw.settle()
    cw.equal(await cw.ids(names[0], VERSION_2), {1, 10}, "written after the rollback")
    cw.equal(await cw.count(names[0]), 7)
    cw.equal((await seen(cw, names, await cw.reopen()))[4:], before[4:], "a fresh instance")


@clause("transactions.atomic")
async def test_readers_beside_a_commit_see_all_or_nothing(cw: Conformance) -> None:
    """Check searches of one collection after the other, while versions of both are committed."""
    names = [await cw.collection([point(n, [1, n], {"v": 0}) for n in range(30)]) for _ in range(2)]
    is_over = False

    async def write() -> None:
        nonlocal is_over
        try:
            for version in range(1, 9):
                async with in_transaction(cw.backend) as tx:
                    for name in names:
                        await tx.delete_vectors(name, [28 + version])
                        await tx.upsert_vectors(name, [point(n, [1, n], {"v": version}) for n in range(28)])
                        await tx.upsert_vectors(name, [point(n, [1, n], {"v": version}) for n in (28, 29 + version)])
                    await tx.commit()
                await asyncio.sleep(0)
        finally:
            is_over = True

    async def version_in(name: str, backend: Any) -> int:
        found = await cw.everything(name, backend=backend)
        versions = {(hit.payload or {})["v"] for hit in found}
        cw.true((len(versions), len(found)) == (1, 30), "30 points of one version", (versions, len(found)))
        return int(versions.pop())

    async def read(backend: Any) -> None:
        while not is_over:
            for one, other in (names, names[::-1]):
                first, then = await version_in(one, backend), await version_in(other, backend)
                cw.true(then >= first or cw.limits.visibility, f"version {first} or later in the other", then)
                await asyncio.sleep(0)

    await asyncio.gather(write(), *map(read, bystanders(cw).values()))
    await cw.settle()
    cw.equal([await version_in(name, cw.backend) for name in names], [8, 8], "the last version")


@clause("transactions.collections")
@pytest.mark.parametrize("end", ["rollback", "commit"])
async def test_creating_a_collection_is_part_of_a_transaction(cw: Conformance, end: str) -> None:
    """Check that others do not see it before the commit, nor at all after a rollback."""
    name, old = cw.new_name(), await cw.collection(POINTS)
    async with in_transaction(cw.backend) as tx:
        try:
            await tx.create_collection(name, 2)
        except UnsupportedError:
            cw.true(name not in await cw.backend.list_collections(), "nothing created by the refused call", name)
            end = "rollback"
        else:
            await change(tx, name)
            cw.true(name in await tx.list_collections(), f"{name} listed inside", await tx.list_collections())
            cw.equal(await cw.ids(name, backend=tx), {0, 1, 10, 11, 12})
            for who, backend in bystanders(cw).items():
                cw.true(name not in await backend.list_collections(), f"{name} not listed yet", who)
                with cw.raises(CollectionNotFoundError, why=who):
                    await backend.search_vectors(name, [1, 0])
        await change(tx, old)
        await getattr(tx, end)()
    await cw.settle()
    listed = await cw.backend.list_collections()
    expected = [True, 7] if end == "commit" else [False, 6]
    cw.equal([name in listed, await cw.count(old)], expected, f"after the {end}")
    if end == "commit":
        cw.equal(await cw.ids(name), {0, 1, 10, 11, 12}, "its points, after the commit")


@clause("transactions.collections")
@pytest.mark.parametrize("end", ["rollback", "commit"])
async def test_deleting_a_collection_is_part_of_a_transaction(cw: Conformance, end: str) -> None:
    """Check one that is deleted, and one that is deleted and created again, empty."""
    names = [await cw.collection(POINTS), await cw.collection(POINTS)]
    before = await seen(cw, names)
    async with in_transaction(cw.backend) as tx:
        try:
            for name in names:
                await tx.delete_collection(name)
            await tx.create_collection(names[1], 2)
        except UnsupportedError:
            end = "rollback"
        else:
            with cw.raises(CollectionNotFoundError):
                await tx.search_vectors(names[0], [1, 0])
            cw.equal(await cw.count(names[1], tx), 0, "created again, inside")
        for who, backend in bystanders(cw).items():
            cw.equal(await seen(cw, names, backend), before, f"{who}, before the {end}")
        await getattr(tx, end)()
    await cw.settle()
    if end == "rollback":
        cw.equal(await seen(cw, names), before, "after the rollback")
    else:
        cw.true(names[0] not in await cw.backend.list_collections(), "the collection gone", names[0])
        cw.equal(await cw.ids(names[1]), set(), "after the commit")


@clause("transactions.scan")
async def test_scans_are_part_of_a_transaction(cw: Conformance) -> None:
    """Check what get, scroll and count tell inside and outside, and that delete_by_filter can be undone."""
    name = await cw.collection(POINTS)
    before = await seen(cw, [name])
    async with in_transaction(cw.backend) as tx:
        await change(tx, name)
        await cw.settle()
        got = await tx.get_vectors(name, [0, 2, 4, 10])
        cw.equal([[one.id, one.vector] for one in got], [[0, [-2.0, 0.0]], [4, [1.0, 4.0]], [10, [-2.0, 10.0]]])
        page = await tx.scroll_vectors(name, limit=100)
        cw.equal({one.id for one in page.points}, {0, 1, 4, 5, 10, 11, 12}, "a scroll inside")
        cw.equal([await tx.count_vectors(name), await tx.count_vectors(name, VERSION_2)], [7, 5], "counts inside")
        for who, backend in bystanders(cw).items():
            cw.equal([one.id for one in await backend.get_vectors(name, [0, 2, 10])], [0, 2], who)
            cw.equal([await backend.count_vectors(name, one) for one in (None, VERSION_2)], [6, 0], who)
        cw.equal(await tx.delete_by_filter(name, VERSION_2), 5, "deleted by its own value")
        cw.equal(await tx.delete_by_filter(name, VERSION_1), 2)
        await cw.settle()
        cw.equal(await tx.count_vectors(name), 0)
        cw.equal(await cw.backend.count_vectors(name), 6, "outside")
        await tx.rollback()
    cw.equal(await seen(cw, [name]), before, "after the rollback")
    cw.equal([one.vector for one in await cw.backend.get_vectors(name, [0, 2])], [[1.0, 0.0], [1.0, 2.0]])


@clause("transactions.columnar")
async def test_columns_are_part_of_a_transaction(cw: Conformance) -> None:
    """Check a batch that is rolled back, and one that is committed."""
    name = await cw.collection(POINTS)
    before = await seen(cw, [name])
    ids = list(range(3, 300))
    for end in ("rollback", "commit"):
        async with in_transaction(cw.backend) as tx:
            await tx.upsert_batch(name, ids, np.full((len(ids), 2), 2, np.float32), [{"v": 2}] * len(ids))
            await cw.settle()
            cw.equal(await cw.count(name, tx), 300, "inside")
            cw.equal(await seen(cw, [name]), before, "outside")
            await getattr(tx, end)()
        await cw.settle()
        cw.equal(await cw.count(name), 300 if end == "commit" else 6, f"after the {end}")
        cw.equal(len(await cw.ids(name, VERSION_2)), 297 if end == "commit" else 0, f"after the {end}")
