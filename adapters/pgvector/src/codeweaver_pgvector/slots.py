"""Where sparse vectors are: in a table of its own beside the points, made when a collection gets the first of them.

So a collection without them has nothing of it, and a dense search reads no wider rows where there are some, nor a
sparse search the points. A row is of a point that exists (a foreign key), and has both slots; null is none.
"""

# ruff: noqa: S608 - what is put into statements here are our own names; every value is a parameter

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from codeweaver_backends.errors import InvalidVectorError
from codeweaver_backends.sdk.hybrid.terms import INDEX_LIMIT
from codeweaver_backends.sdk.hybrid.vectors import SparseRows
from codeweaver_backends.sdk.requests import Batch, Slot

if TYPE_CHECKING:
    from codeweaver_pgvector.schema import Table

__all__ = ["MOST_TERMS", "NULL", "SLICE", "SLOT_COLUMNS", "Slots", "decoded", "encoded", "slots_to_copy"]

MOST_TERMS: Final = 16_000
"""Entries of a ``sparsevec``, at most."""
SLOT_COLUMNS: Final = ("id", "sparse", "text")
"""What is written, in the order of ``slots_to_copy``; a slot's column is named after it."""
_TARGET: Final = 8_000
"""Bytes up to which a row stays in its page: searches read them all."""
_HEAD: Final = struct.Struct(">iii")
_COUNT: Final = len(SLOT_COLUMNS).to_bytes(2, "big")
NULL: Final = b"\xff\xff\xff\xff"
"""A column that is null, in the binary format of COPY."""
SLICE: Final = 256
"""Points that are made ready at once, while the server takes in those before."""


class Slots:
    """The table of a collection's sparse vectors, and the statements on it."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.engine_name = f"codeweaver_slots_{table.number}"
        self.name = f'"{table.schema}".{self.engine_name}'
        self._type = f"{table.vectors}.sparsevec"

    @property
    def creation(self) -> str:
        """The statement that creates the table. It may be there: another connection was first."""
        kind = f"{self._type}({INDEX_LIMIT})"
        return (
            f'create table if not exists {self.name} (id text collate "C" primary key references {self._table.name}'
            f" on delete cascade, sparse {kind}, text {kind}) with (toast_tuple_target = {_TARGET})"
        )

    @property
    def merge(self) -> str:
        """Insert or replace both slots of points; parameters are a list for each of ``SLOT_COLUMNS``."""
        # Null is written, not deleted: in a transaction a row that it cannot see must be a conflict.
        return (
            f"insert into {self.name} ({', '.join(SLOT_COLUMNS)}) select * from unnest"
            f"($1::text[], $2::{self._type}[], $3::{self._type}[])"
            " on conflict (id) do update set sparse = excluded.sparse, text = excluded.text"
        )

    def update(self, slot: Slot) -> str:
        """Replace one slot of the points that exist; parameters are lists of codes of ids, ascending, and of rows."""
        column = slot.value
        return (
            f"insert into {self.name} (id, {column}) select point.id, given.{column}"
            f" from unnest($1::text[], $2::{self._type}[]) as given (id, {column})"
            f" join {self._table.name} as point on point.id = given.id order by point.id for no key update of point"
            f" on conflict (id) do update set {column} = excluded.{column}"
        )

    def search(self, slot: Slot, where: str) -> str:
        """The best points of a slot with their scores; the first parameters are query and limit."""
        source = self.name if where == "true" else f"{self.name} join {self._table.name} using (id)"
        product = f"{slot.value} operator({self._table.vectors}.<#>) $1::{self._type}"
        # The offset keeps the product from being computed once to look at it and once to sort by it.
        return (
            f"select id, -product as score from (select id, {product} as product from {source}"
            f" where {self._table.is_living} and {where} offset 0) as scored"
            " where product < 0 order by product limit $2::bigint"
        )


def encoded(rows: SparseRows | None, ids: Sequence[Any]) -> list[bytes | None]:
    """Each row as pgvector sends and receives it, ``None`` for an empty one; ``ids`` are whose they are.

    That is: dimension, number of entries, zero; the indices; the weights; each of four bytes, big-endian.
    """
    if rows is None:
        return [None] * len(ids)
    lengths = np.diff(rows.offsets)
    if len(lengths) and lengths.max() > MOST_TERMS:
        longest = int(lengths.argmax())
        raise InvalidVectorError(
            f"{ids[longest]!r} has {lengths[longest]} terms; a sparse vector of pgvector has {MOST_TERMS} at most"
        )
    indices, weights = rows.indices.astype(">i4").tobytes(), rows.weights.astype(">f4").tobytes()
    bounds = pairwise((4 * rows.offsets).tolist())
    return [
        _HEAD.pack(INDEX_LIMIT, (end - at) // 4, 0) + indices[at:end] + weights[at:end] if end > at else None
        for at, end in bounds
    ]


def decoded(data: bytes | None) -> dict[int, float] | None:
    """The sparse vector of what ``encoded`` made."""
    if data is None:
        return None
    _, entries, _ = _HEAD.unpack_from(data)
    indices = np.frombuffer(data, ">i4", entries, _HEAD.size)
    weights = np.frombuffer(data, ">f4", entries, _HEAD.size + 4 * entries)
    return dict(zip(indices.tolist(), weights.tolist(), strict=True))


def slots_to_copy(codes: Sequence[str], batch: Batch) -> Iterator[bytes]:
    """The slots of a batch as rows of COPY, of the columns ``SLOT_COLUMNS``; ``codes`` are those of its ids."""
    for start in range(0, len(batch), SLICE):
        part = batch.slice(start, start + SLICE)
        parts: list[bytes] = []
        keys = (code.encode() for code in codes[start : start + SLICE])
        for key, *slots in zip(keys, encoded(part.sparse, part.ids), encoded(part.text, part.ids), strict=True):
            parts += (_COUNT, *(NULL if one is None else len(one).to_bytes(4, "big") + one for one in (key, *slots)))
        yield b"".join(parts)
