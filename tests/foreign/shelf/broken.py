"""The same shelf with one rule broken in each: none of these keeps its certificate."""

from dataclasses import replace
from typing import Any

import numpy as np
from codeweaver.cw_types import BaseComponentInfo, CollectionNotFoundError, DistanceMetric, SearchResult, VectorPoint

from .backend import ShelfBackend
from .plugin import ShelfPlugin


class Broken(ShelfPlugin):
    """A plug-in of a broken shelf."""

    backend: type[ShelfBackend]

    @classmethod
    def get_plugin_name(cls) -> str:
        return f"shelf-{cls.__name__.lower()}"

    @classmethod
    def get_component_info(cls) -> BaseComponentInfo:
        return BaseComponentInfo(name=cls.get_plugin_name())

    @classmethod
    def get_backend_class(cls) -> type:
        return cls.backend


class Folding(Broken):
    """Ids are stored in lower case."""

    class backend(ShelfBackend):  # noqa: N801
        async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
            def folded(one: Any) -> Any:
                text = isinstance(one, VectorPoint) and isinstance(one.id, str)
                return replace(one, id=one.id.lower()) if text else one

            folding = isinstance(vectors, list)
            await super().upsert_vectors(collection_name, [folded(one) for one in vectors] if folding else vectors)


class Squaring(Broken):
    """The euclidean distance is squared."""

    class backend(ShelfBackend):  # noqa: N801
        def scores(self, metric: DistanceMetric, query: np.ndarray, matrix: np.ndarray) -> np.ndarray:
            scores = super().scores(metric, query, matrix)
            return 1 / (1 + (1 / scores - 1) ** 2) if metric is DistanceMetric.EUCLIDEAN else scores


class Forgiving(Broken):
    """Searching a collection that does not exist finds nothing."""

    class backend(ShelfBackend):  # noqa: N801
        async def search_vectors(self, *args: Any, **kwargs: Any) -> list[SearchResult]:
            try:
                return await super().search_vectors(*args, **kwargs)
            except CollectionNotFoundError:
                return []


class Unfiltered(Broken):
    """A filter is taken and not applied."""

    class backend(ShelfBackend):  # noqa: N801
        async def search_vectors(self, *args: Any, search_filter: Any = None, **kwargs: Any) -> list[SearchResult]:
            return await super().search_vectors(*args, **kwargs)
