"""LanceDB's own client, used as a good user of it would: what the adapter is measured against."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import Bitmap

_FIELDS = {
    "path": pa.utf8(),
    "module": pa.utf8(),
    "name": pa.utf8(),
    "kind": pa.utf8(),
    "language": pa.utf8(),
    "line": pa.int64(),
    "lines": pa.int64(),
    "has_doc": pa.bool_(),
    "tags": pa.list_(pa.utf8()),
}


class Bare:
    async def open(self, settings: dict[str, Any]) -> None:
        folder = Path(settings["path"]) / "bare"
        # As the adapter does: reads see what other clients have committed.
        self.connection = await lancedb.connect_async(str(folder), read_consistency_interval=timedelta(0))

    async def ingest(self, ids: list[str], vectors: np.ndarray, payloads: list[dict[str, Any]]) -> None:
        dimension = vectors.shape[1]
        flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
        columns = {
            "id": pa.array(ids, pa.utf8()),
            "vector": pa.FixedSizeListArray.from_arrays(flat, dimension),
            **{name: pa.array([payload[name] for payload in payloads], kind) for name, kind in _FIELDS.items()},
        }
        rows = pa.table(columns)
        await self.connection.drop_table("bare", ignore_missing=True)
        self.table = await self.connection.create_table("bare", schema=rows.schema)
        await self.table.add(rows)
        await self.table.create_index("language", config=Bitmap())

    async def search(
        self, vector: list[float], limit: int, *, language: str | None = None, module: str | None = None
    ) -> list[str]:
        query = self.table.query().nearest_to(vector).distance_type("cosine")
        wanted = {"language": language, "module": module}
        where = [f"{name} = '{value}'" for name, value in wanted.items() if value is not None]
        if where:
            query = query.where(" AND ".join(where))
        hits = await query.limit(limit).select(["id", *_FIELDS, "_distance"]).to_list()
        return [hit["id"] for hit in hits]

    async def close(self) -> None:
        self.table.close()
        self.connection.close()
