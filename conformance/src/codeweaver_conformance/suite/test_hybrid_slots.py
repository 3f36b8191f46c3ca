"""Hybrid search: what is written, replaced, emptied, updated and deleted, in both slots."""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Any

import numpy as np
import pytest

from codeweaver_backends.errors import InvalidIdError, InvalidOptionError
from codeweaver_backends.types import HybridStrategy, PointId, VectorPoint
from codeweaver_conformance import oracle_hybrid
from codeweaver_conformance.clause import clause
from codeweaver_conformance.hybrid import TEXT, History, ask, create_index, found, holds, sparse, texts
from codeweaver_conformance.oracle_hybrid import TextIndex
from codeweaver_conformance.session import Conformance, point

LINEAR = HybridStrategy.LINEAR


# --- slots -----------------------------------------------------------------------------------------------------------


@clause("hybrid.no-terms", "hybrid.missing-leg")
@pytest.mark.parametrize("strategy", HybridStrategy)
async def test_queries_without_terms(cw: Conformance, strategy: HybridStrategy) -> None:
    """Check that the dense leg alone counts, and at an alpha of 0 nothing."""
    points = texts("alpha", "beta", "")
    name = await cw.collection(points)
    await create_index(cw, name, TEXT)
    queries: list[Any] = ["", "?!", "unheardof", {}, {"unheardof": 1.0}, {"zero": 0.0}]
    for query in queries:
        await ask(cw, name, points, query, index=TEXT, strategy=strategy)
        cw.equal(await ask(cw, name, points, query, index=TEXT, strategy=strategy, alpha=0.0), [], repr(query))


@clause("hybrid.slots")
async def test_two_slots(cw: Conformance) -> None:
    """Check that neither query reads the other's slot, and that an update of one leaves the other."""
    points = [
        VectorPoint(0, [1.0, 0.0], {"t": "alpha"}, {"beta": 1.0}),
        VectorPoint(1, [1.0, 0.5], {"t": "beta"}, {"alpha": 1.0}),
    ]
    name = await cw.collection(points)
    await create_index(cw, name, TEXT)
    for word, text, given in (("alpha", 0, 1), ("beta", 1, 0)):
        await holds(cw, name, word, {text}, "a text query")
        await holds(cw, name, {word: 1.0}, {given}, "a dict query")
    await cw.backend.update_sparse_vectors(name, [VectorPoint(0, [1.0, 0.0], {"t": "gamma"}, {"alpha": 1.0})])
    await holds(cw, name, "alpha", {0}, "the text stays")
    await holds(cw, name, "gamma", set(), "the payload of an update is not read")
    await holds(cw, name, {"alpha": 1.0}, {0, 1}, "the sparse vector is another")
    await create_index(cw, name, TextIndex(["t"], "text"))
    await holds(cw, name, {"alpha": 1.0}, {0, 1}, "create_sparse_index leaves sparse vectors")


@clause("hybrid.no-slot")
async def test_points_without_slots(cw: Conformance) -> None:
    """Check points with and without, in one batch and alone."""
    points = [
        VectorPoint(0, [1.0, 0.0], {"t": "alpha"}, {"a": 1.0}),
        VectorPoint(1, [1.0, 0.1], {"t": "alpha"}, None),
        VectorPoint(2, [1.0, 0.2], None, {"a": 1.0}),
        VectorPoint(3, [1.0, 0.3], {"u": 1}, {}),
    ]
    name = await cw.collection(points)
    await create_index(cw, name, TEXT)
    bare = VectorPoint(4, [1.0, 0.4])
    await cw.backend.upsert_vectors(name, [bare])
    await holds(cw, name, {"a": 1.0}, {0, 2}, "with a sparse vector")
    await holds(cw, name, "alpha", {0, 1}, "with a text")
    for strategy in HybridStrategy:
        for query in ("alpha", {"a": 1.0}):
            await ask(cw, name, [*points, bare], query, index=TEXT, strategy=strategy, dense=[0.0, 1.0])


@clause("hybrid.statistics")
async def test_a_score_depends_on_nothing_else(cw: Conformance) -> None:
    """Check that a score stays while others are written, replaced and deleted."""
    name = await cw.collection([VectorPoint(0, [1.0, 0.0], {"t": "alpha beta"}, {"a": 2.0})])
    await create_index(cw, name, TEXT)
    queries: tuple[Any, ...] = ("alpha", {"a": 1.0})
    before = [(await found(cw, name, query))[0] for query in queries]
    others = [
        VectorPoint(number, [1.0, 1.0], {"t": "alpha " * (number % 5 + 1)}, {"a": 9.0}) for number in range(1, 300)
    ]

    async def same(why: str) -> None:
        for query, score in zip(queries, before, strict=True):
            now = (await found(cw, name, query))[0]
            cw.true(abs(now - score) <= 1e-5 * score, f"the score of {query!r} as before, {score!r}; {why}", now)

    await cw.backend.upsert_vectors(name, others)
    await same("others were written")
    for one in others[:150]:
        one.payload = {"t": "gamma"}
    await cw.backend.upsert_vectors(name, others[:150])
    await same("others were replaced")
    await cw.backend.delete_vectors(name, [one.id for one in others])
    await same("others were deleted")


@clause("hybrid.fresh")
async def test_what_is_written_is_seen(cw: Conformance) -> None:
    """Check replacing, deleting and changing, of both slots."""
    name = await cw.collection(
        [VectorPoint(n, [1.0, n / 10], {"t": f"old w{n}"}, {"old": 1.0, str(n): 1.0}) for n in range(5)]
    )
    await create_index(cw, name, TEXT)
    await cw.backend.upsert_vectors(name, [VectorPoint(0, [1.0, 0.0], {"t": "new"}, {"new": 1.0})])
    await cw.backend.upsert_vectors(name, [point(1, [1.0, 0.0], {"n": 1})])
    await cw.backend.delete_vectors(name, [2])
    await cw.backend.upsert_vectors(name, [VectorPoint(9, [1.0, 0.0], {"t": "new"}, {"new": 1.0})])
    queries: tuple[tuple[Any, set[PointId]], ...] = (
        ("old", {3, 4}),
        ({"old": 1.0}, {3, 4}),
        ("new", {0, 9}),
        ({"new": 1.0}, {0, 9}),
        ("w0 w1 w2", set()),
        ({0: 1.0, 1: 1.0, 2: 1.0}, set()),
    )
    for query, ids in queries:
        await holds(cw, name, query, ids, "as it is now")


@clause("hybrid.fresh")
async def test_what_another_instance_writes_is_seen(cw: Conformance) -> None:
    """Check each kind of write after several searches: what an instance keeps of them ends with a write of anybody."""
    name = await cw.collection([VectorPoint(n, [1.0, n / 10], {"t": "alpha"}, {"a": 1.0}) for n in range(4)])
    await create_index(cw, name, TEXT)
    second = await cw.another()

    async def hold(texts: set[PointId], vectors: set[PointId], why: str) -> None:
        for _ in range(6):
            await holds(cw, name, "alpha", texts, why)
            await holds(cw, name, {"a": 1.0}, vectors, why)

    await hold({0, 1, 2, 3}, {0, 1, 2, 3}, "as it was made")
    await second.upsert_vectors(name, [VectorPoint(4, [1.0, 0.0], {"t": "alpha"}, {"a": 1.0})])
    await hold({0, 1, 2, 3, 4}, {0, 1, 2, 3, 4}, "a point was added")
    await second.upsert_vectors(name, [VectorPoint(1, [1.0, 0.0], {"t": "beta"}, {"b": 1.0})])
    await hold({0, 2, 3, 4}, {0, 2, 3, 4}, "a point was replaced")
    await second.update_sparse_vectors(name, [VectorPoint(2, [1.0, 0.0], None, {"b": 1.0})])
    await hold({0, 2, 3, 4}, {0, 3, 4}, "a sparse vector was replaced")
    await second.delete_vectors(name, [0])
    await hold({2, 3, 4}, {3, 4}, "a point was deleted")


@clause("hybrid.fresh")
async def test_a_slot_that_is_emptied_and_set_again(cw: Conformance) -> None:
    """Check for old terms that come back, after each way to empty a slot and to set it again."""
    name = await cw.collection([point(99, [0.0, 1.0], {"t": "old"})])
    await create_index(cw, name, TEXT)

    async def write(n: int, word: str | None) -> None:
        payload = {"t": word} if word else {}
        await cw.backend.upsert_vectors(name, [VectorPoint(n, [1.0, n / 10], payload, {word: 1.0} if word else None)])

    async def update(n: int, word: str | None) -> None:
        given = VectorPoint(n, [1.0, 0.0], None, {word: 1.0} if word else None)
        await cw.backend.update_sparse_vectors(name, [given])

    async def delete(n: int, _: str | None) -> None:
        await cw.backend.delete_vectors(name, [n])

    ways = [(empty, again) for empty in (write, update, delete) for again in (write, update)]
    for n, (empty, again) in enumerate(ways):
        await write(n, f"old{n}")
        await empty(n, None)
        if empty is delete and again is update:
            await write(n, None)
        await again(n, f"new{n}")
        await holds(cw, name, {f"old{n}": 1.0}, set(), f"{empty.__name__}, then {again.__name__}")
        await holds(cw, name, {f"new{n}": 1.0}, {n}, f"{empty.__name__}, then {again.__name__}")
        if empty is not update:
            await holds(cw, name, f"old{n}", set(), f"{empty.__name__}, then {again.__name__}")


@clause("hybrid.update")
async def test_updates_of_sparse_vectors(cw: Conformance) -> None:
    """Check that the sparse vector is replaced whole and all else stays; equal ids, none, and empty ones."""
    points = [VectorPoint(n, [1.0, n / 10], {"t": f"text{n}", "n": n}, {"a": 1.0, f"own{n}": 1.0}) for n in range(4)]
    name = await cw.collection(points)
    await create_index(cw, name, TEXT)
    before = await cw.everything(name)
    await cw.backend.update_sparse_vectors(
        name,
        [
            VectorPoint(0, [0.0, 1.0], {"lost": 1}, {"b": 1.0}),
            VectorPoint(1, [0.0, 1.0], None, {}),
            VectorPoint(2, [], None, None),
            VectorPoint(3, [1.0], None, {"c": 1.0}),
            VectorPoint(3, [1.0], None, {"d": 1.0}),
        ],
    )
    await cw.backend.update_sparse_vectors(name, [])
    for word, ids in (("a", set()), ("own0", set()), ("b", {0}), ("c", set()), ("d", {3})):
        await holds(cw, name, {word: 1.0}, ids, "after the update")
    for n in range(4):
        await holds(cw, name, f"text{n}", {n}, "the text stays")
    after = await cw.everything(name)
    cw.equal([(one.id, one.score, one.payload) for one in after], [(one.id, one.score, one.payload) for one in before])


@clause("hybrid.update")
async def test_updates_of_unknown_points(cw: Conformance) -> None:
    """Check that nothing is written, and no point made."""
    name = await cw.collection(sparse({"a": 1.0}))
    for wrong in (7, "0", -1, "", True):
        given = [VectorPoint(0, [1, 0], None, {"b": 1.0}), VectorPoint(wrong, [1, 0], None, {"b": 1.0})]
        with cw.raises(InvalidIdError, why=f"no point {wrong!r}"):
            await cw.backend.update_sparse_vectors(name, given)
    with cw.raises(InvalidOptionError, why="no list of points"):
        await cw.backend.update_sparse_vectors(name, "ab")
    await holds(cw, name, {"b": 1.0}, set(), "nothing is written")
    await cw.unchanged(name, {0: {"n": 0}})


# --- with other profiles ---------------------------------------------------------------------------------------------


@clause("hybrid.round-trip")
async def test_sparse_vectors_come_back(cw: Conformance) -> None:
    """Check get and scroll, with and without vectors; and that what came back can be written again."""
    vectors: list[Any] = [
        {"a": 1.1, 7: 2, "7": 0.5, "zero": 0.0},
        None,
        {},
        {"日本": 1e-15},
        {0: 1e15, 999_999_999: 3.3},
    ]
    name = await cw.collection(sparse(*vectors))
    await create_index(cw, name, TextIndex(["n"]))

    async def check(why: str) -> None:
        got = await cw.backend.get_vectors(name, list(range(5)))
        page = await cw.backend.scroll_vectors(name, with_vectors=True)
        for found_points in (got, sorted(page.points, key=lambda one: one.id)):
            for given, one in zip(vectors, found_points, strict=True):
                expected = oracle_hybrid.sparse_weights(given)
                back = dict(one.sparse_vector or {})
                same = back.keys() == expected.keys() and all(
                    abs(back[term] - weight) <= 1e-6 * weight for term, weight in expected.items()
                )
                cw.true(
                    same and (expected or one.sparse_vector is None), f"{expected or None}, {why}", one.sparse_vector
                )

    await check("as written")
    cw.equal(
        [one.sparse_vector for one in await cw.backend.get_vectors(name, [0, 4], with_vectors=False)],
        [None, None],
        "no vectors were wanted",
    )
    await cw.backend.upsert_vectors(name, await cw.backend.get_vectors(name, list(range(5))))
    await check("as written again")


@clause("hybrid.columnar")
async def test_columns_have_texts(cw: Conformance) -> None:
    """Check that a batch of columns is indexed, and replaces sparse vectors by none."""
    name = await cw.collection(sparse({"a": 1.0}, {"a": 1.0}))
    await create_index(cw, name, TEXT)
    matrix = np.array([[1, 0], [1, 1]], np.float32)
    await cw.backend.upsert_batch(name, [1, 2], matrix, [{"t": "alpha"}, {"t": "alpha beta"}])
    await holds(cw, name, "alpha", {1, 2}, "written by columns")
    await holds(cw, name, {"a": 1.0}, {0}, "replaced by columns")


@clause("hybrid.transactions")
async def test_slots_follow_the_transaction(cw: Conformance) -> None:
    """Check what a transaction sees, what others see, and what is left of a rollback and of a commit."""
    name = await cw.collection([VectorPoint(0, [1.0, 0.0], {"t": "old"}, {"old": 1.0})])
    await create_index(cw, name, TEXT)
    for is_committed in (False, True):
        transaction = await cw.backend.begin_transaction()
        await cw.backend.upsert_vectors(name, [VectorPoint(0, [1.0, 0.0], {"t": "new"}, {"mid": 1.0})])
        await cw.backend.update_sparse_vectors(name, [VectorPoint(0, [1.0, 0.0], None, {"new": 1.0})])
        for query, ids in (("new", {0}), ({"new": 1.0}, {0}), ("old", set()), ({"old": 1.0}, set())):
            await holds(cw, name, query, ids, "in the transaction")
        if is_committed:
            await cw.backend.commit_transaction(transaction)
        else:
            await cw.backend.rollback_transaction(transaction)
        kept, gone = ("new", "old") if is_committed else ("old", "new")
        queries: tuple[tuple[Any, Collection[PointId]], ...] = (
            (kept, {0}),
            ({kept: 1.0}, {0}),
            (gone, set()),
            ({gone: 1.0}, set()),
        )
        for query, expected in queries:
            await holds(cw, name, query, expected, "after the transaction")


# --- by chance -------------------------------------------------------------------------------------------------------


@clause(
    "hybrid.fresh",
    "hybrid.create-index",
    "hybrid.update",
    "hybrid.pool",
    "hybrid.rrf",
    "hybrid.linear",
    "hybrid.convex",
    "hybrid.dbsf",
)
async def test_histories(cw: Conformance) -> None:
    """Check what is found in the course of random writes: replaced, emptied, deleted, indexed anew."""
    asked = 0
    for number in range(max(2, cw.cases // 25)):
        chance = random.Random(f"{cw.seed}/{number}")  # noqa: S311 - reproducible, not secret
        history = History(chance, cw.metrics[number % len(cw.metrics)])
        name = await cw.collection(dimension=3, metric=history.metric)
        for _ in range(12):
            call, given = history.step()
            if call == "create_sparse_index":
                await create_index(cw, name, given)
            else:
                await getattr(cw.backend, call)(name, given)
            for question in filter(None, (history.question() for _ in range(4))):
                asked += 1
                await ask(
                    cw,
                    name,
                    list(history.points.values()),
                    question.sparse,
                    dense=question.dense,
                    metric=history.metric,
                    index=history.index,
                    limit=question.limit,
                    strategy=question.strategy,
                    alpha=question.alpha,
                    search_filter=question.search_filter,
                    candidates=question.candidates,
                )
    cw.true(asked >= 60, "most questions could be asked", asked)
