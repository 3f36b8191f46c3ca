"""What is searched, and what the right answers are.

The exact answers are worked out here with numpy over the same float32 vectors, in float64; what a filter accepts is
said a second time, as a plain Python predicate. So neither an engine nor the core's own filter logic is its own judge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from codeweaver_backends import FilterCondition, SearchFilter
from codeweaver_backends.types import FloatMatrix
from codeweaver_conformance.compare.corpus import Chunk

__all__ = [
    "LIMIT",
    "QUERIES",
    "TOLERANCE",
    "Answer",
    "Identifiers",
    "NamedFilter",
    "Search",
    "Workload",
    "named_filters",
    "same_answer",
]

LIMIT: Final = 10
"""Results asked for by each search."""
TOLERANCE: Final = 1e-5
"""Scores closer than this are equal."""

QUERIES: Final = (
    "run a subprocess and capture its output",
    "parse command line arguments",
    "open a zip archive",
    "send an email message over smtp",
    "download a web page over http",
    "compress data with gzip",
    "parse a json document",
    "read rows from a csv file",
    "compute a cryptographic hash of a file",
    "format a date and time as text",
    "create a temporary directory",
    "walk a directory tree",
    "match a regular expression against a string",
    "start a new thread",
    "wait for several coroutines to finish",
    "round a decimal number",
    "shuffle a list randomly",
    "pretty print a nested data structure",
    "parse an xml file",
    "escape special characters in html",
    "encode bytes as base64",
    "compute the median of a list of numbers",
    "listen for tcp connections",
    "set a breakpoint in the debugger",
    "show the differences between two texts",
    "cache the results of a function",
    "copy a file with its permissions",
    "read settings from an ini file",
)

Answer = list[tuple[Any, float]]
"""What an engine answered: ids and scores, best first."""


@dataclass(frozen=True, slots=True)
class NamedFilter:
    """A filter, as the engines get it and as anybody can check it."""

    label: str
    filter: SearchFilter
    accepts: Callable[[Chunk], bool]


def named_filters(chunks: Sequence[Chunk]) -> list[NamedFilter]:
    """One filter of every sort: equality, bool, range, membership, substring, negation, nesting."""
    package = _largest_package(chunks)
    has = FilterCondition
    return [
        NamedFilter(
            "kind is class", SearchFilter(must=[has("kind", "eq", "class")]), lambda chunk: chunk.kind == "class"
        ),
        NamedFilter("documented", SearchFilter(must=[has("has_doc", "eq", True)]), lambda chunk: chunk.has_doc),
        NamedFilter(
            "10 to 40 lines",
            SearchFilter(must=[has("lines", "ge", 10), has("lines", "le", 40)]),
            lambda chunk: 10 <= chunk.lines <= 40,
        ),
        NamedFilter(
            "tagged property or async",
            SearchFilter(should=[has("tags", "contains", "property"), has("tags", "contains", "async")]),
            lambda chunk: "property" in chunk.tags or "async" in chunk.tags,
        ),
        NamedFilter(
            f"in the package {package}",
            SearchFilter(should=[has("module", "eq", package), has("module", "contains", f"{package}.")]),
            lambda chunk: chunk.module == package or f"{package}." in chunk.module,
        ),
        NamedFilter(
            "public functions and methods",
            SearchFilter(
                must=[has("kind", "in", ["function", "method"])], must_not=[has("tags", "in", ["private", "dunder"])]
            ),
            lambda chunk: chunk.kind != "class" and not {"private", "dunder"} & set(chunk.tags),
        ),
        NamedFilter(
            "undocumented and long, or a class of few lines",
            SearchFilter(
                should=[
                    SearchFilter(must=[has("lines", "gt", 60)], must_not=[has("has_doc", "eq", True)]),
                    SearchFilter(must=[has("kind", "eq", "class"), has("lines", "lt", 6)]),
                ]
            ),
            lambda chunk: (chunk.lines > 60 and not chunk.has_doc) or (chunk.kind == "class" and chunk.lines < 6),
        ),
    ]


def _largest_package(chunks: Sequence[Chunk]) -> str:
    counts = Counter(chunk.module.partition(".")[0] for chunk in chunks if "." in chunk.module)
    return min(counts, key=lambda name: (-counts[name], name), default=chunks[0].module)


@dataclass(frozen=True, slots=True)
class Search:
    """One query, with a filter or without."""

    query: int
    """Its number among the workload's queries."""
    filter: NamedFilter | None


@dataclass(frozen=True, slots=True)
class Identifiers:
    """Searches by an identifier's words: queries, their vectors, and the id of the definition that each names."""

    queries: Sequence[str]
    vectors: FloatMatrix
    ids: Sequence[str]


class Workload:
    """Points to write, searches to run, and the judge of the answers."""

    def __init__(
        self,
        chunks: Sequence[Chunk],
        vectors: FloatMatrix,
        queries: Sequence[str],
        query_vectors: FloatMatrix,
        identifiers: Identifiers | None = None,
    ) -> None:
        self.chunks = chunks
        self.identifiers = identifiers
        self.ids = [chunk.id for chunk in chunks]
        self.payloads = [chunk.payload for chunk in chunks]
        self.vectors = vectors
        self.queries = list(queries)
        self.query_vectors: list[list[float]] = query_vectors.tolist()
        self.filters = named_filters(chunks)
        self.unfiltered = [Search(query, None) for query in range(len(queries))]
        self.filtered = [Search(query, named) for named in self.filters for query in range(len(queries))]
        self.row_of = {chunk_id: row for row, chunk_id in enumerate(self.ids)}
        self._scores = _cosines(query_vectors, vectors)
        self._masks = {named.label: np.array([named.accepts(chunk) for chunk in chunks]) for named in self.filters}

    @property
    def searches(self) -> list[Search]:
        """All of them, the unfiltered ones first."""
        return [*self.unfiltered, *self.filtered]

    def matching(self, named: NamedFilter) -> int:
        """How many points a filter accepts."""
        return int(self._masks[named.label].sum())

    def recall(self, search: Search, answer: Answer) -> float:
        """The share of the exact answer that was found; points as good as the last of it count as much."""
        scores = self._exact(search)
        wanted = min(LIMIT, int(np.isfinite(scores).sum()))
        if not wanted:
            return 1.0
        floor = np.partition(scores, -wanted)[-wanted] - TOLERANCE
        found = {point_id for point_id, _ in answer if self._score_in(scores, point_id) >= floor}
        return len(found) / wanted

    def is_exact(self, search: Search, answer: Answer) -> bool:
        """Whether nothing is missing, wrong, doubled, out of order or scored otherwise."""
        scores = self._exact(search)
        ids = [point_id for point_id, _ in answer]
        given = [score for _, score in answer]
        return (
            len(answer) == len(set(ids)) == min(LIMIT, int(np.isfinite(scores).sum()))
            and given == sorted(given, reverse=True)
            and all(abs(self._score_in(scores, point_id) - score) <= TOLERANCE for point_id, score in answer)
            and self.recall(search, answer) == 1.0
        )

    def _exact(self, search: Search) -> npt.NDArray[np.float64]:
        """The score of every point; of those that the filter does not accept, minus infinity."""
        scores = self._scores[search.query]
        return scores if search.filter is None else np.where(self._masks[search.filter.label], scores, -np.inf)

    def _score_in(self, scores: npt.NDArray[np.float64], point_id: object) -> float:
        row = self.row_of.get(point_id) if isinstance(point_id, str) else None
        return float("-inf") if row is None else float(scores[row])


def _cosines(queries: FloatMatrix, vectors: FloatMatrix) -> npt.NDArray[np.float64]:
    left, right = queries.astype(np.float64), vectors.astype(np.float64)
    left /= np.linalg.norm(left, axis=1, keepdims=True)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    return np.asarray(left @ right.T, dtype=np.float64)


def same_answer(one: Answer, other: Answer) -> bool:
    """Whether two engines answered alike: the same scores, and the same ids but for ties with the last result."""
    if len(one) != len(other):
        return False
    if any(abs(a - b) > TOLERANCE for (_, a), (_, b) in zip(one, other, strict=True)):
        return False
    if not one:
        return True
    left, right, last = dict(one), dict(other), one[-1][1]
    return all(
        abs(left.get(point_id, last) - right.get(point_id, last)) <= TOLERANCE
        for point_id in left.keys() | right.keys()
    )
