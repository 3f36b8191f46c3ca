"""LangChain's vector store on any backend: an example of use, and what its standard tests run on.

::

    backend = BlockingBackend(create_backend("lancedb", path="data"))
    store = BackendVectorStore(backend, "docs", OpenAIEmbeddings())
    store.add_texts(["one", "two"], [{"lang": "en"}, {"lang": "en"}])
    store.similarity_search("eins", k=1, filter=F("metadata.lang") == "en")
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from codeweaver_backends import (
    BlockingBackend,
    CollectionExistsError,
    FilterLike,
    PointId,
    SearchFilter,
    VectorPoint,
)

__all__ = ["BackendVectorStore"]


class BackendVectorStore(VectorStore):
    """One collection, by cosine; a document is a point with the payload ``{"text": …, "metadata": {…}}``.

    ``filter`` is the contract's, over that payload, and the score is the contract's: −1 to 1, higher is better, on
    every engine. LangChain's asynchronous methods run these in its threads; a ``BlockingBackend`` takes calls of any.
    """

    def __init__(self, backend: BlockingBackend, collection: str, embedding: Embeddings) -> None:
        self._backend = backend
        self._collection = collection
        self._embedding = embedding
        with suppress(CollectionExistsError):
            backend.create_collection(collection, len(embedding.embed_query("how many numbers?")))

    @property
    def embeddings(self) -> Embeddings:
        return self._embedding

    @classmethod
    def from_texts(  # type: ignore[override]  # what a store needs beside the embedding is its own
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        backend: BlockingBackend,
        collection: str,
        **kwargs: Any,
    ) -> Self:
        store = cls(backend, collection, embedding)
        store.add_texts(texts, metadatas, ids=ids, **kwargs)
        return store

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        texts = list(texts)
        names = [name or str(uuid.uuid4()) for name in ids or [None] * len(texts)]
        payloads = [
            {"text": text, "metadata": metadata}
            for text, metadata in zip(texts, metadatas or [{} for _ in texts], strict=True)
        ]
        vectors = self._embedding.embed_documents(texts)
        points = [VectorPoint(*point) for point in zip(names, vectors, payloads, strict=True)]
        self._backend.upsert_vectors(self._collection, points)
        return names

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        if ids is None:
            self._backend.delete_by_filter(self._collection, SearchFilter())
        else:
            self._backend.delete_vectors(self._collection, ids)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        points = self._backend.get_vectors(self._collection, ids, with_vectors=False)
        return [_document(point.id, point.payload or {}) for point in points]

    def similarity_search(
        self,
        query: str,
        k: int = 4,
        *,
        filter: FilterLike | None = None,  # noqa: A002 - LangChain's word
        **kwargs: Any,
    ) -> list[Document]:
        return [document for document, _ in self.similarity_search_with_score(query, k, filter=filter, **kwargs)]

    def similarity_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        *,
        filter: FilterLike | None = None,  # noqa: A002 - LangChain's word
        **kwargs: Any,
    ) -> list[Document]:
        return [document for document, _ in self._nearest(embedding, k, filter, **kwargs)]

    def similarity_search_with_score(
        self,
        query: str,
        k: int = 4,
        *,
        filter: FilterLike | None = None,  # noqa: A002 - LangChain's word
        **kwargs: Any,
    ) -> list[tuple[Document, float]]:
        return self._nearest(self._embedding.embed_query(query), k, filter, **kwargs)

    def _nearest(
        self, vector: list[float], k: int, search_filter: FilterLike | None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        hits = self._backend.search_vectors(self._collection, vector, k, search_filter, **kwargs)
        return [(_document(hit.id, hit.payload or {}), hit.score) for hit in hits]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return lambda score: (1 + score) / 2


def _document(point_id: PointId, payload: Mapping[str, Any]) -> Document:
    return Document(id=str(point_id), page_content=payload["text"], metadata=payload["metadata"])
