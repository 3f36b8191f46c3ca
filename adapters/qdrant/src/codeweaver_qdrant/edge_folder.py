"""Folders of Qdrant Edge: one per collection, below one that a single process at a time may have open.

Within the process all backends share what is open, so nothing remembered can be out of date.
"""

from __future__ import annotations

import shutil
import threading
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import qdrant_edge as edge

from codeweaver_backends.errors import (
    BackendClosedError,
    BackendConnectionError,
    CollectionExistsError,
    CollectionNotFoundError,
)
from codeweaver_backends.sdk import CollectionSettings, RecreatedError, SharedFolders, decode_name, encode_name
from codeweaver_backends.types import DistanceMetric
from codeweaver_qdrant.schema import LAYOUT, TERMS, Collection, indexed_fields

__all__ = ["FOLDERS", "INDEXES", "EdgeCollection", "Folder"]

_SETTINGS: Final = "codeweaver.json"
"""Written last and removed first: a folder without it is no collection."""
_RESERVE: Final = 64 << 20
"""Bytes that must be free on the disk for a write. The engine writes by memory maps of sparse files: where the disk has
no block left for a page of theirs, the operating system ends the process."""
_DISTANCES: Final = {
    DistanceMetric.COSINE: edge.Distance.Dot,
    DistanceMetric.DOT_PRODUCT: edge.Distance.Dot,
    DistanceMetric.EUCLIDEAN: edge.Distance.Euclid,
    DistanceMetric.MANHATTAN: edge.Distance.Manhattan,
}
INDEXES: Final = {"text": edge.PayloadSchemaType.Keyword, "order": edge.PayloadSchemaType.Float}
"""Of fields whose values are compared."""


@dataclass(slots=True, eq=False)
class EdgeCollection(Collection):
    """A collection of the folder, whose shard is loaded when it is first asked for."""

    path: Path
    shard: edge.EdgeShard | None = None
    definition: str | None = None
    """Of the sparse index."""
    unflushed: int = 0

    def save(self) -> None:
        """Write down what makes the folder a collection."""
        own = {"incarnation": self.incarnation, "slots": self.has_slots, "definition": self.definition}
        draft = self.path / f"{_SETTINGS}.new"
        draft.write_text(self.settings.to_json(LAYOUT, **own), encoding="utf-8")
        draft.replace(self.path / _SETTINGS)

    def close(self) -> None:
        """Write what is left to be written, and give the shard back."""
        if self.shard is not None:
            self.shard.flush()
            self.shard.close()
            self.shard = None


@dataclass(slots=True, eq=False)
class Folder:
    """What this process has open below one path, for all of its backends and threads."""

    path: Path
    lock: threading.RLock = field(default_factory=threading.RLock)
    collections: dict[str, EdgeCollection | None] = field(default_factory=dict)
    """By name; ``None`` where nobody has asked for it yet."""
    is_closed: bool = False

    @classmethod
    def open(cls, path: Path) -> Folder:
        """Find the collections of a folder."""
        found = ((decode_name(child.name), child) for child in path.iterdir())
        return cls(path, collections={name: None for name, child in found if name and (child / _SETTINGS).is_file()})

    def close(self) -> None:
        """Close every collection."""
        with self.lock:
            self.is_closed = True
            for collection in self.collections.values():
                if collection is not None:
                    collection.close()

    def create(self, settings: CollectionSettings) -> EdgeCollection:
        """Create a collection."""
        self._check_open()
        if settings.name in self.collections:
            raise CollectionExistsError("the collection exists already")
        self.check_room()
        engine_name = encode_name(settings.name)
        home = self.path / engine_name
        shutil.rmtree(home, ignore_errors=True)  # what a process left behind that died while creating or deleting
        (home / "shard").mkdir(parents=True)
        shard = create_shard(home / "shard", settings)
        collection = EdgeCollection(settings, uuid.uuid4().hex, engine_name, False, home, shard)
        collection.save()
        self.collections[settings.name] = collection
        return collection

    def drop(self, name: str) -> None:
        """Delete a collection."""
        collection = self.find(name)
        del self.collections[name]
        (collection.path / _SETTINGS).unlink()
        collection.close()
        shutil.rmtree(collection.path)

    def find(self, name: str) -> EdgeCollection:
        """Look a collection up."""
        self._check_open()
        if name not in self.collections:
            raise CollectionNotFoundError("the collection does not exist")
        collection = self.collections[name]
        if collection is None:
            home = self.path / encode_name(name)
            found = CollectionSettings.from_json(name, (home / _SETTINGS).read_bytes(), LAYOUT)
            if found is None:
                raise CollectionNotFoundError("the collection was not created by this backend")
            settings, own = found
            incarnation, has_slots, definition = own["incarnation"], own.get("slots", False), own.get("definition")
            collection = EdgeCollection(settings, incarnation, home.name, has_slots, home, definition=definition)
            self.collections[name] = collection
        return collection

    def shard_of(self, collection: EdgeCollection) -> edge.EdgeShard:
        """The shard of a collection, if it is still the one of its name."""
        if self.find(collection.settings.name) is not collection:
            raise RecreatedError("the collection was created again; try again")
        if collection.shard is None:
            collection.shard = edge.EdgeShard.load(str(collection.path / "shard"))
        return collection.shard

    def check_room(self) -> None:
        """Refuse a write where the disk has too little room for it, or the folder is gone."""
        if not self.has_room():
            raise BackendConnectionError(f"less than {_RESERVE >> 20} MB are free on the disk: nothing more is written")

    def has_room(self) -> bool:
        """Whether the disk has room for a write."""
        return shutil.disk_usage(self.path).free >= _RESERVE

    def _check_open(self) -> None:
        """A call that was under way when the folder was closed must not open a shard of it again."""
        if self.is_closed:
            raise BackendClosedError("the backend was closed")


FOLDERS: Final = SharedFolders[Folder](Folder.open, Folder.close)


def create_shard(path: Path, settings: CollectionSettings) -> edge.EdgeShard:
    """An empty shard, with the indexes of a new collection."""
    vector = edge.EdgeVectorParams(size=settings.dimension, distance=_DISTANCES[settings.metric])
    # One segment, which is searched by one thread: more would only wait for each other.
    config = edge.EdgeConfig(vectors={settings.metric.value: vector}, max_search_threads=1)
    shard = edge.EdgeShard.create(str(path), config)
    terms = edge.TextIndexParams(tokenizer=edge.TokenizerType.Whitespace, lowercase=False)
    shard.update(edge.UpdateOperation.create_field_index(TERMS, terms))
    for key, kind in indexed_fields(settings):
        shard.update(edge.UpdateOperation.create_field_index(key, INDEXES[kind]))
    return shard
