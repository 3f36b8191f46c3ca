"""A page of user code, as type checkers see it: ``nox -s types`` runs mypy --strict and pyright over it.

What is right must pass. What is wrong is marked, once for each checker, and a mark that is not needed is an error of
both: so a mistake that is no longer noticed fails too.
"""

from __future__ import annotations

from typing import assert_type

import numpy as np

from codeweaver_backends import (
    Backend,
    BackendError,
    BlockingBackend,
    CodeWeaverFactory,
    CollectionInfo,
    DistanceMetric,
    F,
    FilterCondition,
    MemoryBackend,
    MemoryConfig,
    SearchFilter,
    SearchResult,
    VectorPoint,
    create_backend,
)

# --- a configuration, or a name, gives its backend -------------------------------------------------------------------

assert_type(create_backend("memory"), MemoryBackend)
assert_type(create_backend(MemoryConfig(timeout=5)), MemoryBackend)
assert_type(CodeWeaverFactory().create_backend(MemoryConfig()), MemoryBackend)


def choose(name: str) -> Backend:
    """A backend whose name is only known when it runs."""
    assert_type(create_backend(name), Backend)
    return create_backend("lancedb", path="data")


async def use(backend: Backend) -> None:
    """What works when it runs is accepted."""
    async with backend as opened:
        assert_type(opened, Backend)
        await backend.create_collection("code", 3, DistanceMetric.COSINE)
        await backend.create_collection("code", 3, "cosine", payload_indexes={"lang": "keyword"})
        assert_type(await backend.get_collection_info("code"), CollectionInfo)

        vector = np.array([0.1, 0.2, 0.3], dtype=np.float32)
        await backend.upsert_vectors("code", [VectorPoint("a", [0.1, 0.2, 0.3], {"lines": 12}), VectorPoint(1, vector)])
        await backend.upsert_vectors("code", (VectorPoint(n, vector) for n in range(3)))

        assert_type(await backend.search_vectors("code", [0.1, 0.2, 0.3]), list[SearchResult])
        await backend.search_vectors("code", vector, 5, with_payload=False)
        await backend.search_vectors("code", (1, 2, 3), search_filter=FilterCondition("lines", "lt", 50))
        await backend.search_vectors("code", vector, search_filter={"field": "lines", "operator": "lt", "value": 50})
        await backend.search_vectors("code", vector, search_filter=SearchFilter(must=[FilterCondition("a", "exists")]))
        short = (F("lines") < 50) & (F("meta", "lang").is_in(["py", "go"]) | ~F("lang").exists())
        await backend.search_vectors("code", vector, search_filter=short)

        words: list[str] = ["a", "b"]
        numbers: list[int] = [1, 2]
        await backend.delete_vectors("code", words)
        await backend.delete_vectors("code", numbers)

        page = await backend.scroll_vectors("code", search_filter=F("lines") < 50)
        assert_type(page.points, list[VectorPoint])
        assert_type(await backend.count_vectors("code", {"must": []}), int)
        async for point in backend.scan("code", F("lines") < 50):
            assert_type(point, VectorPoint)

        assert_type(await backend.diagnose(), BackendError | None)
        assert_type(backend.server_version, str | None)
        if not backend.capabilities.supports_scan:
            await backend.aclose()


def use_blocking() -> None:
    """The same without ``await``."""
    with BlockingBackend(create_backend("memory")) as backend:
        backend.create_collection("code", 3, "cosine")
        backend.upsert_vectors("code", [VectorPoint(1, np.zeros(3))])
        assert_type(backend.search_vectors("code", np.zeros(3), search_filter=F("a") == 1), list[SearchResult])
        assert_type(backend.count_vectors("code"), int)
        assert_type(backend.health_check(), bool)
        backend.serch_vectors("code", [1.0])  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
        backend.search_vectors("code", "text")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


# --- mistakes are noticed --------------------------------------------------------------------------------------------


async def mistake(backend: Backend) -> None:
    """Each marked line is wrong."""
    await backend.serch_vectors("code", [1.0])  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
    await backend.search_vectors("code", "text")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await backend.search_vectors("code", [1.0], limit="3")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await backend.delete_vectors("code", [1.5])  # type: ignore[list-item] # pyright: ignore[reportArgumentType]
    await backend.upsert_vectors("code", [[1.0]])  # type: ignore[list-item] # pyright: ignore[reportArgumentType]
    await backend.scroll_vectors("code", limt=3)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    VectorPoint(None, [1.0])  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    _ = F("lines") < [1]  # type: ignore[operator] # pyright: ignore[reportOperatorIssue]
    _ = (F("lines") < 1) & 2  # type: ignore[operator] # pyright: ignore[reportOperatorIssue]
    create_backend(3)  # type: ignore[call-overload] # pyright: ignore
    create_backend(MemoryConfig(), timeout=3)  # type: ignore[call-overload] # pyright: ignore
