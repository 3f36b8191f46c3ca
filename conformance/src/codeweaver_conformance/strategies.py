"""What tests ask: cases by a seed, the same everywhere, and hypothesis strategies for properties.

Both are made by ``codeweaver_conformance.maker.Maker``, so that what one finds the other can find.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from hypothesis import strategies as st

from codeweaver_backends.types import DistanceMetric, FilterLike, Payload, PointId, VectorPoint
from codeweaver_conformance import oracle
from codeweaver_conformance.maker import MAX_DEPTH, WORLD, Maker, World, make_world

__all__ = ["WORLD", "Case", "Collection", "World", "filters", "generate", "ids", "payloads", "vectors", "worlds"]

# --- cases without hypothesis ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Collection:
    """The points that a run of cases is asked of."""

    number: int
    dimension: int
    metric: DistanceMetric
    points: tuple[VectorPoint, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """One search."""

    number: int
    collection: Collection
    query: list[float]
    search_filter: FilterLike | None
    limit: int
    threshold: float | None


def generate(
    seed: int,
    cases: int,
    *,
    metrics: Sequence[DistanceMetric] = tuple(DistanceMetric),
    contains: bool = True,
    datetimes: bool = True,
    regex: bool = False,
    per_collection: int = 100,
) -> Iterator[Case]:
    """``cases`` searches over collections of 30–60 points, the same for the same arguments, everywhere.

    Collections come one after the other, ``per_collection`` cases each, their metrics in turn. The first case of each
    asks for everything, so that a run can also compare what was stored.
    """
    for start in range(0, cases, per_collection):
        number = start // per_collection
        random = Random(f"{seed}/{number}")  # noqa: S311 - reproducible, not secret
        world = make_world(random, contains=contains, datetimes=datetimes, regex=regex)
        maker = Maker(random, world)
        collection = _collection(random, maker, number, metrics[number % len(metrics)])
        size = len(collection.points)
        yield Case(start, collection, maker.vector(collection.dimension), None, size + 1, None)
        for offset in range(1, min(per_collection, cases - start)):
            query = maker.vector(collection.dimension)
            limit = random.choice((10, 5, 3, 1, 20, size, size + 7, 0))
            search_filter = maker.filter() if random.random() < 0.97 else None
            yield Case(start + offset, collection, query, search_filter, limit, _threshold(random, collection, query))


def _collection(random: Random, maker: Maker, number: int, metric: DistanceMetric) -> Collection:
    dimension, size = random.randrange(4, 9), random.randrange(30, 61)
    names: dict[PointId, None] = {}
    while len(names) < size:
        names[maker.point_id()] = None
    points: list[VectorPoint] = []
    for point_id in names:
        tied = points and random.random() < 0.15
        zero = metric is not DistanceMetric.COSINE
        vector = random.choice(points).vector if tied else maker.vector(dimension, zero=zero)
        points.append(VectorPoint(point_id, vector, maker.payload() if random.random() < 0.96 else None))
    return Collection(number, dimension, metric, tuple(points))


def _threshold(random: Random, collection: Collection, query: Sequence[float]) -> float | None:
    kind = random.random()
    if kind < 0.6:
        return None
    if kind < 0.7:
        return random.choice((0.0, -0.5, 0.5, 1.0))
    vector = oracle.vector_of(random.choice(collection.points))
    return oracle.score(collection.metric, query, vector) + random.choice((0.0, 1e-3))


# --- hypothesis ------------------------------------------------------------------------------------------------------

_RANDOMS: Final = st.randoms(use_true_random=False)


@st.composite
def worlds(draw: st.DrawFn, *, contains: bool = True, datetimes: bool = True, regex: bool = False) -> World:
    """Fields and their values, for payloads and filters that belong together."""
    return make_world(draw(_RANDOMS), contains=contains, datetimes=datetimes, regex=regex)


@st.composite
def payloads(draw: st.DrawFn, world: World = WORLD) -> Payload:
    """JSON objects with the world's fields."""
    return Maker(draw(_RANDOMS), world).payload()


@st.composite
def filters(draw: st.DrawFn, world: World = WORLD, *, depth: int = MAX_DEPTH) -> FilterLike:
    """Filters over the world's fields: every operator the world allows, in every spelling, also as dicts."""
    return Maker(draw(_RANDOMS), world).filter(depth)


@st.composite
def ids(draw: st.DrawFn) -> PointId:
    """Ids the contract allows."""
    return Maker(draw(_RANDOMS), WORLD).point_id()


@st.composite
def vectors(draw: st.DrawFn, dimension: int, *, zero: bool = False) -> list[float]:
    """Vectors of float32 numbers; the zero vector, which has no cosine, only if allowed."""
    return Maker(draw(_RANDOMS), WORLD).vector(dimension, zero=zero)
