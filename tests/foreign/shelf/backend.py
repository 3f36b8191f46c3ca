"""The shelf: rows in a SQLite file, compared one by one."""

import functools
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from codeweaver.cw_types import (
    BackendCapabilities,
    BackendClosedError,
    BackendConnectionError,
    BackendError,
    CollectionExistsError,
    CollectionInfo,
    CollectionNotFoundError,
    DistanceMetric,
    InvalidInputError,
    SearchFilter,
    SearchResult,
    UnsupportedError,
    VectorPoint,
)

from . import checks
from .config import ShelfConfig
from .filters import CONDITIONS, compile_filter

CAPABILITIES = BackendCapabilities(
    supports_filtering=True,
    supports_contains=True,
    supports_datetime_ranges=False,
    supports_hybrid_search=False,
    supports_streaming=False,
    supports_transactions=False,
    max_vector_dimension=4_096,
    supported_distance_metrics=[
        DistanceMetric.COSINE,
        DistanceMetric.EUCLIDEAN,
        DistanceMetric.DOT_PRODUCT,
        DistanceMetric.MANHATTAN,
    ],
)
LIMITS = CAPABILITIES.limits
assert LIMITS.max_filter_conditions == CONDITIONS

SCHEMA = """
CREATE TABLE IF NOT EXISTS shelf (number INTEGER PRIMARY KEY, name TEXT UNIQUE, dimension INTEGER, metric TEXT);
CREATE TABLE IF NOT EXISTS point (
    shelf INTEGER, key BLOB, vector BLOB, payload TEXT, PRIMARY KEY (shelf, key)
) WITHOUT ROWID;
"""


def call(method: Callable[..., Any]) -> Callable[..., Any]:
    """A call of the protocol: refused when closed, and every failure told with the place where it happened."""

    @functools.wraps(method)
    async def wrapper(self: "ShelfBackend", *args: Any, **kwargs: Any) -> Any:
        place = args[0] if args else kwargs.get("collection_name", kwargs.get("name"))
        try:
            if self._closed:
                raise BackendClosedError("the shelf is closed")
            return await method(self, *args, **kwargs)
        except BackendError as error:
            error.backend, error.operation = "shelf", method.__name__
            error.collection = place if isinstance(place, str) else None
            raise
        except sqlite3.Error as error:
            raise BackendConnectionError(
                f"SQLite failed: {error}", backend="shelf", operation=method.__name__
            ) from error

    return wrapper


class ShelfBackend:
    """Vectors in a file."""

    def __init__(self, config: ShelfConfig):
        self.config = config
        self._closed = False

    @contextmanager
    def _file(self) -> Iterator[sqlite3.Connection]:
        """One connection per call: it needs no thread and no event loop of its own."""
        connection = sqlite3.connect(self.config.path, timeout=self.config.timeout)
        try:
            connection.executescript(SCHEMA)
            with connection:
                yield connection
        finally:
            connection.close()

    def _shelf(self, file: sqlite3.Connection, name: str) -> tuple[int, int, DistanceMetric]:
        checks.check_name(name)
        row = file.execute("SELECT number, dimension, metric FROM shelf WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise CollectionNotFoundError("there is no such collection")
        return row[0], row[1], DistanceMetric[row[2]]

    # --- collections ---

    @call
    async def create_collection(
        self,
        name: str,
        dimension: int,
        distance_metric: DistanceMetric = DistanceMetric.COSINE,
        **kwargs: Any,
    ) -> None:
        checks.check_name(name)
        size = checks.check_dimension(dimension, CAPABILITIES.max_vector_dimension)
        checks.check_metric(distance_metric)
        checks.check_options(kwargs, "payload_indexes")
        if kwargs.get("payload_indexes"):
            raise UnsupportedError("fields are not indexed", capability="supports_payload_indexes")
        with self._file() as file:
            try:
                file.execute(
                    "INSERT INTO shelf (name, dimension, metric) VALUES (?, ?, ?)", (name, size, distance_metric.name)
                )
            except sqlite3.IntegrityError as error:
                raise CollectionExistsError("there is such a collection already") from error

    @call
    async def list_collections(self) -> list[str]:
        with self._file() as file:
            return [name for (name,) in file.execute("SELECT name FROM shelf ORDER BY name")]

    @call
    async def delete_collection(self, name: str) -> None:
        with self._file() as file:
            number, _, _ = self._shelf(file, name)
            file.execute("DELETE FROM point WHERE shelf = ?", (number,))
            file.execute("DELETE FROM shelf WHERE number = ?", (number,))

    @call
    async def get_collection_info(self, name: str) -> CollectionInfo:
        with self._file() as file:
            number, dimension, metric = self._shelf(file, name)
            (count,) = file.execute("SELECT count(*) FROM point WHERE shelf = ?", (number,)).fetchone()
            return CollectionInfo(name, dimension, metric, count)

    # --- points ---

    @call
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        checks.check_name(collection_name)
        points = checks.check_points(vectors)
        for one in points:
            checks.check_sequence(one.vector)
        texts = [(checks.id_key(one.id), self.payload_text(one.payload)) for one in points]
        with self._file() as file:
            number, dimension, metric = self._shelf(file, collection_name)
            rows = [
                (number, key, checks.check_vector(one.vector, dimension, metric).tobytes(), text)
                for one, (key, text) in zip(points, texts, strict=True)
            ]
            file.executemany("INSERT OR REPLACE INTO point VALUES (?, ?, ?, ?)", rows)

    def payload_text(self, payload: Any) -> str:
        """A payload as it is stored."""
        return checks.payload_text(payload, LIMITS.max_payload_bytes, LIMITS.max_payload_depth)

    @call
    async def delete_vectors(self, collection_name: str, ids: list[str | int]) -> None:
        checks.check_name(collection_name)
        keys = checks.id_keys(ids)
        with self._file() as file:
            number, _, _ = self._shelf(file, collection_name)
            file.executemany("DELETE FROM point WHERE shelf = ? AND key = ?", [(number, key) for key in keys])

    @call
    async def search_vectors(
        self,
        collection_name: str,
        query_vector: list[float],
        limit: int = 10,
        search_filter: SearchFilter | None = None,
        score_threshold: float | None = None,
        **kwargs: Any,
    ) -> list[SearchResult]:
        checks.check_name(collection_name)
        checks.check_options(kwargs, "with_payload", "with_vectors")
        keys, with_vectors = kwargs.get("with_payload", True), kwargs.get("with_vectors", False)
        checks.check_keys(keys)
        if not isinstance(with_vectors, bool):
            raise InvalidInputError("with_vectors must be a bool")
        checks.check_sequence(query_vector)
        count = checks.check_limit(limit, LIMITS.max_limit)
        threshold = checks.check_threshold(score_threshold)
        test = compile_filter(search_filter)
        with self._file() as file:
            number, dimension, metric = self._shelf(file, collection_name)
            query = checks.check_vector(query_vector, dimension, metric)
            rows = file.execute("SELECT key, vector, payload FROM point WHERE shelf = ?", (number,)).fetchall()
        found = [(key, vector, payload) for key, vector, text in rows if test(payload := json.loads(text))]
        if not found or not count:
            return []
        matrix = np.frombuffer(b"".join(vector for _, vector, _ in found), dtype=np.float32).reshape(-1, dimension)
        scores = self.scores(metric, query.astype(np.float64), matrix.astype(np.float64))
        best = [int(row) for row in np.argsort(-scores, kind="stable")[:count]]
        return [
            SearchResult(
                id=checks.id_of(found[row][0]),
                score=float(scores[row]),
                payload=_part(found[row][2], keys),
                vector=matrix[row].tolist() if with_vectors else None,
            )
            for row in best
            if threshold is None or scores[row] >= threshold
        ]

    def scores(self, metric: DistanceMetric, query: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """Higher is better, whatever the metric."""
        if metric is DistanceMetric.DOT_PRODUCT:
            return matrix @ query
        if metric is DistanceMetric.COSINE:
            lengths = np.linalg.norm(matrix, axis=1) * np.linalg.norm(query)
            return np.clip(matrix @ query / lengths, -1.0, 1.0)
        order = 1 if metric is DistanceMetric.MANHATTAN else 2
        return 1.0 / (1.0 + np.linalg.norm(matrix - query, ord=order, axis=1))

    # --- life ---

    async def health_check(self) -> bool:
        """Whether the file can be read."""
        try:
            await self.list_collections()
        except BackendError:
            return False
        return True

    async def aclose(self) -> None:
        """Nothing is open between two calls; what comes after is refused."""
        self._closed = True


def _part(payload: dict[str, Any], keys: Any) -> dict[str, Any]:
    if isinstance(keys, bool):
        return payload if keys else {}
    return {key: payload[key] for key in keys if key in payload}
