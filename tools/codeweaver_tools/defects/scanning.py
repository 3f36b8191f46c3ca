"""The correct backend of the reference server, with the calls of the scan and columnar profiles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.sdk.cursors import cursor_after, position_of
from codeweaver_backends.sdk.filters.tree import ALWAYS, Node
from codeweaver_backends.sdk.requests import Page, Projection
from codeweaver_backends.types import PointId, ScrollPage, VectorPoint
from codeweaver_tools.defects.network import CAPABILITIES, NetworkBackend, Remote
from codeweaver_tools.defects.registry import plugin_for
from codeweaver_tools.defects.server import write_node

__all__ = ["ScanningBackend", "ScanningPlugin"]


class ScanningBackend(NetworkBackend):
    """Every point is fetched and looked at here: slow, and simple."""

    claims: ClassVar[BackendCapabilities] = CAPABILITIES.model_copy(
        update={"supports_scan": True, "supports_columnar": True}
    )

    @property
    def capabilities(self) -> BackendCapabilities:
        return self.claims

    async def _selected(self, collection: Remote, node: Node) -> list[VectorPoint]:
        """The points that match, in the order of their ids."""
        anywhere = [1.0] * collection.settings.dimension
        hits = await self.ask("search", collection.settings.name, anywhere, 1_000_000, write_node(node), None)
        points = [VectorPoint(point_id, vector, payload) for point_id, _, payload, vector in hits]
        return sorted(points, key=lambda point: _place(point.id))

    async def _get(self, collection: Remote, ids: list[PointId], projection: Projection) -> Iterable[VectorPoint]:
        wanted = set(ids)
        return [_shown(one, projection) for one in await self._selected(collection, ALWAYS) if one.id in wanted]

    async def _scroll(self, collection: Remote, page: Page) -> ScrollPage:
        after = position_of(page.cursor)
        left = await self._selected(collection, page.filter)
        if after is not None:
            left = [one for one in left if _place(one.id) > _place(after)]
        shown = [_shown(one, page.projection) for one in left[: page.limit]]
        return ScrollPage(shown, cursor_after(shown[-1].id) if len(left) > page.limit else None)

    async def _count(self, collection: Remote, node: Node) -> int:
        return len(await self._selected(collection, node))

    async def _delete_matching(self, collection: Remote, node: Node) -> int:
        doomed = [one.id for one in await self._selected(collection, node)]
        await self._delete(collection, doomed)
        return len(doomed)


def _place(point_id: PointId) -> tuple[bool, PointId]:
    return isinstance(point_id, str), point_id


def _shown(point: VectorPoint, projection: Projection) -> VectorPoint:
    payload = point.payload or {}
    if projection.payload is False:
        kept = None
    elif projection.payload is True:
        kept = payload
    else:
        kept = {key: payload[key] for key in projection.payload if key in payload}
    return VectorPoint(point.id, point.vector if projection.vectors else None, kept)


ScanningPlugin = plugin_for(ScanningBackend, "network-scanning")
