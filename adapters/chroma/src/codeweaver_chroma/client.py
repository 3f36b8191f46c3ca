"""What the backend asks of Chroma, in this process (``codeweaver_chroma.embedded``) or by HTTP (``server``)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import CollectionExistsError, CollectionNotFoundError
from codeweaver_backends.sdk.requests import CollectionSettings
from codeweaver_backends.types import FloatMatrix
from codeweaver_chroma.dialect import Where
from codeweaver_chroma.errors import is_existing
from codeweaver_chroma.schema import Collection, Rows, creation, engine_name, listed_name

__all__ = ["ROWS_AT_ONCE", "Client"]

ROWS_AT_ONCE: Final = 1_000
"""Rows of one call: below what Chroma takes (5,461), and what SQLite can bind."""
_NAMES_PER_PAGE: Final = 500


class Client(ABC):
    """Chroma. Collections are named by Chroma's own ids, rows by their keys."""

    capabilities: BackendCapabilities
    version: str | None = None

    def abandon(self) -> None:
        """Close without an event loop, as far as that can be done."""
        return

    # --- collections ---

    async def names(self) -> list[str]:
        """The names of our collections; what others made is theirs."""
        found: set[str] = set()
        offset = 0
        while True:
            page = await self._listed(_NAMES_PER_PAGE, offset)
            found.update(name for name in map(listed_name, page) if name is not None)
            if len(page) < _NAMES_PER_PAGE:
                return list(found)
            offset += len(page)

    async def collection(self, name: str) -> Collection:
        """The collection as it is now. Raises ``CollectionNotFoundError``, also for what others made."""
        collection = Collection.read(await self._one(engine_name(name)))
        if collection is None:
            raise CollectionNotFoundError("the collection does not exist")
        return collection

    async def create(self, settings: CollectionSettings) -> Collection:
        """Create the collection; of concurrent creators one succeeds."""
        metadata, hnsw, terms_key = creation(settings)
        try:
            made = await self._create(engine_name(settings.name), metadata, hnsw)
        except Exception as error:
            if is_existing(error):
                raise CollectionExistsError("the collection exists already") from error
            raise
        return Collection(settings, str(made["id"]), terms_key)

    async def drop(self, name: str) -> None:
        """Delete the collection. Raises ``CollectionNotFoundError``, also for what others made."""
        physical = engine_name(name)
        if listed_name(await self._one(physical)) is None:
            raise CollectionNotFoundError("the collection does not exist")
        await self._drop(physical)

    @abstractmethod
    async def _listed(self, limit: int, offset: int) -> Sequence[Mapping[str, Any]]: ...

    @abstractmethod
    async def _one(self, physical: str) -> Mapping[str, Any]: ...

    @abstractmethod
    async def _create(self, physical: str, metadata: dict[str, Any], hnsw: dict[str, Any]) -> Mapping[str, Any]: ...

    @abstractmethod
    async def _drop(self, physical: str) -> None: ...

    # --- rows ---

    @abstractmethod
    async def upsert(self, collection: str, rows: Rows) -> None:
        """Write rows, or replace those of the same keys: at most ``ROWS_AT_ONCE``."""

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
