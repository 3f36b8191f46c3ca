"""Hybrid searches that are asked and judged, and histories of them by chance."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from codeweaver_backends.types import (
    DistanceMetric,
    FilterCondition,
    FilterLike,
    HybridStrategy,
    PointId,
    SearchFilter,
    SearchResult,
    VectorPoint,
)
from codeweaver_conformance import oracle_hybrid
from codeweaver_conformance.oracle_hybrid import TextIndex
from codeweaver_conformance.session import Conformance, point

__all__ = ["TEXT", "History", "Question", "ask", "create_index", "found", "holds", "sparse", "texts"]

TEXT: Final = TextIndex(["t"])
"""The index of most tests: BM25 over one field."""


async def ask(
    cw: Conformance,
    name: str,
    points: Sequence[VectorPoint],
    sparse: Any,
    *,
    dense: Sequence[float] = (1.0, 0.0),
    metric: DistanceMetric = DistanceMetric.COSINE,
    index: TextIndex | None = None,
    limit: int = 10,
    strategy: HybridStrategy = HybridStrategy.RRF,
    alpha: float = 0.5,
    search_filter: FilterLike | None = None,
    candidates: int | None = None,
    backend: Any = None,
) -> list[SearchResult]:
    """Make a hybrid search over these points, and judge the answer."""
    options = {} if candidates is None else {"candidates": candidates}
    given = (name, list(dense), sparse, limit, strategy, alpha, search_filter)
    got: list[SearchResult] = await (backend or cw.backend).hybrid_search(*given, **options)
    wrong = oracle_hybrid.check_hybrid(
        got,
        points,
        dense,
        sparse,
        metric,
        index=index,
        limit=limit,
        strategy=strategy,
        alpha=alpha,
        search_filter=search_filter,
        candidates=candidates,
    )
    if wrong:
        cw.violated("the contract's ranking", wrong)
    return got


async def found(cw: Conformance, name: str, sparse: Any, backend: Any = None) -> dict[PointId, float]:
    """The sparse leg by itself: LINEAR with an alpha of 0 is its scores."""
    dense = cw.query(name)
    got = await (backend or cw.backend).hybrid_search(
        name, dense, sparse, limit=1_000, hybrid_strategy=HybridStrategy.LINEAR, alpha=0.0
    )
    return {hit.id: hit.score for hit in got}


async def create_index(cw: Conformance, name: str, index: TextIndex, backend: Any = None) -> None:
    """``create_sparse_index`` with the arguments that ``index`` stands for."""
    await (backend or cw.backend).create_sparse_index(name, list(index.fields), index.index_type, **index.options)


def texts(*values: Any) -> list[VectorPoint]:
    """A point per text, the numbers their ids, with vectors that differ."""
    return [point(number, [1.0, number / 10], {"t": value}) for number, value in enumerate(values)]


def sparse(*vectors: Any) -> list[VectorPoint]:
    """A point per sparse vector."""
    return [VectorPoint(number, [1.0, number / 10], {"n": number}, one) for number, one in enumerate(vectors)]


async def holds(
    cw: Conformance, name: str, query: Any, ids: Collection[PointId], why: str, backend: Any = None
) -> None:
    """The sparse leg has these points and no other."""
    cw.equal(set(await found(cw, name, query, backend)), set(ids), f"{why}: {query!r}")


# --- by chance -------------------------------------------------------------------------------------------------------

_WORDS: Final = (
    *("server", "HTTPServer", "http_server", "snake_case", "parseURL2Text", "CoreV1Api", "__init__", "_", "C++", "3d"),
    *("def", "self", "return", "kubernetes", "zyzzyva", "file", "\ufb01le", "don't", "?", '"', "*", "AND"),
    *("日本語", "日本", "本", "한국어", "\u00e9", "\u00c9", "e\u0301", "007", "7", "12", "4294967279"),
)
_TERMS: Final = ("a", "b", "7", "007", "日本", "x y", "zyzzyva", 7, 12, 999_999_999)
_IDS: Final[tuple[PointId, ...]] = (*range(9), "1", "7", "a", "A", "é", "日", "\U0001f600", "it's")
_INDEXES: Final = (
    TextIndex(["t", "o.t"]),
    TextIndex(["t"], average_length=5.0),
    TextIndex(["t", ("o", "t"), ("a.b",)], documents=40, counts={"server": 30, "http": 12}, other=2),
    TextIndex(["t", "l"], "text"),
    TextIndex(["l"], "keyword"),
)


@dataclass(frozen=True, slots=True)
class Question:
    """One search of a history."""

    sparse: Any
    dense: list[float]
    limit: int
    strategy: HybridStrategy
    alpha: float
    search_filter: FilterLike | None
    candidates: int | None


@dataclass(slots=True)
class History:
    """What is written to a collection, by chance, and what it then holds. Ties abound: few vectors, few weights."""

    random: Random
    metric: DistanceMetric
    points: dict[PointId, VectorPoint] = field(default_factory=dict)
    index: TextIndex | None = None
    ids: Sequence[PointId] = _IDS
    """The ids that are written."""
    largest_batch: int = 7

    def step(self) -> tuple[str, Any]:
        """The next call that writes, already noted: its name and what it is given."""
        match self.random.randrange(12 if self.points else 6):
            case 0:
                self.index = self.random.choice(_INDEXES)
                return "create_sparse_index", self.index
            case 6 | 7:
                ids = self._some()
                for point_id in ids:
                    del self.points[point_id]
                return "delete_vectors", ids
            case 8 | 9:
                updates = [VectorPoint(one, [], None, self._sparse()) for one in self._some()]
                for update in updates:
                    self.points[update.id].sparse_vector = update.sparse_vector
                return "update_sparse_vectors", updates
        batch = [self._point() for _ in range(self.random.randrange(1, self.largest_batch + 1))]
        for one in batch:
            self.points[one.id] = VectorPoint(one.id, one.vector, one.payload, one.sparse_vector)
        return "upsert_vectors", batch

    def question(self) -> Question | None:
        """A search; ``None`` where engines might tell its scores from ties differently."""
        random = self.random
        is_text = self.index is not None and random.random() < 0.6
        sparse = self._asked() if is_text else self._sparse() or {}
        limit = random.choice((10, 3, 1, 5, 20))
        asked = Question(
            sparse,
            self._vector(),
            limit,
            random.choice(list(HybridStrategy)),
            random.choice((0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)),
            random.choice((None, None, None, SearchFilter(must=[FilterCondition("k", "lt", 3)]))),
            random.choice((None, limit, limit + 2, 100)),
        )
        size = asked.candidates or 100
        both = oracle_hybrid.legs(
            self.points.values(), asked.dense, sparse, self.metric, self.index, asked.search_filter
        )
        return asked if all(oracle_hybrid.is_settled(leg, size) for leg in both) else None

    def _some(self) -> list[PointId]:
        return self.random.sample(list(self.points), self.random.randrange(1, min(4, len(self.points)) + 1))

    def _point(self) -> VectorPoint:
        return VectorPoint(self.random.choice(self.ids), self._vector(), self._payload(), self._sparse())

    def _vector(self) -> list[float]:
        if self.random.random() < 0.5:
            return [float(self.random.randrange(1, 3)), float(self.random.randrange(2)), 0.0]
        return [self.random.uniform(-1, 1), self.random.uniform(0.1, 1), self.random.uniform(-1, 1)]

    def _sparse(self) -> dict[Any, float] | None:
        if self.random.random() < 0.25:
            return self.random.choice((None, {}))
        terms = self.random.sample(_TERMS, self.random.randrange(1, 5))
        exact = self.random.random() < 0.5
        return {term: float(self.random.randrange(3)) if exact else self.random.uniform(0.01, 20) for term in terms} | (
            {"zero": 0.0} if self.random.random() < 0.2 else {}
        )

    def _text(self) -> str:
        return " ".join(self.random.choices(_WORDS, k=self.random.randrange(7)))

    def _payload(self) -> Mapping[str, Any] | None:
        if self.random.random() < 0.1:
            return None
        payload: dict[str, Any] = {"k": self.random.randrange(6)}
        texts: tuple[Any, ...] = (self._text(), [self._text(), 1, self._text()], None, 7, "", {"t": self._text()})
        for name in ("t", "o", "l", "a.b"):
            if self.random.random() < 0.6:
                payload[name] = self.random.choice(texts)
        return payload

    def _asked(self) -> str:
        if self.index is not None and self.index.index_type == "keyword" and self.random.random() < 0.7:
            lists = [(point.payload or {}).get("l") for point in self.points.values()]
            strings = [one for values in lists if isinstance(values, list) for one in values if isinstance(one, str)]
            return self.random.choice(strings or [""])
        return self._text()
