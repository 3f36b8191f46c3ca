"""Haystack's standard tests of document stores; what is overridden is what Haystack leaves to each store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from haystack.dataclasses import Document
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.testing.document_store import DocumentStoreBaseTests
from haystack_store import BackendDocumentStore

from codeweaver_backends import CodeWeaverFactory
from codeweaver_backends.testing import Target

DIMENSION = 768
"""That of the documents in Haystack's tests."""


class TestBackendDocumentStore(DocumentStoreBaseTests):
    @pytest.fixture
    def document_store(
        self, factory: CodeWeaverFactory, target: Target, settings: dict[str, Any], collection: str
    ) -> Iterator[BackendDocumentStore]:
        store = BackendDocumentStore(
            target.backend, dimension=DIMENSION, collection=collection, settings=settings, factory=factory
        )
        yield store
        store.drop()

    @staticmethod
    def assert_documents_are_equal(received: list[Document], expected: list[Document]) -> None:
        """In any order, and with the embeddings that were given, to a millionth: the contract's vectors.round-trip."""
        received, expected = sorted(received, key=_id), sorted(expected, key=_id)
        assert list(map(_without_embedding, received)) == list(map(_without_embedding, expected))
        for one, other in zip(received, expected, strict=True):
            assert (one.embedding is None) is (other.embedding is None)
            assert (one.embedding or []) == pytest.approx(other.embedding or [], rel=1e-6, abs=0.0)

    def test_write_documents(self, document_store: BackendDocumentStore) -> None:
        """Without a policy: Haystack has each store say what it does."""
        document = Document(content="test doc")
        assert document_store.write_documents([document]) == 1
        with pytest.raises(DuplicateDocumentError):
            document_store.write_documents([document])
        self.assert_documents_are_equal(document_store.filter_documents(), [document])


def _id(document: Document) -> str:
    return document.id


def _without_embedding(document: Document) -> Document:
    return replace(document, embedding=None)
