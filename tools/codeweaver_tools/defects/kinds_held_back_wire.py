"""Held back, as the others: errors, times and secrets of a backend that talks to a server."""

from __future__ import annotations

import warnings
from typing import Any

from codeweaver_backends.errors import (
    BackendConnectionError,
    BackendTimeoutError,
    CollectionNotFoundError,
)
from codeweaver_backends.sdk.lifetime import operation
from codeweaver_backends.types import SearchResult
from codeweaver_tools.defects.kinds_secrets import _Bare
from codeweaver_tools.defects.network import NetworkBackend
from codeweaver_tools.defects.registry import plant


@plant("hb-timeout-begin", "begin_transaction waits for a silent server without end.")
class _Begin(NetworkBackend):
    async def _begin(self) -> str:
        transaction: str = await self.exchange("begin")
        return transaction


@plant("hb-timeout-twice", "A search that has waited in vain is made again, and takes twice the timeout.")
class _Twice(NetworkBackend):
    @operation
    async def search_vectors(self, *arguments: Any, **options: Any) -> list[SearchResult]:
        try:
            return await super().search_vectors(*arguments, **options)
        except BackendTimeoutError:
            return await super().search_vectors(*arguments, **options)


@plant("hb-drop-missing", "A delete_collection that cannot reach the server says that there is no such collection.")
class _Drop(NetworkBackend):
    @operation
    async def delete_collection(self, name: str) -> None:
        try:
            await super().delete_collection(name)
        except BackendConnectionError as error:
            raise CollectionNotFoundError("the collection does not exist") from error


@plant("hb-list-silent", "A silent server has no collections; one that cannot be reached is told.")
class _List(NetworkBackend):
    @operation
    async def list_collections(self) -> list[str]:
        try:
            return await super().list_collections()
        except BackendTimeoutError:
            return []


@plant("hb-key-warned", "The key is in a warning when the server cannot be reached.")
class _Warned(_Bare):
    async def exchange(self, call: str, *arguments: Any) -> Any:
        try:
            return await super().exchange(call, *arguments)
        except OSError:
            warnings.warn(f"cannot connect with {self.key}", stacklevel=2)
            raise


@plant("hb-key-deep", "The key is in the cause of the cause of an error.")
class _Deep(_Bare):
    async def exchange(self, call: str, *arguments: Any) -> Any:
        try:
            return await super().exchange(call, *arguments)
        except OSError as error:
            raise ConnectionError("no answer") from ConnectionError(f"{error}: authorization {self.key}")


@plant("hb-key-repr", "The key is in the backend's repr.")
class _Repr(NetworkBackend):
    def __repr__(self) -> str:
        return f"<backend at {self.address}, key {self.key}>"
