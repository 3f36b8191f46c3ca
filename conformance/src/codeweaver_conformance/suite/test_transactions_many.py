"""Transactions of several collections, of points deleted and written again, and beside other calls of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from codeweaver_backends.errors import ConflictError, UnsupportedError
from codeweaver_backends.types import SearchFilter
from codeweaver_conformance.caller import in_transaction
from codeweaver_conformance.clause import clause
from codeweaver_conformance.edges import condition, payload_of, points
from codeweaver_conformance.session import Conformance

_QUERY = [1.0, 0.5, -0.25]


@clause("transactions.commit")
async def test_a_commit_keeps_the_last_of_what_was_done_to_a_point(cw: Conformance) -> None:
    """Check points deleted and written again, new ones written and deleted, in two collections."""
    names = [await cw.collection(points("int", 0, 10), dimension=3) for _ in range(2)]
    async with in_transaction(cw.backend) as inside:
        for name in names:
            await inside.delete_vectors(name, [0, 1, 2])
            await inside.upsert_vectors(name, points("int", 1, 2, 3))
            await inside.upsert_vectors(name, points("int", 20, 3))
            await inside.delete_vectors(name, [21])
            await inside.delete_vectors(name, [22])
            await inside.upsert_vectors(name, points("int", 22, 1, 4))
        await inside.commit()
    expected = {n: payload_of(n) for n in (*range(3, 10), 20)}
    expected |= {1: payload_of(1, 3), 2: payload_of(2, 3), 22: payload_of(22, 4)}
    for name in names:
        cw.equal(await cw.payloads(name), expected)
        cw.equal(await cw.count(name), len(expected))


@clause("transactions.own-writes", "transactions.refused-call")
async def test_other_calls_leave_a_transaction_as_it_is(cw: Conformance) -> None:
    """Check health, lists, infos and searches inside a transaction: they neither end it nor write nor forget."""
    name = await cw.collection(points("int", 0, 10), dimension=3)
    before = await cw.payloads(name)
    async with in_transaction(cw.backend) as inside:
        await inside.delete_vectors(name, [5, 6])  # the best of the search below
        await inside.upsert_vectors(name, points("int", 20, 4))
        for _ in range(2):
            cw.equal(await inside.health_check(), True)
            cw.true(name in await inside.list_collections(), "listed", name)
            cw.equal((await inside.get_collection_info(name)).vector_count, 12)
            cw.equal(await cw.payloads(name), before, "nothing is seen by others yet")
        left = {*range(5), *range(7, 10), *range(20, 24)}
        found = await inside.search_vectors(name, _QUERY, limit=12)
        cw.equal({one.id for one in found}, left, "its own view, after those calls")
        for limit in (1, 5, 11):
            cw.equal(len(await inside.search_vectors(name, _QUERY, limit=limit)), limit, "deleted points take no place")
        await inside.commit()
    cw.equal(set(await cw.payloads(name)), left)


@clause("transactions.scan")
async def test_scans_inside_a_transaction_see_all_of_its_writes(cw: Conformance) -> None:
    """Check that scrolls of many pages, counts and deletes by filter take what it has written itself."""
    name = await cw.collection(points("int", 0, 10), dimension=3)
    async with in_transaction(cw.backend) as inside:
        await inside.upsert_vectors(name, points("int", 20, 30))
        seen: list[Any] = []
        cursor = None
        while cursor is not None or not seen:
            page = await inside.scroll_vectors(name, cursor=cursor, limit=7)
            seen += [one.id for one in page.points]
            cursor = page.cursor
        cw.equal(sorted(seen), [*range(10), *range(20, 50)], "a scroll by pages of 7")
        cw.equal(await inside.count_vectors(name, condition("n", "ge", 5)), 32)
        cw.equal(await inside.delete_by_filter(name, condition("n", "ge", 5)), 32)
        left = {*range(5), 21, 32, 43}  # those of a payload without n
        cw.equal({one.id for one in await inside.search_vectors(name, _QUERY, limit=50)}, left)
        cw.equal(await inside.delete_by_filter(name, SearchFilter()), len(left))
        await inside.commit()
    cw.equal(await cw.count(name), 0)


@clause("transactions.collections")
async def test_a_collection_made_anew_inside_a_transaction_is_new(cw: Conformance) -> None:
    """Check that a commit of a drop and a creation leaves none of the old points."""
    name = await cw.collection(points("int", 0, 10), dimension=3)
    expected = {n: payload_of(n, 1) for n in (5, 6)}
    async with in_transaction(cw.backend) as inside:
        try:
            await inside.delete_collection(name)
            await inside.create_collection(name, 3)
        except UnsupportedError:
            await inside.rollback()
            expected = {n: payload_of(n) for n in range(10)}  # refused, and nothing was done
        else:
            await inside.upsert_vectors(name, points("int", 5, 2, 1))
            await inside.commit()
    cw.equal(await cw.payloads(name), expected)


async def _conflict(cw: Conformance, write: Any) -> None:
    """What others have written since in a second collection is a conflict, and nothing is written."""
    names = [await cw.collection(points("int", 0, 10), dimension=3) for _ in range(3)]
    async with in_transaction(cw.backend) as inside:
        with cw.raises(ConflictError, why="points of the second and the third collection were written by two"):
            for name in names:
                await write(inside, name)
            async with in_transaction(cw.backend) as other:
                for name in names[1:]:
                    await other.upsert_vectors(name, points("int", 0, 3, 8))
                await other.commit()
            await inside.commit()
    for name in names:
        kept = {one: payload["v"] for one, payload in (await cw.payloads(name)).items() if one in (0, 1, 2)}
        cw.true(set(kept.values()) in ({0}, {8}), "points as one of the writers left them", kept)
    cw.true(
        (await cw.payloads(names[0]))[0]["v"] == 0, "nothing of the transaction in the first collection", "its point"
    )


@clause("transactions.conflict")
async def test_a_conflict_in_a_second_collection_is_told(cw: Conformance) -> None:
    """Check that every collection is looked at, not the first alone."""

    async def write(inside: Any, name: str) -> None:
        await inside.upsert_vectors(name, points("int", 0, 3, 5))

    await _conflict(cw, write)


@clause("transactions.conflict", "transactions.columnar")
async def test_columns_conflict_as_points_do(cw: Conformance) -> None:
    """Check the same of what columns have written."""

    async def write(inside: Any, name: str) -> None:
        batch = points("int", 0, 3, 5)
        matrix = np.array([one.vector for one in batch], dtype=np.float32)
        await inside.upsert_batch(name, [one.id for one in batch], matrix, [one.payload for one in batch])

    await _conflict(cw, write)


@clause("transactions.rollback", "transactions.invisible")
async def test_a_rollback_undoes_every_collection_and_call(cw: Conformance) -> None:
    """Check writes and deletes of each kind in three collections: unseen by others, and undone in all of them."""
    names = [await cw.collection(points("int", 0, 10), dimension=3) for _ in range(3)]
    before = await cw.payloads(names[0])
    async with in_transaction(cw.backend) as inside:
        for name in names:
            await inside.upsert_vectors(name, points("int", 3, 10, 5))
            await inside.delete_vectors(name, [0, 12])
            if cw.claims("supports_scan"):
                await inside.delete_by_filter(name, condition("n", "in", [1, 2, 5]))
            if cw.claims("supports_columnar"):
                one = points("int", 30, 1)[0]
                await inside.upsert_batch(name, [one.id], np.array([one.vector], dtype=np.float32), [one.payload])
            await cw.settle()
            cw.equal(await cw.payloads(name), before, "nothing is seen by others")
        await inside.rollback()
    for name in names:
        await cw.settle()
        cw.equal(await cw.payloads(name), before, "after the rollback")
        cw.equal(await cw.count(name), 10, "vector_count after the rollback")


@clause("transactions.conflict")
async def test_every_kind_of_write_conflicts(cw: Conformance) -> None:
    """Check deletes by id and by filter, and writes, of a point that another has written since."""
    kinds = ["upsert_vectors", "delete_vectors", *(["delete_by_filter"] if cw.claims("supports_scan") else [])]
    for kind in kinds:
        name = await cw.collection(points("int", 0, 10), dimension=3)
        async with in_transaction(cw.backend) as inside:
            await inside.search_vectors(name, _QUERY)
            await cw.backend.upsert_vectors(name, points("int", 4, 1, 7))
            with cw.raises(ConflictError, why=f"{kind} of a point that was written since"):
                if kind == "upsert_vectors":
                    await inside.upsert_vectors(name, points("int", 4, 1, 8))
                elif kind == "delete_vectors":
                    await inside.delete_vectors(name, [4])
                else:
                    await inside.delete_by_filter(name, condition("n", "eq", 4))
                await inside.commit()
        cw.equal((await cw.payloads(name)).get(4), payload_of(4, 7), f"after {kind}: what the other has written")


@clause("lifecycle.independent", "transactions.independent")
async def test_closing_an_instance_leaves_the_transactions_of_others(cw: Conformance) -> None:
    """Check that what is open goes on, and is committed, whoever closes beside it."""
    if not cw.capabilities.supports_multiple_instances:
        cw.not_applicable("supports_multiple_instances")
    name = await cw.collection(points("int", 0, 3), dimension=3)
    async with in_transaction(cw.backend) as inside:
        await inside.upsert_vectors(name, points("int", 5, 2))
        other = cw.fresh()
        cw.equal(await cw.ids(name, backend=other), {0, 1, 2})
        if hasattr(other.wrapped, "aclose"):
            await other.aclose()
        await inside.upsert_vectors(name, points("int", 7, 1))
        await inside.commit()
    await cw.settle()
    cw.equal(await cw.ids(name), {0, 1, 2, 5, 6, 7})


@clause("transactions.commit", "scan.scroll")
async def test_commits_beside_each_other_leave_every_point_in_a_scroll(cw: Conformance) -> None:
    """Check points that transactions open at once have written, page by page: their places must not be the same."""
    name = await cw.collection(points("int", 0, 2), dimension=3)
    async with in_transaction(cw.backend) as one, in_transaction(cw.backend) as other:
        await one.upsert_vectors(name, points("int", 10, 3))
        await other.upsert_vectors(name, points("int", 20, 3))
        await cw.backend.upsert_vectors(name, points("int", 30, 2))
        await one.commit()
        await other.commit()
    await cw.settle()
    for limit in (1, 2, 3):
        seen: list[Any] = []
        cursor = None
        while cursor is not None or not seen:
            page = await cw.backend.scroll_vectors(name, cursor=cursor, limit=limit)
            seen += [found.id for found in page.points]
            cursor = page.cursor
        cw.equal(sorted(seen), [0, 1, 10, 11, 12, 20, 21, 22, 30, 31], f"a scroll by pages of {limit}")
