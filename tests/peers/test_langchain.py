"""LangChain's standard tests of vector stores, with not one of them changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_store import BackendVectorStore
from langchain_tests.integration_tests import VectorStoreIntegrationTests

from codeweaver_backends import BlockingBackend, CodeWeaverFactory
from codeweaver_backends.testing import Target


@pytest.fixture(scope="module")
def backend(factory: CodeWeaverFactory, target: Target, settings: dict[str, Any]) -> Iterator[BlockingBackend]:
    with BlockingBackend(factory.create_backend(target.backend, **settings)) as backend:
        yield backend


class TestBackendVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, backend: BlockingBackend, collection: str) -> Iterator[BackendVectorStore]:
        yield BackendVectorStore(backend, collection, self.get_embeddings())
        backend.delete_collection(collection)
