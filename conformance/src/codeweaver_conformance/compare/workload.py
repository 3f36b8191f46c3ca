"""What is searched, and what the right answers are.

The exact answers are worked out here with numpy over the same float32 vectors, in float64; what a filter accepts is
the kit's oracle's to say. So neither an engine nor the core's own filter logic is its own judge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from codeweaver_backends.types import DistanceMetric, FloatMatrix
from codeweaver_conformance import oracle
from codeweaver_conformance.compare.dataset import Dataset, NamedFilter

__all__ = ["LIMIT", "QUERIES", "TOLERANCE", "Answer", "Search", "Workload", "same_answer", "searches_of"]

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
class Search:
    """One query, with a filter or without."""

    query: int
    """Its number among the queries."""
    filter: NamedFilter | None = None


def searches_of(data: Dataset) -> tuple[list[Search], list[Search]]:
    """What is asked of the points: every query as it is, and every query under every filter."""
    numbers = range(len(data.queries))
    return [Search(query) for query in numbers], [Search(query, named) for named in data.filters for query in numbers]


class Workload:
    """The judge of the answers to the searches of a dataset."""

    def __init__(self, data: Dataset) -> None:
        self.data = data
        self.unfiltered, self.filtered = searches_of(data)
        self.row_of = {(type(point_id), point_id): row for row, point_id in enumerate(data.ids)}
        self._scores = _scores(data.metric, data.query_vectors, data.vectors)
        self._masks = {
            named.label: np.array([oracle.matches(named.filter, payload) for payload in data.payloads], dtype=bool)
            for named in data.filters
        }
        lengths = np.linalg.norm(data.vectors.astype(np.float64), axis=1).max(initial=1.0)
        is_dot = data.metric is DistanceMetric.DOT_PRODUCT
        self._tolerances = [
            TOLERANCE * (max(1.0, float(lengths * np.linalg.norm(query))) if is_dot else 1.0)
            for query in data.query_vectors.astype(np.float64)
        ]

    @property
    def searches(self) -> list[Search]:
        """All of them, the unfiltered ones first."""
        return [*self.unfiltered, *self.filtered]

    def row(self, point_id: object) -> int | None:
        """The row of the point of this id, type included; ``None`` for one that was not written."""
        return self.row_of.get((type(point_id), point_id))  # type: ignore[arg-type]

    def matching(self, named: NamedFilter) -> int:
        """How many points a filter accepts."""
        return int(self._masks[named.label].sum())

    def tolerance(self, search: Search) -> float:
        """Scores of this search that are closer than this are equal."""
        return self._tolerances[search.query]

    def recall(self, search: Search, answer: Answer) -> float:
        """The share of the exact answer that was found; points as good as the last of it count as much."""
        scores = self._exact(search)
        wanted = min(LIMIT, int(np.isfinite(scores).sum()))
        if not wanted:
            return 1.0
        floor = np.partition(scores, -wanted)[-wanted] - self.tolerance(search)
        found = {self.row(point_id) for point_id, _ in answer if self._score_in(scores, point_id) >= floor}
        return len(found) / wanted

    def is_exact(self, search: Search, answer: Answer) -> bool:
        """Whether nothing is missing, wrong, doubled, out of order or scored otherwise."""
        scores = self._exact(search)
        ids = [(type(point_id), point_id) for point_id, _ in answer]
        given = [score for _, score in answer]
        near = self.tolerance(search)
        return (
            len(answer) == len(set(ids)) == min(LIMIT, int(np.isfinite(scores).sum()))
            and given == sorted(given, reverse=True)
            and all(abs(self._score_in(scores, point_id) - score) <= near for point_id, score in answer)
            and self.recall(search, answer) == 1.0
        )

    def _exact(self, search: Search) -> npt.NDArray[np.float64]:
        """The score of every point; of those that the filter does not accept, minus infinity."""
        scores = self._scores[search.query]
        return scores if search.filter is None else np.where(self._masks[search.filter.label], scores, -np.inf)

    def _score_in(self, scores: npt.NDArray[np.float64], point_id: object) -> float:
        row = self.row(point_id)
        return float("-inf") if row is None else float(scores[row])


def _scores(metric: DistanceMetric, queries: FloatMatrix, vectors: FloatMatrix) -> npt.NDArray[np.float64]:
    """Of every query with every point: higher is nearer."""
    left, right = queries.astype(np.float64), vectors.astype(np.float64)
    if metric is DistanceMetric.COSINE:
        left /= np.linalg.norm(left, axis=1, keepdims=True)
        right /= np.linalg.norm(right, axis=1, keepdims=True)
    if metric in (DistanceMetric.COSINE, DistanceMetric.DOT_PRODUCT):
        return np.asarray(left @ right.T, dtype=np.float64)
    order = 2 if metric is DistanceMetric.EUCLIDEAN else 1
    return np.array([1.0 / (1.0 + np.linalg.norm(right - query, ord=order, axis=1)) for query in left])


def same_answer(one: Answer, other: Answer, near: float = TOLERANCE) -> bool:
    """Whether two engines answered alike: the same scores, and the same ids but for ties with the last result."""
    if len(one) != len(other):
        return False
    if any(abs(a - b) > near for (_, a), (_, b) in zip(one, other, strict=True)):
        return False
    if not one:
        return True
    left, right, last = dict(one), dict(other), one[-1][1]
    return all(
        abs(left.get(point_id, last) - right.get(point_id, last)) <= near for point_id in left.keys() | right.keys()
    )
