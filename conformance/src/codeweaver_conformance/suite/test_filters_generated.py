"""Filters: before the cut at every selectivity, and generated ones."""

from __future__ import annotations

import dataclasses
import random

from codeweaver_backends.types import FilterCondition, FilterLike, SearchFilter
from codeweaver_conformance import oracle, strategies
from codeweaver_conformance.clause import clause
from codeweaver_conformance.generated import generated
from codeweaver_conformance.maker import Maker
from codeweaver_conformance.session import Conformance, point


@clause("filters.applied")
async def test_filters_bind_before_the_cut(cw: Conformance) -> None:
    """Check for a filter after the top-k: the points that match are the farthest, at every selectivity."""

    async def make() -> str:
        near = [point(n, [1, n / 100], {"near": True, "share": n % 200}) for n in range(580)]
        far = [point(1_000 + n, [-1, n / 1_000], {"near": False, "rare": n < 3}) for n in range(20)]
        return await cw.collection(near + far)

    name = await cw.fixture("selectivity", make)
    far = SearchFilter(must=[FilterCondition("near", "eq", False)])
    for limit, expected in ((1, 1), (5, 5), (20, 20), (100, 20)):
        found = await cw.backend.search_vectors(name, [1, 0], limit=limit, search_filter=far)
        cw.equal(len(found), expected, f"limit={limit} with 20 points that match")
        cw.true(
            all(hit.payload == {"near": False, "rare": hit.id < 1_003} for hit in found), "points that match", found
        )
    rare = SearchFilter(must=[FilterCondition("rare", "eq", True)])
    cw.equal(
        {hit.id for hit in await cw.backend.search_vectors(name, [1, 0], limit=3, search_filter=rare)},
        {1_000, 1_001, 1_002},
    )
    for share in (1, 20, 100):
        one = SearchFilter(must=[FilterCondition("share", "lt", share)])
        found = await cw.backend.search_vectors(name, [1, 0], limit=10, search_filter=one)
        expected_ids = [n for n in range(580) if n % 200 < share][:10]
        cw.equal([hit.id for hit in found], expected_ids, f"{share / 2} % of the near points match")
    none = SearchFilter(must=[FilterCondition("near", "eq", "neither")])
    cw.equal(await cw.backend.search_vectors(name, [1, 0], search_filter=none), [])


@clause("filters.generated")
def test_generated_filters(cw: Conformance) -> None:
    """Check the filter in the message against the contract's plain reading; it is the smallest found that fails."""
    world = dataclasses.replace(
        strategies.WORLD, contains=cw.claims("supports_contains"), datetimes=cw.claims("supports_datetime_ranges")
    )
    maker = Maker(random.Random(cw.seed), world)  # noqa: S311 - reproducible, not secret
    points = [point(n, [1, n / 10], maker.payload() if n % 20 else None) for n in range(60)]
    name = cw.run(cw.fixture("generated", lambda: cw.collection(points)))

    @generated(cw, strategies.filters(world))
    def agree(one: FilterLike) -> None:
        expected = set(oracle.selected(points, one))
        got = cw.run(cw.ids(name, one))
        if got != expected:
            wrong = {str(p.id): p.payload for p in points if p.id in got ^ expected}
            cw.violated(sorted(map(str, expected)), sorted(map(str, got)), f"the filter {one!r} is wrong on {wrong}")

    agree()


@clause("filters.generated", "scores.order")
async def test_generated_searches(cw: Conformance) -> None:
    """Check filter, limit and threshold together, on payloads with many odd fields, for each metric."""
    loaded: dict[int, str] = {}
    cases = strategies.generate(
        cw.seed,
        cw.cases,
        metrics=cw.metrics,
        contains=cw.claims("supports_contains"),
        datetimes=cw.claims("supports_datetime_ranges"),
        per_collection=max(25, cw.cases // len(cw.metrics)),
    )
    for case in cases:
        made = case.collection
        if made.number not in loaded:
            loaded[made.number] = await cw.collection(made.points, dimension=made.dimension, metric=made.metric)
        results = await cw.backend.search_vectors(
            loaded[made.number], case.query, case.limit, case.search_filter, case.threshold
        )
        problem = oracle.check_ranking(
            results, made.points, case.query, made.metric, case.limit, case.search_filter, case.threshold
        )
        if problem:
            cw.violated("the contract's ranking", [(hit.id, hit.score) for hit in results], problem)
