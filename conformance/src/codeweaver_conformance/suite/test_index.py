"""Indexes over the vectors: faster beyond the exact size, and the same meaning."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from codeweaver_backends.errors import CollectionNotFoundError, InvalidInputError, UnsupportedError
from codeweaver_backends.types import DistanceMetric, HybridStrategy
from codeweaver_conformance.clause import clause
from codeweaver_conformance.index import DIMENSION, FROM, SIZE, Ground, expect_recall, ground, load, made, opened, where
from codeweaver_conformance.session import Conformance

MARKS = (None, "few", "many", "place", "side")
"""No filter; then one that passes 2 or 25 % of the points, which lie apart or together."""


async def _fixture(cw: Conformance, backend: Any, metric: DistanceMetric = DistanceMetric.COSINE) -> tuple[str, Ground]:
    known = ground(cw.seed)
    return await cw.fixture(f"index-{metric.value}", lambda: made(cw, backend, known, metric)), known


@clause("index.recall", "index.scores")
async def test_recall_without_a_filter(cw: Conformance) -> None:
    """Check each metric: a graph that looks at too little, a cut that is read too little, another metric's index."""
    backend = await opened(cw)
    for metric in cw.metrics:
        name, known = await _fixture(cw, backend, metric)
        await expect_recall(cw, backend, name, known, cw.capabilities.index_recall, metric=metric)


@clause("index.filter", "index.scores")
@pytest.mark.parametrize("mark", MARKS[1:])
async def test_recall_with_a_filter(cw: Conformance, mark: str) -> None:
    """Check for a filter that is applied to what the index found, and for an index that gives up looking."""
    backend = await opened(cw)
    name, known = await _fixture(cw, backend)
    await expect_recall(cw, backend, name, known, cw.capabilities.index_recall, mark=mark)


@clause("index.whole")
async def test_no_search_is_short(cw: Conformance) -> None:
    """Check limits beyond what an index looks at, and beyond what matches."""
    backend = await opened(cw)
    name, known = await _fixture(cw, backend)
    for limit, mark in ((1, None), (100, "many"), (500, None), (1_000, "side"), (200, "place"), (SIZE + 1, None)):
        most = min(limit, cw.limits.max_limit)
        await expect_recall(cw, backend, name, known, 0.95, mark=mark, limit=most, queries=6)


@clause("index.whole")
async def test_a_threshold_cuts_what_a_limit_would_show(cw: Conformance) -> None:
    """Check a threshold beside the index: the score of the fifth keeps five, one above every score none."""
    backend = await opened(cw)
    name, known = await _fixture(cw, backend)
    for query in known.queries[::5]:
        hits = await backend.search_vectors(name, query.tolist())
        kept = await backend.search_vectors(name, query.tolist(), score_threshold=hits[4].score)
        cw.equal([hit.id for hit in kept], [hit.id for hit in hits if hit.score >= hits[4].score], "at the fifth score")
        none = await backend.search_vectors(name, query.tolist(), score_threshold=hits[0].score + 0.01)
        cw.equal(none, [], "above every score")


@clause("index.fresh")
async def test_what_was_written_since_is_found(cw: Conformance) -> None:
    """Check for an index that hides what it does not hold yet, or shows what it still holds."""
    backend = await opened(cw)
    known = ground(cw.seed)
    later = slice(0, len(known.queries))
    known.there[later] = False
    name = cw.new_name()
    await backend.create_collection(name, DIMENSION)
    await load(cw, backend, name, known, np.flatnonzero(known.there).tolist())
    await backend.optimize_collection(name)
    known.there[later] = True
    known.matrix[later] = known.queries * np.float32(1.01)  # the nearest of all, each to its query
    moved = np.arange(100, 100 + len(known.queries))
    known.matrix[moved] = known.queries + np.float32(0.01)
    gone = np.arange(200, 1_400)
    known.there[gone] = False
    await load(cw, backend, name, known, [*range(later.stop), *moved.tolist()])
    await backend.delete_vectors(name, gone.tolist())
    await cw.settle()
    for row, query in enumerate(known.queries):
        hits = await backend.search_vectors(name, query.tolist(), limit=2)
        cw.equal([hit.id for hit in hits], [row, int(moved[row])], "a point written since, and one moved since")
    for mark in (None, "many"):
        await expect_recall(cw, backend, name, known, cw.capabilities.index_recall, mark=mark, queries=15)
    await backend.optimize_collection(name)
    await expect_recall(cw, backend, name, known, cw.capabilities.index_recall, queries=15)


@clause("index.deleted")
async def test_recall_after_most_points_were_deleted(cw: Conformance) -> None:
    """Check an index that is full of what is gone; then a collection that is small again."""
    backend = await opened(cw)
    known = ground(cw.seed)
    name = await made(cw, backend, known)
    for kept, least in ((FROM + FROM // 4, cw.capabilities.index_recall), (FROM // 2, 1.0)):
        rows = np.flatnonzero(known.there)
        gone = np.random.default_rng(kept).permutation(rows)[kept:]
        known.there[gone] = False
        await backend.delete_vectors(name, gone.tolist())
        await cw.settle()
        for mark in (None, "many", "place"):
            await expect_recall(cw, backend, name, known, least, mark=mark, queries=15)


@clause("index.exact")
async def test_one_search_is_exact(cw: Conformance) -> None:
    """Check exact=True with and without a filter; exact=False changes nothing."""
    backend = await opened(cw)
    name, known = await _fixture(cw, backend)
    await expect_recall(cw, backend, name, known, 1.0, how={"exact": True})
    for mark in MARKS[1:]:
        await expect_recall(cw, backend, name, known, 1.0, mark=mark, queries=5, how={"exact": True})
    await expect_recall(cw, backend, name, known, cw.capabilities.index_recall, queries=10, how={"exact": False})


@clause("index.effort")
async def test_effort_finds_more(cw: Conformance) -> None:
    """Check a hundredfold, and that once is what a search does anyway."""
    backend = await opened(cw)
    name, known = await _fixture(cw, backend)
    for mark, queries in ((None, 30), ("many", 10), ("side", 10)):
        await expect_recall(cw, backend, name, known, 0.99, mark=mark, queries=queries, how={"effort": 100})
    await expect_recall(cw, backend, name, known, cw.capabilities.index_recall, queries=10, how={"effort": 1})


@clause("index.hybrid")
async def test_the_dense_leg_of_a_hybrid_search(cw: Conformance) -> None:
    """Check the leg by itself (alpha 1), exact and not."""
    backend = await opened(cw)
    name, known = await _fixture(cw, backend)
    for how, least in (({"exact": True}, 1.0), ({}, cw.capabilities.index_recall)):
        found = 0
        for query in known.queries:
            hits = await backend.hybrid_search(
                name, query.tolist(), {"term": 1.0}, 10, HybridStrategy.LINEAR, 1.0, where("side"), **how
            )
            score = np.where(known.marks["side"], known.scores(DistanceMetric.COSINE, query), -2.0)
            cw.equal(len(hits), 10, "no search is short")
            found += sum(score[int(hit.id)] >= np.sort(score)[-10] - 1e-6 for hit in hits)
        recall = found / (10 * len(known.queries))
        cw.true(recall >= least, f"recall of at least {least} ({how})", round(recall, 4))


@clause("index.unindexed")
async def test_what_is_to_be_exact_is_exact(cw: Conformance) -> None:
    """Check a large collection that wants no index, and one that is just small enough."""
    backend = await opened(cw)
    known = ground(cw.seed)
    name = await made(cw, backend, known, vector_index="exact")
    info = await backend.get_collection_info(name)
    cw.equal(info.vector_index, "exact", "as it was created")
    cw.true(not info.indexed_vector_count, "no indexed vectors (0 or None)", info.indexed_vector_count)
    await expect_recall(cw, backend, name, known, 1.0, queries=15)
    known.there[FROM:] = False
    small = cw.new_name()
    await backend.create_collection(small, DIMENSION)
    await load(cw, backend, small, known, range(FROM))
    await backend.optimize_collection(small)
    await expect_recall(cw, backend, small, known, 1.0)


@clause("index.optimize")
async def test_optimizing_changes_no_point(cw: Conformance) -> None:
    """Check what it returns; doing it again, and beside writes; and a collection that is not there."""
    backend = await opened(cw)
    known = ground(cw.seed)
    half = SIZE // 2
    name = cw.new_name()
    await backend.create_collection(name, DIMENSION)
    await backend.optimize_collection(name)
    await load(cw, backend, name, known, range(half))
    parts = [range(start, start + half // 6) for start in range(half, SIZE, half // 6)]

    async def write() -> None:
        for part in parts:
            await load(cw, backend, name, known, part)

    await asyncio.gather(backend.optimize_collection(name), write())
    info = await backend.optimize_collection(name)
    cw.equal(info.vector_count, SIZE, "the points that were acknowledged")
    cw.equal(repr(info), repr(await backend.get_collection_info(name)), "what get_collection_info tells")
    await expect_recall(cw, backend, name, known, cw.capabilities.index_recall)
    with cw.raises(CollectionNotFoundError):
        await backend.optimize_collection(cw.new_name())


@clause("index.count")
async def test_the_points_that_an_index_answers_for(cw: Conformance) -> None:
    """Check the number before there is an index, with one, and when points come and go."""
    backend = await opened(cw)
    known = ground(cw.seed)
    name = cw.new_name()

    async def counts() -> tuple[int, int | None]:
        info = await backend.get_collection_info(name)
        return info.vector_count, info.indexed_vector_count

    await backend.create_collection(name, DIMENSION)
    cw.true((await counts()) in ((0, 0), (0, None)), "0 points, indexed 0 or None", await counts())
    await load(cw, backend, name, known, range(SIZE - 100))
    await backend.optimize_collection(name)
    count, indexed = await counts()
    cw.true(indexed in (None, count), f"all {count} indexed (or None) after optimize_collection", indexed)
    await load(cw, backend, name, known, range(SIZE - 100, SIZE))
    count, indexed = await counts()
    cw.equal(count, SIZE)
    cw.true(indexed is None or SIZE - 100 <= indexed <= SIZE, "those of before, and perhaps the new ones", indexed)
    await backend.delete_vectors(name, list(range(1_000)))
    count, indexed = await counts()
    cw.true(indexed is None or 0 <= indexed <= count, f"at most {count}: what is deleted is not counted", indexed)


@clause("index.reopen")
async def test_an_index_is_there_for_a_fresh_instance(cw: Conformance) -> None:
    """Check what another instance is told and answers."""
    known = ground(cw.seed)
    backend = await opened(cw)
    name = await made(cw, backend, known)
    before = await backend.get_collection_info(name)
    cw.equal(before.vector_index, "auto", "what a collection is made with")
    fresh = await opened(cw)
    cw.equal(repr(await fresh.get_collection_info(name)), repr(before), "what a fresh instance tells")
    for mark in (None, "side"):
        await expect_recall(cw, fresh, name, known, cw.capabilities.index_recall, mark=mark, queries=15)


@clause("index.options")
async def test_the_kinds_of_an_index(cw: Conformance) -> None:
    """Check each claimed kind, by its name and with its numbers; what is not claimed; what is no option."""
    backend = await opened(cw)
    numbers: dict[str, dict[str, int]] = {"hnsw": {"m": 16, "ef_construction": 100}, "ivf": {"partitions": 16}}
    known = ground(cw.seed)
    for kind, own in numbers.items():
        if kind not in cw.capabilities.index_kinds:
            await _refused(cw, backend, UnsupportedError, {"kind": kind})
            continue
        name = await made(cw, backend, known, vector_index={"kind": kind, **own})
        info = await backend.get_collection_info(name)
        cw.equal(info.vector_index, {"kind": kind, **own}, "as it was created")
        cw.true(info.indexed_vector_count in (None, SIZE), "all points indexed, or None", info.indexed_vector_count)
        await expect_recall(cw, backend, name, known, cw.capabilities.index_recall, queries=15)
        for option in ({"kind": kind, "lists": 5}, {"kind": kind, next(iter(own)): 0}, {"kind": kind, **own, "m": "a"}):
            await _refused(cw, backend, InvalidInputError, option)
    for wrong in (None, True, "flat", "AUTO", {}, {"kind": "auto"}, {"kind": None}, ["hnsw"]):
        await _refused(cw, backend, InvalidInputError, wrong)


async def _refused(cw: Conformance, backend: Any, error: type[Exception], option: Any) -> None:
    name = cw.new_name()
    with cw.raises(error, why=f"vector_index={option!r}"):
        await backend.create_collection(name, DIMENSION, vector_index=option)
    cw.true(name not in await backend.list_collections(), "nothing created", "the collection is listed")


@clause("index.options")
async def test_exact_and_effort_of_a_wrong_kind(cw: Conformance) -> None:
    """Check for truth values that are none, and an effort that would find less."""
    backend = await opened(cw)
    name, known = await _fixture(cw, backend)
    query = known.queries[0].tolist()
    for wrong in ({"exact": 1}, {"exact": "yes"}, {"exact": None}, {"effort": "2"}, {"effort": True}, {"effort": None}):
        with cw.raises(InvalidInputError, why=str(wrong)):
            await backend.search_vectors(name, query, **wrong)
    for effort in (0, 0.5, -1, float("nan"), float("inf")):
        with cw.raises(InvalidInputError, UnsupportedError, why=f"effort={effort}"):
            await backend.search_vectors(name, query, effort=effort)
    for claim, option in (("search_effort", {"effort": 2}), ("exact_search", {"exact": True})):
        if not getattr(cw.capabilities, claim):
            with cw.raises(UnsupportedError, why=f"{claim} is not claimed"):
                await backend.search_vectors(name, query, **option)


@clause("scores.exact")
async def test_an_exact_search_of_a_small_collection(cw: Conformance) -> None:
    """Check that the option is taken where every search is exact already, with all other arguments beside it."""
    known = ground(cw.seed)
    points = [known.point(row) for row in range(200)]
    name = await cw.collection(points, dimension=DIMENSION)
    for query in known.queries[:5]:
        for how in ({}, {"limit": 3}, {"search_filter": where("many")}, {"score_threshold": 0.1}):
            plain = await cw.backend.search_vectors(name, query.tolist(), **how)
            exact = await cw.backend.search_vectors(name, query.tolist(), exact=True, **how)
            cw.equal([hit.id for hit in exact], [hit.id for hit in plain], f"exact=True beside {how}")
    with cw.raises(InvalidInputError):
        await cw.backend.search_vectors(name, known.queries[0].tolist(), exact="yes")
