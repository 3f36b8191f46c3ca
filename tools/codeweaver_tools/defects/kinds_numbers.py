"""Numbers on their way: one call passes them through a double, a float32 or a text, and the others do not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from codeweaver_backends.sdk.filters.tree import AnyOf, InstantRange, Node, NumberRange
from codeweaver_backends.sdk.requests import Batch, Page
from codeweaver_backends.types import (
    DistanceMetric,
    FilterLike,
    FloatMatrix,
    Payload,
    PointId,
    ScrollPage,
    SearchFilter,
    VectorPoint,
)
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Collection, Rig, rewritten


def doubled(value: Any) -> Any:
    """Integers as a double knows them."""
    if isinstance(value, Mapping):
        return {key: doubled(one) for key, one in value.items()}
    if isinstance(value, list):
        return [doubled(one) for one in value]
    return min(int(float(value)), 2**63 - 1) if type(value) is int else value


def floats(value: Any, change: Any, *, top: bool = True) -> Any:
    """Floats, changed; those of the top level too, or those inside lists only."""
    if isinstance(value, Mapping):
        return {key: floats(one, change, top=top) for key, one in value.items()}
    if isinstance(value, list):
        return [floats(one, change) for one in value]
    return change(value) if top and type(value) is float else value


def single(value: float) -> float:
    """A float as single precision knows it."""
    with np.errstate(over="ignore"):
        kept = float(np.float32(value))
    return kept if abs(kept) < 1e38 else value


def short(value: float) -> float:
    """A float as fifteen digits spell it."""
    return float(f"{value:.15g}") if abs(value) < 1e300 else value


# --- ids ---


@plant("num-get-id-double", "get_vectors asks for ids as doubles: those beyond 2^53 are not found.")
class _GetId(Rig):
    async def _get(self, collection: Collection, ids: list[PointId], *how: Any) -> Iterable[VectorPoint]:
        return await super()._get(collection, [doubled(one) for one in ids], *how)


@plant("num-delete-id-double", "delete_vectors sends ids as doubles: beyond 2^53 it deletes a neighbour.")
class _DeleteId(Rig):
    async def _delete(self, collection: Collection, ids: list[PointId]) -> None:
        await super()._delete(collection, [doubled(one) for one in ids])


@plant("num-scroll-id-double", "Ids beyond 2^53 come back from a scroll as doubles know them.")
class _ScrollId(Rig):
    async def _scroll(self, collection: Collection, page: Page) -> ScrollPage:
        shown = await super()._scroll(collection, page)
        return ScrollPage([dataclasses.replace(one, id=doubled(one.id)) for one in shown.points], shown.cursor)


@plant("num-columns-id-double", "upsert_batch passes ids through an array, which makes doubles of them.")
class _ColumnsId(Rig):
    async def upsert_batch(self, name: str, ids: Any, *columns: Any) -> None:
        if isinstance(ids, list) and ids and all(type(one) is int for one in ids):
            ids = doubled(ids)
        await super().upsert_batch(name, ids, *columns)


# --- payloads ---


@plant("num-get-payload-double", "Integers beyond 2^53 come back from get_vectors as doubles know them.")
class _GetPayload(Rig):
    async def get_vectors(self, *arguments: Any, **options: Any) -> list[VectorPoint]:
        points = await super().get_vectors(*arguments, **options)
        return [dataclasses.replace(one, payload=doubled(one.payload)) for one in points]


@plant("num-scroll-payload-single", "Floats come back from a scroll in single precision.")
class _ScrollPayload(Rig):
    async def _scroll(self, collection: Collection, page: Page) -> ScrollPage:
        shown = await super()._scroll(collection, page)
        points = [dataclasses.replace(one, payload=floats(one.payload, single)) for one in shown.points]
        return ScrollPage(points, shown.cursor)


@plant("num-columns-payload-digits", "upsert_batch writes floats with fifteen digits.")
class _ColumnsPayload(Rig):
    async def upsert_batch(self, name: str, ids: Any, vectors: Any, payloads: Any = None) -> None:
        known = isinstance(payloads, list) and all(one is None or isinstance(one, dict) for one in payloads)
        await super().upsert_batch(name, ids, vectors, [floats(one, short) for one in payloads] if known else payloads)


@plant("num-list-digits", "Floats inside lists are kept with fifteen digits.")
class _ListDigits(Rig):
    def stored(self, payload: Payload) -> Payload:
        changed: Payload = floats(payload, short, top=False)
        return changed


@plant("num-transaction-payload", "Integers written in a transaction pass through a double.")
class _TransactionPayload(Rig):
    def _write_all(self, collection: Collection, batch: Batch) -> None:
        super()._write_all(collection, rewritten(batch, doubled) if self._joined() else batch)


@plant("num-scroll-payload-whole", "Integral floats come back from a scroll as integers.")
class _ScrollWhole(Rig):
    async def _scroll(self, collection: Collection, page: Page) -> ScrollPage:
        shown = await super()._scroll(collection, page)
        points = [dataclasses.replace(one, payload=floats(one.payload, _whole)) for one in shown.points]
        return ScrollPage(points, shown.cursor)


def _whole(value: float) -> float:
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


# --- operands ---


def _rounded(node: Node) -> Node:
    """A leaf with operands as a double knows them."""
    if isinstance(node, NumberRange):
        return dataclasses.replace(node, bound=float(node.bound))
    if isinstance(node, AnyOf):
        return dataclasses.replace(node, values=tuple(doubled(one) for one in node.values))
    return node


class _Operands(Rig):
    """Changes the operands of one call."""

    changing = False

    def changed(self, node: Node) -> Node:
        return _rounded(node)

    def leaf(self, node: Node, payload: Payload) -> bool:
        return super().leaf(self.changed(node) if self.changing else node, payload)


@plant("num-count-operand", "The operands of a count pass through a double.")
class _CountOperand(_Operands):
    async def _count(self, collection: Collection, node: Node) -> int:
        self.changing = True
        try:
            return await super()._count(collection, node)
        finally:
            self.changing = False


@plant("num-delete-operand", "The operands of delete_by_filter pass through a double.")
class _DeleteOperand(_Operands):
    async def _delete_matching(self, collection: Collection, node: Node) -> int:
        self.changing = True
        try:
            return await super()._delete_matching(collection, node)
        finally:
            self.changing = False


@plant("num-scroll-operand", "The operands of a scroll pass through a double.")
class _ScrollOperand(_Operands):
    async def _scroll(self, collection: Collection, page: Page) -> ScrollPage:
        self.changing = True
        try:
            return await super()._scroll(collection, page)
        finally:
            self.changing = False


@plant("num-delete-instant", "delete_by_filter compares instants to the millisecond.")
class _DeleteInstant(_DeleteOperand):
    def changed(self, node: Node) -> Node:
        return dataclasses.replace(node, bound=node.bound // 1_000 * 1_000) if isinstance(node, InstantRange) else node


@plant("num-offset-minutes", "The minutes of an operand's offset are not read.", side="above")
class _Offset(Rig):
    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        if not isinstance(search_filter, SearchFilter) or not search_filter.must:
            return search_filter
        return dataclasses.replace(search_filter, must=[_without_minutes(one) for one in search_filter.must])


def _without_minutes(part: Any) -> Any:
    value = getattr(part, "value", None)
    if isinstance(value, str) and len(value) > 20 and value[-6] in "+-" and value[-3] == ":":
        return dataclasses.replace(part, value=value[:-2] + "00")
    return part


# --- scores ---


@plant("num-scores-far", "Euclidean distances come of the lengths and the product, in single precision.")
class _Far(Rig):
    def score(self, metric: DistanceMetric, query: FloatMatrix, matrix: FloatMatrix) -> npt.NDArray[np.float64]:
        if metric is not DistanceMetric.EUCLIDEAN:
            return super().score(metric, query, matrix)
        square = (matrix * matrix).sum(axis=1) + query @ query - 2 * (matrix @ query)
        return np.asarray(1 / (1 + np.sqrt(np.maximum(square.astype(np.float64), 0))))


@plant("num-scores-short", "The cosine of vectors shorter than 1e-19 is 0: their squares vanish in single precision.")
class _Short(Rig):
    def score(self, metric: DistanceMetric, query: FloatMatrix, matrix: FloatMatrix) -> npt.NDArray[np.float64]:
        found = super().score(metric, query, matrix)
        if metric is DistanceMetric.COSINE:
            found[(matrix * matrix).sum(axis=1) < 1e-38] = 0.0
        return found
