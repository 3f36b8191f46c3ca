"""What the memory backend keeps, and how a transaction keeps its own version of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self

from codeweaver_backends.errors import ConflictError
from codeweaver_backends.sdk.filters.evaluate import predicate
from codeweaver_backends.sdk.filters.tree import Node
from codeweaver_backends.sdk.hybrid.vectors import EMPTY_ROW, SparseRow
from codeweaver_backends.sdk.requests import CollectionSettings, Slot
from codeweaver_backends.types import FloatMatrix, Payload, PointId

__all__ = ["Collection", "MemoryStore", "Point", "Snapshot"]


@dataclass(slots=True, eq=False)
class Point:
    """A point as stored. A write puts another in its place, so that which object is there tells who wrote last."""

    id: PointId
    vector: FloatMatrix
    payload_json: bytes
    payload: Payload
    """A private copy, for filters only."""
    serial: int
    """Grows with every new id; the order of a scroll."""
    sparse: SparseRow = EMPTY_ROW
    text: SparseRow = EMPTY_ROW

    def slot(self, slot: Slot) -> SparseRow:
        """One of its two sparse vectors."""
        return self.sparse if slot is Slot.SPARSE else self.text


@dataclass(slots=True, eq=False)
class Collection:
    """Points by id."""

    settings: CollectionSettings
    points: dict[PointId, Point] = field(default_factory=dict)
    serial: int = 0
    definition: bytes | None = None
    """Of the sparse index."""

    @property
    def incarnation(self) -> str:
        """This very object: a collection that is created again is another."""
        return str(id(self))

    def matching(self, node: Node) -> list[Point]:
        """The points that match."""
        is_match = predicate(node)
        return [point for point in self.points.values() if is_match(point.payload)]

    def copy(self) -> Self:
        """Another collection of the same points."""
        return replace(self, points=dict(self.points))


class MemoryStore:
    """Collections by name. Backends that are given the same store see the same points."""

    def __init__(self) -> None:
        self.collections: dict[str, Collection] = {}


class Snapshot:
    """The store as a transaction sees it: as it was at its beginning, with the transaction's own writes.

    Nobody is made to wait: the commit looks whether someone else has written the same points meanwhile. Beginning one
    costs a copy of the ids, not of the points.
    """

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._origin = dict(store.collections)
        self._before = {name: dict(one.points) for name, one in self._origin.items()}
        self._definitions = {name: one.definition for name, one in self._origin.items()}
        self._copies = {name: one.copy() for name, one in self._origin.items()}
        self.collections = dict(self._copies)
        """What the transaction's calls read and change."""

    def commit(self) -> None:
        """Write to the store what was changed, unless that would undo what others have changed since."""
        names = self._origin.keys() | self.collections.keys()
        replaced = {name for name in names if self._is_replaced(name)}
        changed = {name: self._changed(name) for name in names - replaced}
        if not all(map(self._is_untouched, replaced)) or not all(map(self._are_untouched, changed, changed.values())):
            raise ConflictError("someone else has changed the same points since the transaction began")
        for name in replaced:
            self._replace(name)
        for name, ids in changed.items():
            if ids:
                self._merge(name, ids)

    def _is_replaced(self, name: str) -> bool:
        """Whether the transaction has dropped, created or otherwise indexed the collection: its points all change."""
        own, origin = self.collections.get(name), self._origin.get(name)
        if own is None or origin is None or own is not self._copies.get(name):
            return True
        return own.definition != self._definitions[name]

    def _changed(self, name: str) -> list[PointId]:
        """The ids that the transaction has written or deleted, new ones in the order of their writing."""
        before, now = self._before[name], self.collections[name].points
        return [one for one in {**before, **now} if now.get(one) is not before.get(one)]

    def _is_untouched(self, name: str) -> bool:
        live = self._store.collections.get(name)
        if live is None or live is not self._origin.get(name):
            return live is self._origin.get(name)
        return live.points == self._before[name] and live.definition == self._definitions[name]

    def _are_untouched(self, name: str, ids: list[PointId]) -> bool:
        live, before = self._store.collections.get(name), self._before[name]
        if live is None or live is not self._origin[name]:
            return not ids
        if ids and live.definition != self._definitions[name]:  # the texts of these points are of another index
            return False
        return all(live.points.get(one) is before.get(one) for one in ids)

    def _replace(self, name: str) -> None:
        self._store.collections.pop(name, None)
        if name in self.collections:
            self._store.collections[name] = self.collections[name]

    def _merge(self, name: str, ids: list[PointId]) -> None:
        live, own = self._store.collections[name], self.collections[name]
        for point_id in ids:
            known, point = live.points.get(point_id), own.points.get(point_id)
            if point is None:
                del live.points[point_id]
                continue
            if known is None or known.serial != point.serial:  # others may have been given the same one
                live.serial += 1
                point.serial = live.serial
            live.points[point_id] = point
