"""What a backend asks of Qdrant, whichever way it is reached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from codeweaver_backends.sdk.requests import Batch, CollectionSettings
from codeweaver_backends.types import FloatMatrix
from codeweaver_qdrant.filters import Dialect

__all__ = ["Store"]


class Store(Protocol):
    """What is asked of the engine. Collections by the contract's names; filters in the store's own dialect."""

    @property
    def dialect(self) -> Dialect:
        """Makes the conditions that this store is given."""

    batch_rows: int
    """Points of one write."""
    batch_bytes: int
    """Bytes of one write, vectors and documents together."""

    async def ping(self) -> None:
        """Fail if the engine does not answer, or does not accept us."""

    async def close(self) -> None:
        """Let go of everything."""

    async def names(self) -> list[str]:
        """The collections that are ours."""

    async def settings(self, name: str) -> CollectionSettings:
        """What is stored about a collection, read now; raises ``CollectionNotFoundError``."""

    async def create(self, settings: CollectionSettings) -> None:
        """Create a collection; raises ``CollectionExistsError``."""

    async def drop(self, name: str) -> None:
        """Delete a collection; raises ``CollectionNotFoundError``."""

    async def upsert(self, settings: CollectionSettings, batch: Batch) -> None:
        """Write one batch."""

    async def delete(self, name: str, ids: list[int | str]) -> None:
        """Delete points."""

    async def delete_matching(self, name: str, condition: Any) -> int:
        """Delete the points that match, and say how many."""

    async def count(self, name: str, condition: Any) -> int:
        """Count the points that match."""

    async def search(
        self,
        settings: CollectionSettings,
        vector: FloatMatrix,
        limit: int,
        condition: Any,
        fields: list[str],
        with_vectors: bool,
    ) -> Sequence[Any]:
        """The nearest points that match, as the client's objects."""

    async def retrieve(self, name: str, ids: list[int | str], fields: list[str], with_vectors: bool) -> Sequence[Any]:
        """The points of these ids, as the client's objects."""

    async def scroll(
        self, name: str, offset: int | str | None, limit: int, condition: Any, fields: list[str], with_vectors: bool
    ) -> tuple[Sequence[Any], Any]:
        """A page in the order of the engine's ids, and the id that the next one starts with."""
