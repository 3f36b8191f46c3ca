"""The factory: from a name or a configuration to a backend, also of a plugin written by others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel, Field

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.contract import CLAUSES
from codeweaver_backends.errors import InvalidOptionError, PluginError
from codeweaver_backends.factory import CodeWeaverFactory, create_backend
from codeweaver_backends.memory import MemoryBackend, MemoryConfig, MemoryPlugin, MemoryStore
from codeweaver_backends.protocols import PROFILES, HybridSearchBackend, ScannableBackend, VectorBackend, implements
from codeweaver_backends.types import (
    BaseComponentInfo,
    CollectionInfo,
    DistanceMetric,
    SearchFilter,
    SearchResult,
    VectorPoint,
)

SECRET = "s3cr3t"  # noqa: S105


class ShelfConfig(BaseModel):
    """A plain pydantic model, as plugins written by others have."""

    rows: int = Field(default=3, ge=1)
    token: str | None = None


class ShelfBackend:
    """A backend of others: no base class of ours, no ``aclose``, unknown options swallowed."""

    def __init__(self, config: ShelfConfig) -> None:
        self.config = config
        self._shelves: dict[str, dict[Any, VectorPoint]] = {}
        self._sizes: dict[str, int] = {}

    async def create_collection(
        self, name: str, dimension: int, distance_metric: DistanceMetric = DistanceMetric.COSINE, **kwargs: Any
    ) -> None:
        self._shelves[name] = {}
        self._sizes[name] = dimension

    async def list_collections(self) -> list[str]:
        return list(self._shelves)

    async def delete_collection(self, name: str) -> None:
        del self._shelves[name]

    async def get_collection_info(self, name: str) -> CollectionInfo:
        return CollectionInfo(name, self._sizes[name], DistanceMetric.COSINE, len(self._shelves[name]))

    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        self._shelves[collection_name].update({point.id: point for point in vectors})

    async def search_vectors(
        self,
        collection_name: str,
        query_vector: list[float],
        limit: int = 10,
        search_filter: SearchFilter | None = None,
        score_threshold: float | None = None,
        **kwargs: Any,
    ) -> list[SearchResult]:
        return [SearchResult(point.id, 1.0) for point in self._shelves[collection_name].values()][:limit]

    async def delete_vectors(self, collection_name: str, ids: list[str | int]) -> None:
        for point_id in ids:
            self._shelves[collection_name].pop(point_id, None)

    async def health_check(self) -> bool:
        return True


INFO = BaseComponentInfo(name="shelf", display_name="Shelf")
CLAIMS = BackendCapabilities(max_vector_dimension=8)


@pytest.fixture
def factory() -> CodeWeaverFactory:
    made = CodeWeaverFactory()
    made.register_backend("shelf", ShelfBackend, CLAIMS, INFO)
    return made


def test_a_backend_of_others_is_registered_and_used_unwrapped(factory: CodeWeaverFactory) -> None:
    backend = factory.create_backend("shelf", rows=5)
    assert type(backend) is ShelfBackend
    assert backend.config == ShelfConfig(rows=5)
    assert isinstance(backend, VectorBackend)
    assert implements(backend, VectorBackend)
    assert not implements(backend, ScannableBackend)
    assert factory.get_capabilities("shelf") is CLAIMS
    assert factory.get_component_info("shelf") is INFO
    assert "shelf" in factory.list_backends()
    assert factory.find_backends(max_vector_dimension=8) == ["shelf"]

    async def use() -> list[SearchResult]:
        await backend.create_collection("c", 2, shards=3)
        await backend.upsert_vectors("c", [VectorPoint("a", [1.0, 0.0])])
        found: list[SearchResult] = await backend.search_vectors("c", [1.0, 0.0])
        return found

    assert asyncio.run(use()) == [SearchResult("a", 1.0)]


def test_a_configuration_object_selects_its_backend(factory: CodeWeaverFactory) -> None:
    config = ShelfConfig(rows=7)
    assert factory.create_backend(config).config is config
    assert isinstance(factory.create_backend(MemoryConfig()), MemoryBackend)
    with pytest.raises(InvalidOptionError, match="not by both"):
        factory.create_backend(config, rows=1)

    class Unknown(BaseModel):
        """Nobody's."""

    with pytest.raises(PluginError, match="no backend is configured by a Unknown"):
        factory.create_backend(Unknown())


def test_registration_by_hand_wins_over_an_installed_plugin(factory: CodeWeaverFactory) -> None:
    factory.register_backend("memory", ShelfBackend, CLAIMS, INFO)
    assert type(factory.create_backend("memory")) is ShelfBackend
    assert factory.register_plugin(MemoryPlugin) == "memory"
    assert type(factory.create_backend("memory")) is MemoryBackend
    assert type(CodeWeaverFactory().create_backend("memory")) is MemoryBackend, "each factory has its own"


def test_unknown_names_are_told_with_the_known_ones(factory: CodeWeaverFactory) -> None:
    with pytest.raises(PluginError, match=r"no backend is named 'shelve'; installed are: .*memory.*shelf"):
        factory.create_backend("shelve")


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"rows": 0}, "rows: Input should be greater"), ({"rows": SECRET}, "rows: "), ({"token": [SECRET]}, "token: ")],
)
def test_wrong_settings_are_told_without_their_values(
    factory: CodeWeaverFactory, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidOptionError, match="the settings of 'shelf' are invalid") as raised:
        factory.create_backend("shelf", **settings)
    assert words in str(raised.value)
    assert SECRET not in str(raised.value)


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(InvalidOptionError, match="stroe: there is no such setting; did you mean 'store'\\?"):
        CodeWeaverFactory().create_backend("memory", stroe=MemoryStore())


def test_a_backend_without_configuration_takes_no_settings() -> None:
    class Bare:
        """Takes nothing."""

    factory = CodeWeaverFactory()
    factory.register_backend("bare", Bare, CLAIMS, INFO)
    assert isinstance(factory.create_backend("bare"), Bare)
    with pytest.raises(InvalidOptionError, match="takes no settings"):
        factory.create_backend("bare", rows=1)


def test_a_backend_is_a_class(factory: CodeWeaverFactory) -> None:
    with pytest.raises(InvalidOptionError, match="must be a class, not a ShelfBackend"):
        factory.register_backend("x", ShelfBackend(ShelfConfig()), CLAIMS, INFO)  # type: ignore[arg-type]


def test_an_inherited_protocol_body_is_no_implementation() -> None:
    class Lazy(ShelfBackend, HybridSearchBackend):
        """Says it is hybrid, and is not."""

    assert implements(Lazy, VectorBackend)
    assert not implements(Lazy, HybridSearchBackend)
    assert implements(MemoryBackend, ScannableBackend)


def test_a_misspelt_claim_is_told_with_the_nearest(factory: CodeWeaverFactory) -> None:
    with pytest.raises(InvalidOptionError, match=r"'suports_scan'; did you mean 'supports_scan'\?"):
        factory.find_backends(suports_scan=True)
    with pytest.raises(InvalidOptionError, match=r"'zzz'; known are .*supports_scan"):
        factory.find_backends(zzz=True)


def test_a_claim_of_a_backends_own_can_be_asked_for(factory: CodeWeaverFactory) -> None:
    class Claims(BackendCapabilities):
        """More than the contract knows."""

        floats: bool = True

    factory.register_backend("raft", ShelfBackend, Claims(), INFO)
    assert factory.find_backends(floats=True) == ["raft"]


def test_a_plugin_whose_client_is_missing_is_not_found(factory: CodeWeaverFactory) -> None:
    class Adrift(MemoryPlugin):
        """Its engine is not installed."""

        info = BaseComponentInfo(name="adrift")
        dependencies = ("pydantic>=2", "no-such-client[fast]>=1")

    factory.register_plugin(Adrift)
    found = factory.find_backends(supports_scan=True)
    assert "memory" in found
    assert "adrift" not in found


def test_a_plugin_that_overrides_its_configuration_is_asked(factory: CodeWeaverFactory) -> None:
    class Plugin(MemoryPlugin):
        """Declares one configuration, and gives another."""

        info = BaseComponentInfo(name="shelf")

        @classmethod
        def get_config_class(cls) -> Any:
            return ShelfConfig

        @classmethod
        def get_backend_class(cls) -> type:
            return ShelfBackend

    made = CodeWeaverFactory()
    made.register_plugin(Plugin)
    assert isinstance(made.create_backend(ShelfConfig()), ShelfBackend)


def test_creating_needs_no_event_loop_and_connects_nothing() -> None:
    backend = create_backend("memory")
    assert not backend._is_open
    assert asyncio.run(backend.health_check())


def test_profiles_and_their_claims() -> None:
    assert {name: (one.claim, one.methods) for name, one in PROFILES.items()} == {
        "scan": ("supports_scan", ("get_vectors", "scroll_vectors", "count_vectors", "delete_by_filter")),
        "columnar": ("supports_columnar", ("upsert_batch",)),
        "hybrid": ("supports_hybrid_search", ("create_sparse_index", "hybrid_search", "update_sparse_vectors")),
        "index": ("index_kinds", ("optimize_collection",)),
        "streaming": ("supports_streaming", ("stream_upsert_vectors", "stream_search_vectors")),
        "transactions": ("supports_transactions", ("begin_transaction", "commit_transaction", "rollback_transaction")),
    }
    assert {one.claim for one in PROFILES.values()} <= BackendCapabilities.model_fields.keys()
    assert {one.profile for one in CLAUSES.values()} <= PROFILES.keys() | {"vector"}
