"""What is stored: a table of points for each row of the catalogue, and points as its rows. Sparse vectors are beside
them (``slots``).

A payload is kept as jsonb (``doc``), which is exact with three exceptions. A text cannot hold NUL, so strings pass
through a code; a float that is written with an exponent comes back as an integer, so such a payload is kept as written,
too (``raw``); and jsonb knows no instants, so those of a payload are kept as microseconds (``ts``).
"""

# ruff: noqa: S608 - what is put into statements here are our own names; every value is a parameter

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeAlias

import numpy as np
import orjson

from codeweaver_backends.sdk.index.codes import decode_id
from codeweaver_backends.sdk.index.facts import Kind, Path, leaves
from codeweaver_backends.sdk.index.keys import parse_instant
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, Projection
from codeweaver_backends.sdk.vectors import power_scaled
from codeweaver_backends.types import DistanceMetric, FloatMatrix, VectorPoint
from codeweaver_pgvector.catalogue import LAYOUT, Catalogue, quoted
from codeweaver_pgvector.dialect import CODE, DeclaredField, column_of, json_text, path_key
from codeweaver_pgvector.slots import NULL, SLICE, Slots, decoded

__all__ = [
    "COLUMNS",
    "Table",
    "columns_to_merge",
    "engine_query",
    "engine_vectors",
    "payload_columns",
    "payloads_columns",
    "point_of",
    "rows_to_copy",
]

COLUMNS: Final = ("id", "vec", "given", "doc", "raw", "ts")
"""What is written of a point, in the order of ``rows_to_copy``."""
_OPERATORS: Final = {
    DistanceMetric.COSINE: "<=>",
    DistanceMetric.DOT_PRODUCT: "<#>",
    DistanceMetric.EUCLIDEAN: "<->",
    DistanceMetric.MANHATTAN: "<+>",
}
_PENDING: Final = 65_536
"""KiB that the index over payloads puts off to the server's maintenance, which is not in the way of writes."""
_ROW: Final = 8_000
"""Bytes of a row that surely fit a page."""


# --- tables ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """A collection's table, and the statements on its points."""

    settings: CollectionSettings
    number: int
    catalogue: Catalogue
    vectors: str
    """The schema that the extension is in, quoted."""
    definition: str | None
    """That of the sparse index, when the collection was looked up."""
    has_slots: bool
    """Whether there was a table of sparse vectors then."""

    @classmethod
    def of(cls, catalogue: Catalogue, name: str, row: Any) -> Table | None:
        """The table of a row; ``None`` if the row is not ours. Raises ``UnsupportedError`` for another layout."""
        found = CollectionSettings.from_json(name, row["settings"], LAYOUT)
        if found is None:
            return None
        settings, own = found
        return cls(settings, row["number"], catalogue, quoted(row["vectors"]), own.get("sparse_index"), row["slots"])

    @property
    def schema(self) -> str:
        """The schema that it is in."""
        return self.catalogue.schema

    @property
    def engine_name(self) -> str:
        """Its name, without the schema."""
        return f"codeweaver_points_{self.number}"

    @property
    def name(self) -> str:
        """Its name, qualified."""
        return f'"{self.schema}".{self.engine_name}'

    @cached_property
    def declared(self) -> dict[Path, DeclaredField]:
        """The columns of the declared fields."""
        fields = self.settings.payload_indexes.items()
        return {tuple(name.split(".")): DeclaredField(f"f{at}", kind) for at, (name, kind) in enumerate(fields)}

    @cached_property
    def slots(self) -> Slots:
        """The table of sparse vectors, which may not be there yet."""
        return Slots(self)

    # --- reading: a deleted collection has no points, also where its table is still there ---

    @property
    def is_living(self) -> str:
        """The condition that the collection is not deleted."""
        return f"(select name is not null from {self.catalogue.name} where number = {self.number})"

    @property
    def living(self) -> str:
        return f"{self.name} where {self.is_living}"

    def counting(self, where: str) -> str:
        """How many points there are."""
        return f"select count(*) from {self.living} and {where}"

    @property
    def distance(self) -> str:
        """From the query vector, which is the first parameter."""
        operator = f"operator({self.vectors}.{_OPERATORS[self.settings.metric]})"
        return f"vec {operator} $1::{self.vectors}.vector"

    def selection(self, where: str, projection: Projection) -> str:
        """The points of a condition."""
        return f"select {shown(projection)}{self._slot(projection)} from {self.living} and {where}"

    def _slot(self, projection: Projection) -> str:
        """The points' own sparse vectors; or whether there is a table for them by now, and the answer to be doubted."""
        if not projection.vectors:
            return ""
        if not self.has_slots:
            return f", null::bytea as sparse, (select to_regclass('{self.slots.name}') is not null) as is_outdated"
        of_point = f"where {self.slots.engine_name}.id = {self.engine_name}.id"
        return f", (select sparse from {self.slots.name} {of_point}) as sparse"

    # --- writing: writers of the same points lock them by ids, so that one waits for the other, and never both ---

    @property
    def existence(self) -> str:
        """Whether there is any of these points; the parameter is a list of codes of ids."""
        return f"select exists (select from {self.name} where id = any($1::text[])) as found"

    @property
    def locking(self) -> str:
        """Lock these points; the parameter is a list of codes of ids."""
        return f"select from {self.name} where id = any($1::text[]) order by id for no key update"

    def deletion(self, where: str) -> str:
        """Delete the points of a condition."""
        return (
            f"with doomed as (select id from {self.name} where {where} order by id for update)"
            f" delete from {self.name} using doomed where {self.engine_name}.id = doomed.id"
        )

    @property
    def merge(self) -> str:
        """Insert or replace points, which come by ids; parameters are a list for each of ``COLUMNS``."""
        columns = ", ".join(COLUMNS)
        replaced = ", ".join(f"{column} = excluded.{column}" for column in COLUMNS[1:])
        return (
            f"insert into {self.name} ({columns}) select * from unnest"
            f"($1::text[], $2::{self.vectors}.vector[], $3::{self.vectors}.vector[], $4::jsonb[], $5::text[],"
            f" $6::jsonb[]) on conflict (id) do update set {replaced}"
        )

    def creation(self) -> Iterator[str]:
        """The statements that create the table and its indexes."""
        dimension, vector = self.settings.dimension, f"{self.vectors}.vector({self.settings.dimension})"
        generated = "".join(f", {column}" for column in self._generated_columns())
        # Vectors are read in full by each search: they stay in the row where a page can hold it, and a payload is
        # moved out of the row only where it is larger than a couple of kilobytes.
        in_row = 4 * dimension + 32 * len(self.declared) + 256 <= _ROW
        target = min(_ROW, 4 * dimension + 2_048)
        yield (
            f'create table {self.name} (id text collate "C" primary key, vec {vector} not null,'
            f" given {vector}, doc jsonb not null, raw text, ts jsonb{generated})"
            f" with (toast_tuple_target = {target}){self.tablespace}"
        )
        yield f"alter table {self.name} alter column vec set storage {'plain' if in_row else 'external'}"
        yield f"create index on {self.name} using gin (doc jsonb_path_ops) with (gin_pending_list_limit = {_PENDING})"
        for one in self.declared.values():
            yield f"create index on {self.name} ({one.column})"

    @property
    def tablespace(self) -> str:
        """Where the table and the index of its vectors are, as the end of the statements that create them."""
        name = self.settings.engine_options.get("tablespace")
        return "" if name is None else f' tablespace "{name.replace(chr(34), chr(34) * 2)}"'

    def _generated_columns(self) -> Iterator[str]:
        for path, one in self.declared.items():
            kind = 'text collate "C"' if one.type == "text" else one.type
            yield f"{one.column} {kind} generated always as ({column_of(path, one)}) stored"


def shown(projection: Projection) -> str:
    payload = "coalesce(raw, doc::text)" if projection.payload else "null::text"
    vector = "coalesce(given, vec)::real[]" if projection.vectors else "null::real[]"
    return f"id, {payload} as payload, {vector} as vector"


def point_of(row: Any, projection: Projection) -> VectorPoint:
    """The point of a row that ``selection`` gave."""
    sparse = decoded(row["sparse"]) if projection.vectors else None
    return VectorPoint(decode_id(row["id"], CODE), row["vector"], projection.payload_of(row["payload"]), sparse)


# --- payloads --------------------------------------------------------------------------------------------------------

_RESERVED: Final = b"\\u000"
"""JSON without these bytes holds no character of the code. This pattern and the next three may be met by chance inside
of a string: that costs time and space, never exactness."""
_EXPONENT: Final = orjson.dumps(1e16)[1:-2]
_LARGE: Final = re.compile(rb"[:\[,]-?[0-9.]+e\+?[0-9]")
_INSTANT: Final = re.compile(rb'-[0-9]{2}-[0-9]{2}["Tt]')
_Columns: TypeAlias = tuple[bytes, bytes | None, bytes | None]


def payloads_columns(payload_json: Sequence[bytes]) -> Iterable[_Columns]:
    """The columns of many payloads. Most batches hold nothing odd at all, which one look at them together tells."""
    lossy, dated = _oddities(b"".join(payload_json))
    return map(payload_columns, payload_json) if lossy or dated else ((one, None, None) for one in payload_json)


def _oddities(text: bytes) -> tuple[bool, bool]:
    """Whether jsonb may lose something of it, and whether it may hold instants: plain searches cost next to nothing."""
    lossy = _RESERVED in text or (_EXPONENT in text and _LARGE.search(text) is not None)
    return lossy, _INSTANT.search(text) is not None


def payload_columns(payload_json: bytes) -> _Columns:
    """The columns ``doc``, ``raw`` and ``ts`` of a payload."""
    lossy, dated = _oddities(payload_json)
    if not lossy and not dated:
        return payload_json, None, None
    payload = orjson.loads(payload_json)
    doc, raw = (json_text(payload).encode(), payload_json) if lossy else (payload_json, None)
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


# --- vectors ---------------------------------------------------------------------------------------------------------


def engine_vectors(vectors: FloatMatrix, metric: DistanceMetric) -> tuple[FloatMatrix, list[int]]:
    """The vectors to compute with, and the rows that are not as given: the given vector stands beside them.

    pgvector adds up squares in float32. A cosine does not depend on lengths, so extreme ones are brought near 1.
    """
    if metric is not DistanceMetric.COSINE:
        return vectors, []
    scaled, exponents = power_scaled(vectors)
    return scaled, np.flatnonzero(exponents).tolist()


def engine_query(vector: FloatMatrix, metric: DistanceMetric) -> tuple[bytes, float]:
    """The query to compute with, and what a dot product with it is to be multiplied by."""
    factor = 1.0
    if metric in (DistanceMetric.COSINE, DistanceMetric.DOT_PRODUCT):
        vector, exponent = power_scaled(vector)
        if metric is DistanceMetric.DOT_PRODUCT:
            factor = 2.0 ** int(exponent)
    return struct.pack(">HH", len(vector), 0) + vector.astype(">f4").tobytes(), factor


# --- rows ------------------------------------------------------------------------------------------------------------


def rows_to_copy(codes: Sequence[str], batch: Batch, metric: DistanceMetric) -> Iterator[bytes]:
    """A batch, and the codes of its ids, as rows of COPY, of the columns ``COLUMNS``, slice by slice."""
    for start in range(0, len(batch), SLICE):
        stop = start + SLICE
        yield _copied(codes[start:stop], batch.slice(start, stop), metric)


def _copied(codes: Sequence[str], batch: Batch, metric: DistanceMetric) -> bytes:
    vectors, scaled = engine_vectors(batch.vectors, metric)
    both = _binary(vectors, _SIZE, _NOTHING)
    for row in scaled:
        [given] = _binary(batch.vectors[row : row + 1], _SIZE)
        both[row] = both[row][: -len(NULL)] + given
    # The number of columns and the length of the id; the length of a jsonb and its version.
    start, length = struct.Struct(">hi").pack, struct.Struct(">ib").pack
    parts: list[bytes] = []
    for code, vec_and_given, (doc, raw, ts) in zip(codes, both, payloads_columns(batch.payload_json), strict=True):
        key = code.encode()
        parts += (start(len(COLUMNS), len(key)), key, vec_and_given, length(len(doc) + 1, 1), doc)
        parts += (NULL,) if raw is None else (len(raw).to_bytes(4, "big"), raw)
        parts += (NULL,) if ts is None else (length(len(ts) + 1, 1), ts)
    return b"".join(parts)


def columns_to_merge(codes: Sequence[str], batch: Batch, metric: DistanceMetric) -> list[Sequence[Any]]:
    """A batch, and the codes of its ids, as parameters of a statement, a list for each of ``COLUMNS``."""
    vectors, scaled = engine_vectors(batch.vectors, metric)
    given: list[bytes | None] = [None] * len(batch)
    for row in scaled:
        [given[row]] = _binary(batch.vectors[row : row + 1])
    payloads = zip(*payloads_columns(batch.payload_json), strict=True)
    texts = [[None if part is None else part.decode() for part in parts] for parts in payloads]
    return [codes, _binary(vectors), given, *texts]


_SIZE: Final = "size"
_NOTHING: Final = "nothing"


def _binary(vectors: FloatMatrix, *around: str) -> list[bytes]:
    """Each row as pgvector sends and receives it: dimension and two zero bytes, then big-endian floats.

    ``around`` asks for what stands around it in a row of COPY: its size before, and after it a column that is null.
    """
    count, dimension = vectors.shape
    vector = [("dimension", ">u2"), ("unused", ">u2"), ("elements", ">f4", (dimension,))]
    before, after = [(_SIZE, ">i4")] * (_SIZE in around), [(_NOTHING, ">i4")] * (_NOTHING in around)
    packed = np.zeros(count, dtype=[*before, *vector, *after])
    packed["dimension"] = dimension
    packed["elements"] = vectors
    if before:
        packed[_SIZE] = 4 + 4 * dimension
    if after:
        packed[_NOTHING] = -1
    data, stride = packed.tobytes(), packed.itemsize
    return [data[at : at + stride] for at in range(0, len(data), stride)]
