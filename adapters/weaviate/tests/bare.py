"""Weaviate's own client, used directly and well: what the adapter's cost is compared with."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import weaviate
from weaviate.classes.config import Configure, DataType, Property, Tokenization, VectorDistances
from weaviate.classes.data import DataObject
from weaviate.classes.init import AdditionalConfig, Auth, Timeout
from weaviate.classes.query import Filter, MetadataQuery

from codeweaver_weaviate.schema import LEAST

_NAME = "Bare"
_ROWS = 1_000
_FILTERED = ("language", "module")
"""Weaviate filters on indexed properties only, so that the field that is declared nowhere has an index here too."""


def _text(name: str) -> Property:
    return Property(
        name=name,
        data_type=DataType.TEXT,
        tokenization=Tokenization.FIELD,
        index_filterable=name in _FILTERED,
        index_searchable=False,
    )


def _other(name: str, kind: DataType) -> Property:
    return Property(
        name=name,
        data_type=kind,
        index_filterable=False,
        index_searchable=False if kind is DataType.TEXT_ARRAY else None,
    )


class Bare:
    """Typed properties, a graph that looks at as many points as the adapter's, batches of 1,000."""

    async def open(self, settings: dict[str, Any]) -> None:
        key = settings.get("api_key")
        self._client = weaviate.use_async_with_local(
            host=settings["host"],
            port=settings["port"],
            grpc_port=settings["grpc_port"],
            auth_credentials=Auth.api_key(key) if key else None,
            additional_config=AdditionalConfig(timeout=Timeout(query=60, insert=120)),
            skip_init_checks=True,
        )
        await self._client.connect()

    async def ingest(self, ids: list[str], vectors: np.ndarray, payloads: list[dict[str, Any]]) -> None:
        await self._client.collections.delete(_NAME)
        graph = Configure.VectorIndex.hnsw(distance_metric=VectorDistances.COSINE, ef=LEAST)
        collection = await self._client.collections.create(
            _NAME,
            vector_config=Configure.Vectors.self_provided(
                vector_index_config=graph, quantizer=Configure.VectorIndex.Quantizer.none()
            ),
            properties=[
                *map(_text, ("key", "path", "module", "name", "kind", "language")),
                _other("line", DataType.INT),
                _other("lines", DataType.INT),
                _other("has_doc", DataType.BOOL),
                _other("tags", DataType.TEXT_ARRAY),
            ],
        )
        for start in range(0, len(ids), _ROWS):
            part = slice(start, start + _ROWS)
            result = await collection.data.insert_many(
                [
                    DataObject({**payload, "key": one}, uuid.uuid5(uuid.NAMESPACE_OID, one), row)
                    for one, row, payload in zip(ids[part], vectors[part].tolist(), payloads[part], strict=True)
                ]
            )
            assert not result.has_errors, result.errors

    async def search(
        self, vector: list[float], limit: int, *, language: str | None = None, module: str | None = None
    ) -> list[str]:
        tests = {"language": language, "module": module}
        chosen = [Filter.by_property(name).equal(one) for name, one in tests.items() if one is not None]
        found = await self._client.collections.use(_NAME).query.near_vector(
            vector,
            limit=limit,
            filters=Filter.all_of(chosen) if chosen else None,
            return_metadata=MetadataQuery(distance=True),
        )
        return [str(one.properties["key"]) for one in found.objects]

    async def close(self) -> None:
        await self._client.collections.delete(_NAME)
        await self._client.close()
