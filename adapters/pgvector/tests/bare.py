"""PostgreSQL with pgvector by its own client, used as a good user of it would: what the adapter is measured against."""

from __future__ import annotations

from typing import Any

import asyncpg
import numpy as np
from pgvector.asyncpg import register_vector

_COLUMNS = ("path", "module", "name", "kind", "language", "line", "lines", "has_doc", "tags")


class Bare:
    async def open(self, settings: dict[str, Any]) -> None:
        names = ("host", "port", "user", "password", "database")
        self.connection = await asyncpg.connect(**{name: settings[name] for name in names if name in settings})
        self.schema = f"{settings['db_schema']}_bare"
        await self.connection.execute("create extension if not exists vector")
        await self.connection.execute(f'create schema if not exists "{self.schema}"')
        await self.connection.execute(f'set search_path = "{self.schema}", public')
        await register_vector(self.connection)

    async def ingest(self, ids: list[str], vectors: np.ndarray, payloads: list[dict[str, Any]]) -> None:
        await self.connection.execute("drop table if exists bare")
        await self.connection.execute(
            f"create table bare (id text primary key, embedding vector({vectors.shape[1]}), path text, module text,"
            " name text, kind text, language text, line integer, lines integer, has_doc boolean, tags text[])"
        )
        # As in the adapter's table: vectors that are all read stay in the row.
        await self.connection.execute("alter table bare alter column embedding set storage plain")
        await self.connection.execute("create index on bare (language)")
        rows = zip(ids, vectors, payloads, strict=True)
        await self.connection.copy_records_to_table(
            "bare",
            records=[(one, vector, *(payload[name] for name in _COLUMNS)) for one, vector, payload in rows],
            columns=["id", "embedding", *_COLUMNS],
        )

    async def search(
        self, vector: list[float], limit: int, *, language: str | None = None, module: str | None = None
    ) -> list[str]:
        wanted = {"language": language, "module": module}
        operands = [value for value in wanted.values() if value is not None]
        tests = [f"{name} = ${n}" for n, name in enumerate((k for k, v in wanted.items() if v is not None), start=3)]
        where = f"where {' and '.join(tests)}" if tests else ""
        columns = f"id, {', '.join(_COLUMNS)}, embedding <=> $1 as distance"
        sql = f"select {columns} from bare {where} order by distance limit $2"  # noqa: S608 - only names are put in
        rows = await self.connection.fetch(sql, np.asarray(vector, dtype=np.float32), limit, *operands)
        hits = [dict(row) for row in rows]
        return [hit["id"] for hit in hits]

    async def close(self) -> None:
        await self.connection.execute(f'drop schema "{self.schema}" cascade')
        await self.connection.close()
