"""Haystack's document store on any backend: an example of use, and what its standard tests run on.

::

    store = BackendDocumentStore("lancedb", dimension=768, settings={"path": "data"})
    store.write_documents(documents)
    store.filter_documents({"field": "meta.lang", "operator": "==", "value": "en"})
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import fields
from typing import Any, Final, Self

from haystack import default_from_dict, default_to_dict
from haystack.dataclasses import Document
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from haystack.errors import FilterError

from codeweaver_backends import (
    BlockingBackend,
    CodeWeaverFactory,
    CollectionExistsError,
    FilterCondition,
    FilterLike,
    InvalidInputError,
    SearchFilter,
    VectorPoint,
)

__all__ = ["BackendDocumentStore", "search_filter_of"]


class BackendDocumentStore:
    """One collection; a document is a point with the payload ``{"document": {…}, "is_embedded": bool}``.

    A point has a vector in any case: that of a document without embedding is a placeholder, which no retrieval finds.
    """

    def __init__(
        self,
        backend: str,
        *,
        dimension: int,
        collection: str = "documents",
        distance_metric: str = "cosine",
        settings: dict[str, Any] | None = None,
        factory: CodeWeaverFactory | None = None,
    ) -> None:
        """``backend`` is an engine's name with its ``settings``, or a deployment's: then pipelines hold no secret."""
        self._own = {
            "backend": backend,
            "dimension": dimension,
            "collection": collection,
            "distance_metric": distance_metric,
            "settings": settings,
        }
        self._collection = collection
        self._placeholder = [1.0] + [0.0] * (dimension - 1)  # the zero vector has no cosine
        self._backend = BlockingBackend((factory or CodeWeaverFactory()).create_backend(backend, **(settings or {})))
        with suppress(CollectionExistsError):
            self._backend.create_collection(collection, dimension, distance_metric)

    def to_dict(self) -> dict[str, Any]:
        return default_to_dict(self, **self._own)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        store: Self = default_from_dict(cls, data)
        return store

    def close(self) -> None:
        """Close the backend. What is stored stays."""
        self._backend.close()

    def drop(self) -> None:
        """Delete the collection, and close."""
        with self._backend as backend:
            backend.delete_collection(self._collection)

    def count_documents(self) -> int:
        return self._backend.count_vectors(self._collection)

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """The documents that match, in no order that means something."""
        search_filter = search_filter_of(filters) if filters else None
        try:
            return [
                _document(point.vector, point.payload or {})
                for point in self._backend.scan(self._collection, search_filter, with_vectors=True)
            ]
        except InvalidInputError as error:
            raise FilterError(str(error)) from error

    def write_documents(self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE) -> int:
        """Write the documents and tell how many were written. Without a policy a duplicate is an error."""
        if not isinstance(documents, list) or not all(isinstance(one, Document) for one in documents):
            raise ValueError("documents must be a list of Document")
        if policy is not DuplicatePolicy.OVERWRITE:
            documents = self._new(documents, is_refused=policy is not DuplicatePolicy.SKIP)
        self._backend.upsert_vectors(self._collection, map(self._point, documents))
        return len(documents)

    def delete_documents(self, document_ids: list[str]) -> None:
        self._backend.delete_vectors(self._collection, document_ids)

    def embedding_retrieval(
        self, query_embedding: list[float], *, filters: dict[str, Any] | None = None, top_k: int = 10
    ) -> list[Document]:
        """The nearest documents that match, best first, with the contract's scores: what a retriever calls."""
        wanted: list[FilterLike] = [FilterCondition("is_embedded", "eq", True)]
        if filters:
            wanted.append(search_filter_of(filters))
        search_filter = SearchFilter(must=wanted)
        try:
            hits = self._backend.search_vectors(
                self._collection, query_embedding, top_k, search_filter, with_vectors=True
            )
        except InvalidInputError as error:
            raise FilterError(str(error)) from error
        return [_document(hit.vector, hit.payload or {}, score=hit.score) for hit in hits]

    def _new(self, documents: list[Document], *, is_refused: bool) -> list[Document]:
        """The documents that are not stored yet, each id once; or, if refused, an error for the first that is."""
        ids = [one.id for one in documents]
        stored = self._backend.get_vectors(self._collection, ids, with_payload=False, with_vectors=False)
        taken: set[Any] = {point.id for point in stored}
        found = []
        for one in documents:
            if one.id not in taken:
                found.append(one)
            elif is_refused:
                raise DuplicateDocumentError(f"a document with the id {one.id!r} is there already")
            taken.add(one.id)
        return found

    def _point(self, document: Document) -> VectorPoint:
        content = document.to_dict(flatten=False)
        embedding = content.pop("embedding")
        payload = {"document": content, "is_embedded": embedding is not None}
        return VectorPoint(document.id, self._placeholder if embedding is None else embedding, payload)


def _document(vector: Iterable[float] | None, payload: Mapping[str, Any], **changed: Any) -> Document:
    embedding = [float(one) for one in vector or ()] if payload["is_embedded"] else None
    return Document.from_dict({**payload["document"], "embedding": embedding, **changed})


# --- filters ---------------------------------------------------------------------------------------------------------

_FIELDS: Final = {field.name for field in fields(Document)}
_ORDERS: Final = {">": "gt", ">=": "ge", "<": "lt", "<=": "le"}


def search_filter_of(filters: Mapping[str, Any]) -> SearchFilter:
    """The contract's filter that means what Haystack's does. Raises ``FilterError`` for one that is malformed.

    To Haystack a field that is missing is ``None``, and ``NOT`` of several conditions is that not all of them hold.
    """
    if not isinstance(filters, Mapping):
        raise FilterError(f"a filter is a dictionary, not a {type(filters).__name__}")
    try:
        operator = filters["operator"]
        if "field" in filters:
            return _comparison(_path(filters["field"]), operator, filters["value"])
        parts: list[FilterLike] = [search_filter_of(one) for one in filters["conditions"]]
    except KeyError as error:
        raise FilterError(f"the filter has no {error}") from error
    match operator:
        case "AND":
            return SearchFilter(must=parts)
        case "OR":
            return SearchFilter(should=parts) if parts else _not(SearchFilter())  # of no conditions none holds
        case "NOT":
            return _not(SearchFilter(must=parts))
    raise FilterError(f"the operator {operator!r} is unknown")


def _path(field: str) -> tuple[str, ...]:
    first, *rest = field.split(".")
    return ("document", first, *rest) if first in _FIELDS else ("document", "meta", first, *rest)


def _comparison(path: tuple[str, ...], operator: str, value: Any) -> SearchFilter:
    match operator:
        case "==":
            return _some(path, [value])
        case "!=":
            return _not(_some(path, [value]))
        case ">" | ">=" | "<" | "<=":
            if value is None:  # no comparison to the contract; to Haystack one that finds nothing
                return _some(path, [])
            return SearchFilter(must=[FilterCondition(path, _ORDERS[operator], value)])
        case "in" | "not in":
            if not isinstance(value, list):
                raise FilterError(f"the value of {operator!r} must be a list")
            return _some(path, value) if operator == "in" else _not(_some(path, value))
    raise FilterError(f"the operator {operator!r} is unknown")


def _some(path: tuple[str, ...], values: list[Any]) -> SearchFilter:
    given = [one for one in values if one is not None]
    equal: list[FilterLike] = [FilterCondition(path, "in", given)]
    if len(given) < len(values):
        equal += [FilterCondition(path, "is_null", True), FilterCondition(path, "exists", False)]
    return SearchFilter(should=equal)


def _not(one: FilterLike) -> SearchFilter:
    return SearchFilter(must_not=[one])
