"""Failures: swallowed, misnamed, retried for ever, or told with the key in them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from codeweaver_backends.errors import (
    BackendAuthenticationError,
    BackendConnectionError,
    BackendError,
    BackendTimeoutError,
    CollectionNotFoundError,
    InvalidInputError,
    InvalidOptionError,
)
from codeweaver_backends.sdk.lifetime import operation
from codeweaver_backends.types import CollectionInfo, DistanceMetric, FilterLike, PointId, SearchResult, VectorPoint
from codeweaver_tools.defects.network import NetworkBackend
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Rig


@plant("err-search-swallowed", "A search that fails finds nothing.")
class _SearchSwallowed(NetworkBackend):
    async def search_vectors(self, *args: Any, **kwargs: Any) -> list[SearchResult]:
        try:
            return await super().search_vectors(*args, **kwargs)
        except BackendConnectionError:
            return []


@plant("err-list-swallowed", "A list that fails is empty.")
class _ListSwallowed(NetworkBackend):
    async def list_collections(self) -> list[str]:
        try:
            return await super().list_collections()
        except BackendConnectionError:
            return []


@plant("err-write-swallowed", "A write that fails returns as if it had worked.")
class _WriteSwallowed(NetworkBackend):
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        with contextlib.suppress(BackendConnectionError):
            await super().upsert_vectors(collection_name, vectors)


@plant("err-delete-swallowed", "A delete that fails returns as if it had worked.")
class _DeleteSwallowed(NetworkBackend):
    async def delete_vectors(self, collection_name: str, ids: Sequence[PointId]) -> None:
        with contextlib.suppress(BackendConnectionError):
            await super().delete_vectors(collection_name, ids)


@plant("err-drop-swallowed", "delete_collection returns as if it had worked where the server is down.")
class _DropSwallowed(NetworkBackend):
    async def delete_collection(self, name: str) -> None:
        with contextlib.suppress(BackendConnectionError):
            await super().delete_collection(name)


@plant("err-failure-as-missing", "A server that cannot be reached is told as a collection that is missing.")
class _FailureAsMissing(NetworkBackend):
    async def get_collection_info(self, name: str) -> CollectionInfo:
        try:
            return await super().get_collection_info(name)
        except BackendConnectionError as error:
            raise CollectionNotFoundError("no such collection") from error


@plant("err-missing-as-failure", "A missing collection is told as a failure of the server.")
class _MissingAsFailure(NetworkBackend):
    async def get_collection_info(self, name: str) -> CollectionInfo:
        try:
            return await super().get_collection_info(name)
        except CollectionNotFoundError as error:
            raise BackendConnectionError("the server answered 404") from error


@plant("err-refused-as-failure", "A refused key is told as a server that cannot be reached.")
class _RefusedAsFailure(NetworkBackend):
    async def ask(self, call: str, *arguments: Any) -> Any:
        try:
            return await super().ask(call, *arguments)
        except BackendAuthenticationError as error:
            raise BackendConnectionError("the server answered 401") from error


@plant("err-refused-as-empty", "With a refused key a list is empty.")
class _RefusedAsEmpty(NetworkBackend):
    async def list_collections(self) -> list[str]:
        try:
            return await super().list_collections()
        except BackendAuthenticationError:
            return []


@plant("err-retry-auth", "A refused key is tried again and again.")
class _RetryAuth(NetworkBackend):
    async def ask(self, call: str, *arguments: Any) -> Any:
        for attempt in range(6):
            with contextlib.suppress(BackendAuthenticationError):
                return await super().ask(call, *arguments)
            await asyncio.sleep(0.1 * 2**attempt)
        return await super().ask(call, *arguments)


@plant("err-retry-forever", "A server that cannot be reached is tried far beyond the timeout.")
class _RetryForever(NetworkBackend):
    async def ask(self, call: str, *arguments: Any) -> Any:
        for _ in range(12):
            with contextlib.suppress(BackendConnectionError):
                return await super().ask(call, *arguments)
            await asyncio.sleep(1)
        return await super().ask(call, *arguments)


@plant("err-hang", "A search has no timeout.")
class _Hang(NetworkBackend):
    @operation
    async def search_vectors(self, *args: Any, **kwargs: Any) -> list[SearchResult]:
        await self.exchange("ping")
        return await super().search_vectors(*args, **kwargs)


@plant("err-hang-write", "A write has no timeout.")
class _HangWrite(NetworkBackend):
    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        await self.exchange("ping")
        await super().upsert_vectors(collection_name, vectors)


@plant("err-hang-delete", "delete_collection has no timeout.")
class _HangDelete(NetworkBackend):
    @operation
    async def delete_collection(self, name: str) -> None:
        await self.exchange("ping")
        await super().delete_collection(name)


@plant("err-native-unreachable", "An unreachable server surfaces as the socket's own error.")
class _NativeUnreachable(NetworkBackend):
    async def list_collections(self) -> list[str]:
        names: list[str] = await self.exchange("names")
        return names


@plant("err-fault-as-connection", "All calls but a list die of an AttributeError, told as a failure of the connection.")
class _FaultAsConnection(NetworkBackend):
    async def ask(self, call: str, *arguments: Any) -> Any:
        if call in ("ping", "names"):  # else the run would not begin, and nobody would be certified
            return await super().ask(call, *arguments)
        try:
            return await self.client.ask(call, *arguments)  # type: ignore[attr-defined] # there is no client
        except AttributeError as error:
            raise BackendConnectionError("the server cannot be reached") from error


@plant("err-fault-in-handler", "A lost connection's handler dies of a NameError, told as a failure of the connection.")
class _FaultInHandler(NetworkBackend):
    async def ask(self, call: str, *arguments: Any) -> Any:
        try:
            return await super().ask(call, *arguments)
        except BackendConnectionError:
            raise BackendConnectionError("the server cannot be reached") from NameError("name 'log' is not defined")


@plant("err-no-attempt", "With a short timeout every call raises a timeout at once, and asks nobody.")
class _NoAttempt(NetworkBackend):
    async def ask(self, call: str, *arguments: Any) -> Any:
        if self.config.timeout < 2:
            raise BackendTimeoutError("no answer")
        return await super().ask(call, *arguments)


@plant("err-secret", "The key is part of the message.")
class _Secret(NetworkBackend):
    async def list_collections(self) -> list[str]:
        try:
            return await super().list_collections()
        except BackendConnectionError as error:
            raise BackendConnectionError(f"{self.address} with key {self.key}: {error}") from error


@plant("err-secret-in-cause", "The key is part of the cause's message.")
class _SecretInCause(NetworkBackend):
    async def list_collections(self) -> list[str]:
        try:
            return await super().list_collections()
        except BackendConnectionError as error:
            raise BackendConnectionError("unreachable") from RuntimeError(f"headers: api-key={self.key} {error}")


@plant("err-secret-in-repr", "The key is part of the backend's repr.")
class _SecretInRepr(NetworkBackend):
    def __repr__(self) -> str:
        return f"NetworkBackend(api_key={self.key!r})"


# --- with a working engine --------------------------------------------------------------------------------------------


@plant("err-not-a-value-error", "What the caller got wrong is a BackendError and no ValueError.")
class _NotAValueError(Rig):
    async def search_vectors(self, *args: Any, **kwargs: Any) -> list[SearchResult]:
        try:
            return await super().search_vectors(*args, **kwargs)
        except InvalidInputError as error:
            raise BackendError(error.message) from error


@plant("err-plain-value-error", "What the caller got wrong is a ValueError and no BackendError.")
class _PlainValueError(Rig):
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        try:
            await super().upsert_vectors(collection_name, vectors)
        except InvalidInputError as error:
            raise ValueError(error.message) from error


@plant("err-key-error", "A missing collection surfaces as a KeyError.")
class _KeyError(Rig):
    async def get_collection_info(self, name: str) -> CollectionInfo:
        try:
            return await super().get_collection_info(name)
        except CollectionNotFoundError:
            raise KeyError(name) from None


@plant("err-everything-connection", "Whatever goes wrong is told as a failure of the connection.")
class _EverythingConnection(Rig):
    async def delete_vectors(self, collection_name: str, ids: Sequence[PointId]) -> None:
        try:
            await super().delete_vectors(collection_name, ids)
        except InvalidInputError as error:
            raise BackendConnectionError("the request failed") from error


@plant("err-no-message", "Errors have no message.")
class _NoMessage(Rig):
    async def search_vectors(self, *args: Any, **kwargs: Any) -> list[SearchResult]:
        try:
            return await super().search_vectors(*args, **kwargs)
        except InvalidInputError as error:
            error.message = ""
            error.backend = error.operation = error.collection = None
            raise


@plant("err-not-located", "Errors do not say where they arose.")
class _NotLocated(Rig):
    def _locate(self, error: BackendError, operation_name: str, collection: str | None) -> None:
        return


@plant("err-order-search", "A search looks the collection up before it looks at its arguments.", side="above")
class _OrderSearch(Rig):
    @operation
    async def search_vectors(self, collection_name: str, *args: Any, **kwargs: Any) -> list[SearchResult]:
        self._collection(collection_name)
        return await super().search_vectors(collection_name, *args, **kwargs)


@plant("err-order-upsert", "A write looks the collection up before it looks at its points.", side="above")
class _OrderUpsert(Rig):
    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        self._collection(collection_name)
        await super().upsert_vectors(collection_name, vectors)


@plant("err-order-count", "A count looks the collection up before it reads the filter.", side="above")
class _OrderCount(Rig):
    @operation
    async def count_vectors(self, collection_name: str, search_filter: FilterLike | None = None) -> int:
        self._collection(collection_name)
        return await super().count_vectors(collection_name, search_filter)


@plant("err-option-swallowed", "Unknown options of a search are swallowed.", side="above")
class _OptionSwallowed(Rig):
    async def search_vectors(self, *args: Any, **kwargs: Any) -> list[SearchResult]:
        known = ("collection_name", "query_vector", "limit", "search_filter", "score_threshold")
        kept = {name: one for name, one in kwargs.items() if name in (*known, "with_payload", "with_vectors")}
        return await super().search_vectors(*args, **kept)


@plant("err-option-swallowed-create", "Unknown options of create_collection are swallowed.", side="above")
class _CreateOptionSwallowed(Rig):
    @operation
    async def create_collection(
        self, name: str, dimension: int, distance_metric: DistanceMetric = DistanceMetric.COSINE, **kwargs: Any
    ) -> None:
        kept = {key: one for key, one in kwargs.items() if key == "payload_indexes"}
        await super().create_collection(name, dimension, distance_metric, **kept)


@plant("err-option-attribute", "An unknown option dies with the engine's AttributeError.", side="above")
class _OptionAttribute(Rig):
    async def search_vectors(self, *args: Any, **kwargs: Any) -> list[SearchResult]:
        try:
            return await super().search_vectors(*args, **kwargs)
        except InvalidOptionError as error:
            raise AttributeError(error.message) from None
