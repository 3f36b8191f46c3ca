"""Declared fields on a real server: whatever their payloads hold, filters answer as on undeclared ones."""

from __future__ import annotations

import asyncio
import random

import pytest

from codeweaver_backends import DistanceMetric, FilterCondition, SearchFilter, VectorPoint
from codeweaver_backends.testing import NotProvisioned
from codeweaver_conformance import oracle, strategies
from codeweaver_pgvector import PgvectorBackend, PgvectorConfig
from codeweaver_pgvector.plugin import CAPABILITIES
from codeweaver_pgvector.testing import targets

CASES = 600


def test_generated_filters_over_declared_fields() -> None:
    try:
        with targets()[0].provide() as settings:
            asyncio.run(_run(PgvectorBackend(PgvectorConfig(**settings))))
    except NotProvisioned as reason:
        pytest.skip(str(reason))


async def _run(backend: PgvectorBackend) -> None:
    async with backend:
        loaded = ""
        for case in strategies.generate(6, CASES):
            made = case.collection
            if loaded != f"c{made.number}":
                loaded = f"c{made.number}"
                indexes = _some_kinds(random.Random(made.number), made.points)
                await backend.create_collection(loaded, made.dimension, made.metric, payload_indexes=indexes)
                await backend.upsert_vectors(loaded, list(made.points))
            results = await backend.search_vectors(loaded, case.query, case.limit, case.search_filter, case.threshold)
            problem = oracle.check_ranking(
                results, made.points, case.query, made.metric, case.limit, case.search_filter, case.threshold
            )
            assert not problem, (problem, case.search_filter, indexes)
        await _check_long_keywords(backend)


def _some_kinds(chance: random.Random, points: tuple[VectorPoint, ...]) -> dict[str, str]:
    keys = {key for point in points for key in point.payload or {} if key and "." not in key}
    kinds = [*CAPABILITIES.payload_index_types]
    return {key: chance.choice(kinds) for key in sorted(keys) if chance.random() < 0.8}


async def _check_long_keywords(backend: PgvectorBackend) -> None:
    """A B-tree's entry has less room than a text may take, and a column holds only a keyword's beginning."""
    await backend.create_collection("long", 2, DistanceMetric.COSINE, payload_indexes={"k": "keyword"})
    texts = ["\U0001f600" * 600, "\U0001f600" * 601, "\U0001f600" * 599, "x" * 100_000, "x" * 100_001, "\x02", "\0"]
    await backend.upsert_vectors("long", [VectorPoint(n, [1, 1], {"k": text}) for n, text in enumerate(texts)])
    for n, text in enumerate(texts):
        if len(text) < 4_096:
            one = SearchFilter(must=[FilterCondition("k", "eq", text)])
            assert [hit.id for hit in await backend.search_vectors("long", [1, 1], search_filter=one)] == [n]
