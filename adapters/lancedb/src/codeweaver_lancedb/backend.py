"""The protocol on LanceDB's asynchronous client."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar, TypeVar

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import BackendError
from codeweaver_backends.sdk.calls import in_thread, off_loop
from codeweaver_backends.sdk.cursors import cursor_after, position_of
from codeweaver_backends.sdk.filters.tree import Node
from codeweaver_backends.sdk.hybrid.fusion import Leg
from codeweaver_backends.sdk.hybrid.vectors import SparseRows
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, Page, Projection, Query, Slot, SparseQuery
from codeweaver_backends.sdk.template import BackendTemplate
from codeweaver_backends.types import PointId, ScrollPage, SearchResult, VectorPoint
from codeweaver_lancedb.client import Collection, Database
from codeweaver_lancedb.config import LanceDBConfig
from codeweaver_lancedb.errors import is_missing, translate
from codeweaver_lancedb.plugin import CAPABILITIES
from codeweaver_lancedb.schema import points_of, results_of

__all__ = ["LanceDBBackend"]

T = TypeVar("T")


class LanceDBBackend(BackendTemplate[Collection]):
    """Small tables are scanned; beyond, an index is read, wholly or in the parts nearest to the query."""

    name: ClassVar[str] = "lancedb"
    # A part is a commit, and a fragment of the table.
    part_points: ClassVar[int] = 50_000
    part_bytes: ClassVar[int] = 64 << 20
    json_weight: ClassVar[float] = 1.0

    def __init__(self, config: LanceDBConfig) -> None:
        super().__init__(config)
        self._folder = config.folder
        self._place = config.path
        self._claims = CAPABILITIES.with_exact_size(config.index_from)
        self._options = {name: secret.get_secret_value() for name, secret in config.storage_options.items()}
        self._database: Database

    @property
    def capabilities(self) -> BackendCapabilities:
        return self._claims

    # --- lifetime ---

    async def _load(self) -> None:
        await in_thread(importlib.import_module, "lancedb")  # it takes seconds, of which the loop must not be robbed

    async def _connect(self) -> None:
        self._database = await Database.open(self._place, self._folder, self._options, self._claims.limits.exact_size)

    async def _disconnect(self) -> None:
        await self._database.turns.finish(self.config.timeout)
        self._abandon()

    def _abandon(self) -> None:
        for collection in self._handles.values():
            collection.table.close()  # type: ignore[no-untyped-call]
        self._handles.clear()
        self._database.close()

    async def _ping(self) -> None:
        await self._database.ping()

    def _translate_error(self, error: Exception) -> BackendError | None:
        return translate(error, self._place)

    def _is_stale(self, error: Exception) -> bool:
        return is_missing(error, self._place)

    # --- collections ---

    async def _create(self, settings: CollectionSettings) -> Collection:
        return await self._database.create(settings)

    async def _names(self) -> list[str]:
        return await self._database.names()

    async def _drop(self, name: str) -> None:
        await self._database.drop(name)

    async def _describe(self, name: str) -> Collection:
        return await self._database.describe(name)

    async def _indexed(self, collection: Collection, size: int) -> int:
        return min(size, await collection.cut.rows())

    async def _optimize(self, collection: Collection) -> None:
        await self._database.turns.take(collection.settings.name, lambda: collection.tend(now=True))

    async def _confirm(self, collection: Collection) -> None:
        await collection.table.version()

    # --- writing ---

    async def _upsert_part(self, collection: Collection, part: Batch) -> None:
        await self._in_turn(collection, lambda: collection.upsert(part, retries=self.config.retries))

    async def _write_slot(self, collection: Collection, slot: Slot, ids: Sequence[PointId], rows: SparseRows) -> None:
        await self._in_turn(collection, lambda: collection.update(slot, ids, rows, retries=self.config.retries))

    async def _read_definition(self, collection: Collection) -> bytes | None:
        return await collection.definition()

    async def _write_definition(self, collection: Collection, definition: bytes) -> None:
        await self._in_turn(collection, lambda: collection.define(definition))

    async def _delete_part(self, collection: Collection, ids: list[PointId]) -> None:
        await self._in_turn(collection, lambda: collection.delete_ids(ids))

    async def _delete_matching(self, collection: Collection, node: Node) -> int:
        async with self._bounded():
            return await self._in_turn(collection, lambda: collection.delete_matching(node))

    async def _in_turn(self, collection: Collection, work: Callable[[], Awaitable[T]]) -> T:
        """Write in turn. Upkeep, when it is due, takes a turn of its own, for which nobody waits."""
        name = collection.settings.name
        answer = await self._database.turns.take(name, work)
        if collection.is_due:
            collection.upkeep = self._database.turns.begin(name, collection.tend)
        return answer

    # --- reading ---

    async def _search(self, collection: Collection, query: Query) -> list[SearchResult]:
        found = await collection.nearest(query)
        return await off_loop(found.num_rows, results_of, found, collection.settings.metric, query)

    async def _search_sparse(self, collection: Collection, query: SparseQuery) -> Leg:
        return await collection.sharing(query)

    async def _get(self, collection: Collection, ids: list[PointId], projection: Projection) -> list[VectorPoint]:
        points: list[VectorPoint] = []
        for start in range(0, len(ids), self.ids_at_once):
            found = await collection.rows(ids[start : start + self.ids_at_once], projection)
            points += await off_loop(found.num_rows, points_of, found, projection)
        return points

    async def _scroll(self, collection: Collection, page: Page) -> ScrollPage:
        found = await collection.page(page, position_of(page.cursor))
        points = await off_loop(found.num_rows, points_of, found.slice(0, page.limit), page.projection)
        return ScrollPage(points, cursor_after(points[-1].id) if found.num_rows > page.limit else None)

    async def _count(self, collection: Collection, node: Node) -> int:
        return await collection.count(node)
