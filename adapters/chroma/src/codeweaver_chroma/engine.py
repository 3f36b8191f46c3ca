"""What the backend asks of Chroma, in this process (``codeweaver_chroma.local``) or by HTTP (``server``)."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import CollectionExistsError
from codeweaver_backends.sdk.names import decode_name, encode_name
from codeweaver_backends.sdk.requests import CollectionSettings
from codeweaver_backends.types import DistanceMetric, FloatMatrix
from codeweaver_chroma.errors import is_existing, is_missing
from codeweaver_chroma.filters import Where
from codeweaver_chroma.plugin import CAPABILITIES

__all__ = ["EXACT_SIZE", "Collection", "Engine", "Rows"]

EXACT_SIZE: Final = CAPABILITIES.limits.exact_size
ROWS_AT_ONCE: Final = 1_000
"""Rows of one call: below what Chroma takes (5,461), and what SQLite can bind."""
_SPACES: Final = {DistanceMetric.COSINE: "cosine", DistanceMetric.EUCLIDEAN: "l2", DistanceMetric.DOT_PRODUCT: "ip"}
_SUFFIX: Final = ".1"
"""Chroma's names end with a letter or a digit, and coded ones may not. It is also the version of the layout."""
_PROPERTY: Final = "codeweaver"
_NAMES_PER_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection as it was described. One that is made again under its name has another id."""

    id: str
    settings: CollectionSettings
    facts: str
    """The metadata key of its tokens, and of no other's.

    When Chroma deletes a collection it leaves lists behind, and they turn up in points that are written later, anywhere
    (its issue 7594). Under another key nobody asks for them.
    """


@dataclass(frozen=True, slots=True)
class Rows:
    """Points as Chroma takes them."""

    keys: Sequence[str]
    vectors: FloatMatrix
    metadatas: Sequence[Mapping[str, Any] | None]
    documents: Sequence[str]


class Engine(ABC):
    """Chroma. Each of its calls ends within the configured time."""

    capabilities: BackendCapabilities

    # --- collections ---

    async def names(self) -> list[str]:
        """The names of our collections; what others made is theirs."""
        found: list[str] = []
        offset = 0
        while True:
            page = await self._listed(_NAMES_PER_PAGE, offset)
            found += [one.settings.name for one in map(_described, page) if one is not None]
            if len(page) < _NAMES_PER_PAGE:
                return sorted(set(found))
            offset += len(page)

    async def collection(self, name: str) -> Collection | None:
        """The collection, or ``None`` if there is none of ours."""
        try:
            return _described(await self._one(_physical(name)))
        except Exception as error:
            if is_missing(error):
                return None
            raise

    async def create(self, settings: CollectionSettings) -> Collection:
        """Create the collection; of concurrent creators one succeeds."""
        facts = f"f{secrets.token_hex(4)}"
        known = {
            "dimension": settings.dimension,
            "metric": settings.metric.value,
            "payload_indexes": dict(settings.payload_indexes),
            "facts": facts,
        }
        # A search looks at as many candidates as an exact one has to.
        hnsw = {"space": _SPACES[settings.metric], "ef_search": EXACT_SIZE}
        try:
            made = await self._create(_physical(settings.name), {_PROPERTY: orjson.dumps(known).decode()}, hnsw)
        except Exception as error:
            if is_existing(error):
                raise CollectionExistsError("the collection exists already") from error
            raise
        return Collection(str(made["id"]), settings, facts)

    async def drop(self, name: str) -> None:
        """Delete the collection."""
        await self._drop(_physical(name))

    @abstractmethod
    async def _listed(self, limit: int, offset: int) -> Sequence[Mapping[str, Any]]: ...

    @abstractmethod
    async def _one(self, physical: str) -> Mapping[str, Any]: ...

    @abstractmethod
    async def _create(self, physical: str, metadata: dict[str, Any], hnsw: dict[str, Any]) -> Mapping[str, Any]: ...

    @abstractmethod
    async def _drop(self, physical: str) -> None: ...

    # --- points ---

    @abstractmethod
    async def replace(self, collection: str, rows: Rows) -> None:
        """Write rows in place of those of the same keys: at most ``ROWS_AT_ONCE``.

        Those are deleted first. Chroma's own upsert leaves metadata of the old point in the new one, and takes longer.
        """

    @abstractmethod
    async def delete(self, collection: str, keys: Sequence[str]) -> None:
        """Delete rows: at most ``ROWS_AT_ONCE``."""

    @abstractmethod
    async def get(
        self,
        collection: str,
        *,
        keys: Sequence[str] | None = None,
        where: Where | None = None,
        include: Sequence[str] = (),
    ) -> Mapping[str, Any]:
        """Rows by their keys, or by a condition, as parallel lists ``ids``, ``uris`` and ``embeddings``."""

    @abstractmethod
    async def query(
        self,
        collection: str,
        vector: FloatMatrix,
        limit: int,
        *,
        keys: Sequence[str] | None = None,
        where: Where | None = None,
        include: Sequence[str] = (),
    ) -> Mapping[str, Any]:
        """The nearest rows, as parallel lists: also ``distances``."""

    @abstractmethod
    async def count(self, collection: str) -> int:
        """How many rows there are."""

    @abstractmethod
    def is_grown(self, collection: str) -> bool:
        """Whether it is known, without asking, that there are more than ``EXACT_SIZE`` rows."""

    @abstractmethod
    async def is_small(self, collection: str) -> bool:
        """Whether there are no more than ``EXACT_SIZE`` rows."""

    # --- lifetime ---

    @abstractmethod
    async def ping(self) -> None:
        """Ask something cheap that needs the credentials."""

    @abstractmethod
    async def close(self) -> None:
        """Give everything back."""


def _physical(name: str) -> str:
    return encode_name(name) + _SUFFIX


def _described(found: Mapping[str, Any]) -> Collection | None:
    physical = str(found["name"])
    name = decode_name(physical.removesuffix(_SUFFIX)) if physical.endswith(_SUFFIX) else None
    try:
        known = orjson.loads((found["metadata"] or {})[_PROPERTY])
        metric = DistanceMetric(known["metric"])
        dimension, indexes, facts = int(known["dimension"]), known["payload_indexes"], str(known["facts"])
    except (KeyError, TypeError, ValueError):
        return None
    if name is None:
        return None
    return Collection(str(found["id"]), CollectionSettings(name, dimension, metric, indexes), facts)
