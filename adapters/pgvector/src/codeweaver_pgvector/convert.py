"""Points and rows: ids, payloads and vectors as PostgreSQL keeps them, and back.

jsonb is exact with three exceptions, and a row has a column for each: a text cannot hold NUL, so strings pass through a
code; a float that is written with an exponent comes back as an integer, so such a payload is kept as written beside its
jsonb (``raw``); and jsonb knows no instants, so those of a payload are kept as microseconds (``ts``).
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, Final, TypeAlias

import numpy as np
import orjson

from codeweaver_backends.errors import InvalidVectorError
from codeweaver_backends.metrics import clamp_cosine, score_of_distance
from codeweaver_backends.sdk.index.codes import StringCode
from codeweaver_backends.sdk.index.facts import Kind, Path, leaves
from codeweaver_backends.sdk.index.keys import INT64_MAX, parse_instant
from codeweaver_backends.sdk.payloads import decode_payload, project
from codeweaver_backends.sdk.requests import Batch, WithPayload
from codeweaver_backends.types import DistanceMetric, FloatMatrix, Payload, PointId

__all__ = [
    "CODE",
    "COLUMNS",
    "check_lengths",
    "columns_to_merge",
    "decode_id",
    "documents_of",
    "encode_id",
    "engine_query",
    "engine_vectors",
    "json_text",
    "nested_json",
    "path_key",
    "payload_of",
    "row_documents",
    "rows_to_copy",
    "score_of",
]

CODE: Final = StringCode("\0", alphabet="\x01\x02\x03")
"""Keeps NUL out of every text; a substring of the code is a substring of the text."""

COLUMNS: Final = ("id", "vec", "given", "doc", "raw", "ts")
"""What is written of a point, in the order of ``rows_to_copy``."""

_RESERVED: Final = b"\\u000"
"""In a document that holds characters of the code, if it holds any; so are the next two for other oddities. They may be
met inside of a string by chance: that costs time and space, not exactness."""
_EXPONENT: Final = orjson.dumps(1e16)[1:-2]
_LARGE: Final = re.compile(rb"[:\[,]-?[0-9.]+e\+?[0-9]")
_INSTANT: Final = re.compile(rb"-[0-9]{2}[Tt][0-9]{2}:")
_WHOLE: Final = 1e16
"""From here on floats are whole numbers and written with an exponent."""
_Documents: TypeAlias = tuple[bytes, bytes | None, bytes | None]
_COPY_HEAD: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_TAIL: Final = b"\xff\xff"
_LONGEST: Final = 1e18
_PIECE: Final = 256
"""Points that are made ready at once, while the server takes in those before."""
_SAFE_PEAK: Final = 2.0**40
"""Up to this size and down to its inverse, squares of a vector's elements neither overflow nor vanish in float32."""


# --- ids -------------------------------------------------------------------------------------------------------------


def encode_id(point_id: PointId) -> str:
    """An id as text that tells ``1`` from ``"1"``."""
    return f"i{point_id}" if isinstance(point_id, int) else "s" + CODE.encode(point_id)


def decode_id(code: str) -> PointId:
    """The id of what ``encode_id`` made; ``ValueError`` for anything else."""
    kind, text = code[:1], code[1:]
    if kind == "s" and text:
        return CODE.decode(text)
    if kind == "i" and text.isascii() and text.isdecimal() and int(text) <= INT64_MAX and str(int(text)) == text:
        return int(text)
    raise ValueError("not the code of an id")


# --- payloads --------------------------------------------------------------------------------------------------------


def json_text(value: Any) -> str:
    """A JSON value as jsonb is to hold it: strings coded, large floats as the whole numbers they are."""
    return json.dumps(_coded(value), ensure_ascii=False, separators=(",", ":"))


def nested_json(path: Path, value: Any) -> str:
    """The object that holds ``value`` at ``path`` and nothing else, for containment."""
    for key in reversed(path):
        value = {key: value}
    return json_text(value)


def path_key(path: Path) -> str:
    """A path as one key of ``ts``."""
    return json_text(list(path))


def _coded(value: Any) -> Any:
    if isinstance(value, str):
        return CODE.encode(value)
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) >= _WHOLE else value
    if isinstance(value, dict):
        return {CODE.encode(key): _coded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_coded(inner) for inner in value]
    return value


def documents_of(documents: Sequence[bytes]) -> Iterable[_Documents]:
    """The columns of many payloads. Most batches hold nothing odd at all, which one look at them together tells."""
    lossy, dated = _oddities(b"".join(documents))
    return map(row_documents, documents) if lossy or dated else ((document, None, None) for document in documents)


def _oddities(text: bytes) -> tuple[bool, bool]:
    """Whether jsonb may lose something of it, and whether it may hold instants: plain searches cost next to nothing."""
    lossy = _RESERVED in text or (_EXPONENT in text and _LARGE.search(text) is not None)
    return lossy, _INSTANT.search(text) is not None


def row_documents(document: bytes) -> _Documents:
    """The columns ``doc``, ``raw`` and ``ts`` of a payload."""
    lossy, dated = _oddities(document)
    if not lossy and not dated:
        return document, None, None
    payload = decode_payload(document)
    doc, raw = (json_text(payload).encode(), document) if lossy else (document, None)
    instants = _instants(payload) if dated else None
    return doc, raw, json.dumps(instants, ensure_ascii=False).encode() if instants else None


def _instants(payload: Mapping[str, Any]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for fact in leaves(payload):
        if fact.kind is Kind.STRING:
            instant = parse_instant(str(fact.value))
            if instant is not None:
                found.setdefault(path_key(fact.path), []).append(instant)
    return found


def payload_of(text: str, with_payload: WithPayload) -> Payload:
    """The payload of ``coalesce(raw, doc::text)``. What was coded or changed is there only as ``raw``."""
    return project(decode_payload(text), with_payload)


# --- vectors ---------------------------------------------------------------------------------------------------------


def check_lengths(batch: Batch, metric: DistanceMetric) -> None:
    """Refuse what pgvector would add up to infinity: of a dot product the length cannot be left out."""
    if metric is DistanceMetric.DOT_PRODUCT and len(batch):
        peaks = np.abs(batch.vectors).max(axis=1)
        longest = int(peaks.argmax())
        if peaks[longest] > _LONGEST:
            raise InvalidVectorError(
                f"the vector of point {batch.ids[longest]!r} has elements beyond ±{_LONGEST:g},"
                " whose dot products this engine cannot add up"
            )


def engine_vectors(vectors: FloatMatrix, metric: DistanceMetric) -> tuple[FloatMatrix, list[bool]]:
    """The vectors to compute with, and which of them are not those given.

    pgvector adds up squares in float32. A cosine does not depend on lengths, so extreme ones are brought near 1 by a
    power of two; the vector as given stands beside it then.
    """
    if metric is not DistanceMetric.COSINE:
        return vectors, [False] * len(vectors)
    peaks = np.abs(vectors).max(axis=1)
    extreme = (peaks > _SAFE_PEAK) | (peaks < 1 / _SAFE_PEAK)
    if extreme.any():
        vectors = vectors.copy()
        vectors[extreme] = np.ldexp(vectors[extreme], -np.frexp(peaks[extreme])[1][:, None])
    return vectors, extreme.tolist()


def engine_query(vector: FloatMatrix, metric: DistanceMetric) -> tuple[bytes, float]:
    """The query to compute with, and what a dot product with it is to be multiplied by."""
    exponent = 0
    if metric in (DistanceMetric.COSINE, DistanceMetric.DOT_PRODUCT):
        peak = float(np.abs(vector).max())
        if not 1 / _SAFE_PEAK <= peak <= _SAFE_PEAK:
            exponent = int(np.frexp(peak)[1])
            vector = np.ldexp(vector, -exponent)
    data = struct.pack(">HH", len(vector), 0) + vector.astype(">f4").tobytes()
    return data, 2.0**exponent


def score_of(metric: DistanceMetric, distance: float, factor: float) -> float:
    """The contract's score of pgvector's distance."""
    match metric:
        case DistanceMetric.COSINE:
            return clamp_cosine(1.0 - distance)
        case DistanceMetric.DOT_PRODUCT:
            return -distance * factor
        case _:
            return score_of_distance(distance)


# --- rows ------------------------------------------------------------------------------------------------------------


def rows_to_copy(batch: Batch, metric: DistanceMetric) -> Iterator[bytes]:
    """A batch in the binary format of COPY, of the columns ``COLUMNS``, piece by piece."""
    yield _COPY_HEAD
    for piece in batch.chunks(_PIECE):
        yield _copied(piece, metric)
    yield _COPY_TAIL


def _copied(batch: Batch, metric: DistanceMetric) -> bytes:
    vectors, extreme = engine_vectors(batch.vectors, metric)
    given = _binary(batch.vectors) if any(extreme) else repeat(b"")
    pack = struct.Struct(">i").pack
    null, start = pack(-1), struct.pack(">h", len(COLUMNS))
    size = pack(4 + 4 * batch.vectors.shape[1])
    parts: list[bytes] = []
    for point_id, vector, is_extreme, original, (doc, raw, ts) in zip(
        batch.ids, _binary(vectors), extreme, given, documents_of(batch.documents), strict=False
    ):
        key = encode_id(point_id).encode()
        parts += (start, pack(len(key)), key, size, vector)
        parts += (size, original) if is_extreme else (null,)
        parts += (pack(len(doc) + 1), b"\1", doc)
        parts += (null,) if raw is None else (pack(len(raw)), raw)
        parts += (null,) if ts is None else (pack(len(ts) + 1), b"\1", ts)
    return b"".join(parts)


def columns_to_merge(batch: Batch, metric: DistanceMetric) -> list[list[Any]]:
    """A batch as parameters of a statement, a list for each of ``COLUMNS``."""
    vectors, extreme = engine_vectors(batch.vectors, metric)
    given = _binary(batch.vectors) if any(extreme) else repeat(None)
    docs, raws, instants = zip(*documents_of(batch.documents), strict=True)
    return [
        [encode_id(point_id) for point_id in batch.ids],
        _binary(vectors),
        [vector if is_extreme else None for vector, is_extreme in zip(given, extreme, strict=False)],
        *([None if part is None else part.decode() for part in parts] for parts in (docs, raws, instants)),
    ]


def _binary(vectors: FloatMatrix) -> list[bytes]:
    """Each row as pgvector sends and receives it: dimension and two zero bytes, then big-endian floats."""
    count, dimension = vectors.shape
    packed = np.zeros(count, dtype=[("dimension", ">u2"), ("unused", ">u2"), ("elements", ">f4", (dimension,))])
    packed["dimension"] = dimension
    packed["elements"] = vectors
    data, stride = packed.tobytes(), 4 + 4 * dimension
    return [data[at : at + stride] for at in range(0, len(data), stride)]
