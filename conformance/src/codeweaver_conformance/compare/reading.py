"""From what a user has to a dataset: a folder of code or texts, a file of points, an array.

A folder is embedded by the static model, and its queries are texts. A file (Parquet, JSON lines) or an array brings its
vectors along; queries are vectors then, and where none are given some of the points are kept back to be them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from codeweaver_backends.errors import BackendError, InvalidOptionError
from codeweaver_backends.transfer import Columns
from codeweaver_backends.transfer.files import FileOrigin
from codeweaver_backends.types import DistanceMetric, FloatMatrix, VectorPoint
from codeweaver_conformance.compare.corpus import python_files, read_corpus, stdlib_folder, text_files
from codeweaver_conformance.compare.dataset import Caption, Dataset, Identifiers, spread
from codeweaver_conformance.compare.embed import StaticModel
from codeweaver_conformance.compare.identifiers import spoken_names
from codeweaver_conformance.compare.workload import QUERIES

__all__ = ["Progress", "Source", "SourceError", "read_source"]

_KEPT_BACK: Final = 40
"""Points that become queries where none are given."""


class SourceError(InvalidOptionError):
    """What was named as data or as queries is not of use; the message says why."""


class Progress(Protocol):
    """Who is told how far it is."""

    def begin(self, what: str, total: int) -> None:
        """A new stretch of work begins."""

    def advance(self, steps: int = 1) -> None:
        """Some of it is done."""


@dataclass(frozen=True, slots=True)
class Source:
    """What the user named."""

    data: Path | None = None
    """A folder, ``.parquet``, ``.jsonl``, ``.npy`` or ``.npz``; the interpreter's standard library if absent."""
    queries: Sequence[str] = ()
    """Texts to search for."""
    query_file: Path | None = None
    """Texts, one a line, for a folder; vectors in one of the formats of ``data`` for everything else."""
    columns: Columns | None = None
    """Of a file of others."""
    metric: DistanceMetric | None = None
    limit: int | None = None
    """At most so many points, evenly chosen."""


def read_source(source: Source, progress: Progress) -> Dataset:
    """Read the points and the queries. Raises ``SourceError`` for what is not of use, ``ModelMissingError``."""
    if source.data is None or source.data.is_dir():
        data = _read_folder(source, progress)
    elif not source.data.exists():
        raise SourceError(f"there is no folder {str(source.data)!r}, and no such file")
    else:
        data = _read_vectors(source, progress)
    return data.with_filters()


# --- folders ---------------------------------------------------------------------------------------------------------


def _read_folder(source: Source, progress: Progress) -> Dataset:
    folder = source.data or stdlib_folder()
    texts = _query_texts(source)
    # The standard library's own tests would be most of it; a folder that somebody names is taken as it is.
    files = python_files(folder, with_tests=source.data is not None)
    files += text_files(folder) if source.data is not None else []
    progress.begin("reading files", len(files))
    corpus = read_corpus(folder, files, progress.advance)
    if not corpus.chunks:
        raise SourceError(
            f"no function or class is defined in the Python files of {str(folder)!r}, and it holds no texts"
        )
    chunks = [corpus.chunks[row] for row in spread(len(corpus.chunks), source.limit or len(corpus.chunks))]
    model = StaticModel.load()
    progress.begin("embedding", len(chunks))
    vectors = model.embed([chunk.text for chunk in chunks], progress.advance)
    named = spoken_names(chunks)
    identifiers = Identifiers(list(named), model.embed(list(named)), list(named.values())) if named else None
    what = "definitions" if all(chunk.kind != "text" for chunk in chunks) else "definitions and pieces of text"
    return Dataset(
        f"{len(chunks):,} {what} of {corpus.files:,} files, {model.dimension}-d",
        {"folder": str(folder), "chunks": len(chunks), "files": corpus.files, "unreadable": corpus.unreadable},
        [chunk.id for chunk in chunks],
        vectors,
        [chunk.payload for chunk in chunks],
        texts,
        model.embed(texts),
        source.metric or DistanceMetric.COSINE,
        [Caption(chunk.name, f"{chunk.module}:{chunk.line}", chunk.summary) for chunk in chunks],
        identifiers=identifiers,
    )


def _query_texts(source: Source) -> list[str]:
    texts = list(source.queries)
    if source.query_file is not None:
        try:
            texts += source.query_file.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise SourceError(f"the queries cannot be read: {error}") from None
    chosen = list(dict.fromkeys(text.strip() for text in texts if text.strip()))
    if not chosen and (texts or source.query_file):
        raise SourceError("the queries are empty")
    return chosen or list(QUERIES)


# --- files and arrays ------------------------------------------------------------------------------------------------


def _read_vectors(source: Source, progress: Progress) -> Dataset:
    file, given = source.data, source.query_file
    assert file is not None  # noqa: S101 - for the type checker: who calls has looked
    if source.queries:
        raise SourceError(f"{file.name} holds vectors, and a text is none: give the queries as a file of vectors")
    points, metric = _points_of(file, source, progress)
    notes = []
    if given is not None:
        queries = np.stack([_vector_of(point) for point in _points_of(given, source, progress)[0]])
        if queries.shape[1] != len(_vector_of(points[0])):
            raise SourceError(f"{given.name}: its vectors have another length than those of {file.name}")
        names = [f"query {number + 1}" for number in range(len(queries))]
    else:
        rows = spread(len(points), min(_KEPT_BACK, max(1, len(points) // 10)))
        names = [f"the point {points[row].id!r}" for row in rows]
        queries = np.stack([_vector_of(points[row]) for row in rows])
        if len(points) > len(rows):
            kept = set(rows)
            points = [point for row, point in enumerate(points) if row not in kept]
        notes.append(f"No queries were given: {len(rows)} of the points were not written, and searched for.")
    total = len(points)
    points = [points[row] for row in spread(total, source.limit or total)]
    vectors = np.stack([_vector_of(point) for point in points])
    payloads = [dict(point.payload or {}) for point in points]
    return Dataset(
        f"{len(points):,} {f'of {total:,} ' if total > len(points) else ''}points of {file.name}, {vectors.shape[1]}-d",
        {"file": str(file), "points": len(points), "of": total},
        [point.id for point in points],
        vectors,
        payloads,
        names,
        queries,
        metric,
        [_caption(point.id, payload) for point, payload in zip(points, payloads, strict=True)],
        notes=notes,
    )


def _vector_of(point: VectorPoint) -> FloatMatrix:
    return np.asarray(point.vector, dtype=np.float32)


def _caption(point_id: Any, payload: dict[str, Any]) -> Caption:
    texts = [value for value in payload.values() if isinstance(value, str) and value]
    return Caption(str(point_id), "", " ".join(max(texts, key=len, default="").split())[:400])


def _points_of(file: Path, source: Source, progress: Progress) -> tuple[list[VectorPoint], DistanceMetric]:
    try:
        return asyncio.run(_file_points(file, source, progress))
    except BackendError as error:
        raise SourceError(error.message) from None


async def _file_points(file: Path, source: Source, progress: Progress) -> tuple[list[VectorPoint], DistanceMetric]:
    origin = FileOrigin.open(file, source.columns, source.metric, None)
    await origin.examine(lambda _: None)
    info = await origin.describe()
    progress.begin(f"reading {file.name}", info.vector_count)
    points: list[VectorPoint] = []
    async for page in origin.pages():
        points += page.points
        progress.advance(len(page.points))
    if not points:
        raise SourceError(f"{file.name}: there are no points in it")
    return points, info.distance_metric
