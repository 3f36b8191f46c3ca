"""The definition of a collection's text index: which fields, how weighted; what it makes of payloads and of queries.

It is stored with the collection as JSON, so that every client that writes makes the same sparse vectors.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
import orjson

from codeweaver_backends.errors import EngineError, InvalidInputError, InvalidOptionError
from codeweaver_backends.sdk.hybrid.terms import term_index, text_indices
from codeweaver_backends.sdk.hybrid.tokenizer import tokens
from codeweaver_backends.sdk.hybrid.vectors import SparseRow, SparseRows, sparse_row
from codeweaver_backends.sdk.hybrid.weights import BUILT_IN, TermStatistics, document_weights
from codeweaver_backends.sdk.index.facts import Path

__all__ = ["DEFAULT_AVERAGE_LENGTH", "IndexType", "SparseIndex", "field_strings"]

IndexType: TypeAlias = Literal["keyword", "text", "bm25"]

DEFAULT_AVERAGE_LENGTH: Final = 64.0
"""Terms of an average document: a chunk of code or a paragraph."""
_VERSION: Final = 1
_MAX_FIELDS: Final = 64
_MAX_AVERAGE_LENGTH: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class SparseIndex:
    """What ``create_sparse_index`` was asked for.

    ========  ==========================================  ======================================  ======================
    type      a document's terms                          a query's terms                         score
    ========  ==========================================  ======================================  ======================
    bm25      tokens, weighted by BM25                    tokens, weighted by count and idf       BM25
    text      tokens, 1 each                              tokens, 1 each                          query terms found
    keyword   each string as it stands, 1 each            the query as it stands                  1
    ========  ==========================================  ======================================  ======================

    The strings of all fields are one document. An empty string, and one without tokens, adds nothing.
    """

    fields: tuple[Path, ...]
    index_type: IndexType = "bm25"
    average_length: float = DEFAULT_AVERAGE_LENGTH
    """Terms of an average document, for BM25 only."""
    term_statistics: TermStatistics | None = None
    """The caller's own table, for BM25 only; ``None`` is the one that comes with the package."""

    # --- from a caller ---

    @classmethod
    def from_arguments(cls, fields: object, index_type: object, options: Mapping[str, Any]) -> SparseIndex:
        """Judge the arguments of ``create_sparse_index``.

        ``fields`` are dotted paths, or tuples of keys; the options are ``average_length`` (1 to 10^6) and
        ``term_statistics`` (``"code"``, a ``TermStatistics`` or its dict), for BM25 only. Raises ``InvalidOptionError``
        and ``InvalidInputError``.
        """
        for option in options:
            if option not in ("average_length", "term_statistics"):
                raise InvalidOptionError(f"unknown option {option!r}; known are average_length, term_statistics")
            if index_type != "bm25":
                raise InvalidOptionError(f"{option} belongs to the index_type bm25")
        if index_type not in get_args(IndexType):
            raise InvalidOptionError(f"index_type must be one of {', '.join(get_args(IndexType))}")
        return cls(
            _paths(fields),
            index_type,  # type: ignore[arg-type]  # one of them, as was asked above
            _average_length(options.get("average_length", DEFAULT_AVERAGE_LENGTH)),
            _statistics(options.get("term_statistics", BUILT_IN)),
        )

    def arguments(self) -> dict[str, Any]:
        """What ``create_sparse_index`` makes the same of, by the names of its arguments."""
        told: dict[str, Any] = {"fields": list(self.fields), "index_type": self.index_type}
        if self.index_type == "bm25":
            table = BUILT_IN if self.term_statistics is None else self.term_statistics.as_dict()
            told |= {"average_length": self.average_length, "term_statistics": table}
        return told

    # --- stored ---

    def to_json(self) -> bytes:
        """The definition as a document that ``from_json`` reads: compact JSON with a version."""
        table = BUILT_IN if self.term_statistics is None else self.term_statistics.as_dict()
        return orjson.dumps(
            {
                "version": _VERSION,
                "fields": self.fields,
                "index_type": self.index_type,
                "average_length": self.average_length,
                "term_statistics": table,
            }
        )

    @classmethod
    def from_json(cls, document: bytes | str) -> SparseIndex:
        """What ``to_json`` wrote. Raises ``EngineError`` for another version, and for what is none."""
        try:
            stored = orjson.loads(document)
            if stored["version"] != _VERSION:
                raise EngineError(
                    f"the sparse index was defined by another version of this package: {stored['version']}"
                )
            return cls(
                tuple(map(tuple, stored["fields"])),
                stored["index_type"],
                stored["average_length"],
                _statistics(stored["term_statistics"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise EngineError("the stored definition of the sparse index cannot be read") from error

    # --- what it makes ---

    def documents(self, payloads: Sequence[Mapping[str, Any]]) -> SparseRows:
        """The sparse vectors of payloads, a row each; empty where the fields hold no term."""
        read = self._keywords if self.index_type == "keyword" else self._tokens
        bags = [read(payload) for payload in payloads]
        if self.index_type == "bm25":
            return document_weights(bags, self.average_length)
        return SparseRows.of(_ones(bag) for bag in bags)

    def _tokens(self, payload: Mapping[str, Any]) -> Counter[int]:
        # A newline is in no word, and nothing composes with it: the strings may be read as one.
        text = "\n".join(chain.from_iterable(field_strings(payload, path) for path in self.fields))
        return Counter(text_indices(text))

    def _keywords(self, payload: Mapping[str, Any]) -> Counter[int]:
        strings = chain.from_iterable(field_strings(payload, path) for path in self.fields)
        return Counter(map(term_index, filter(None, strings)))

    def query(self, text: str) -> SparseRow:
        """The sparse vector of a text query, empty if it has no term. ``InvalidInputError`` for a lone surrogate."""
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidInputError("sparse_query must not hold a lone surrogate") from None
        if self.index_type == "keyword":
            return _ones([term_index(text)] if text else [])
        terms = Counter(tokens(text))
        if self.index_type == "text":
            return _ones(map(term_index, terms))
        idf = (self.term_statistics or TermStatistics.built_in()).idf
        return sparse_row({term: count * idf(term) for term, count in terms.items()})


def field_strings(payload: Mapping[str, Any], path: Path) -> Iterable[str]:
    """The string at a path, or the strings of the list there; nothing else. A path leads into no list."""
    value: Any = payload
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return ()
        value = value[key]
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple):
        return [element for element in value if isinstance(element, str)]
    return ()


def _ones(indices: Iterable[int]) -> SparseRow:
    distinct = np.array(sorted(set(indices)), np.uint32)
    return SparseRow(distinct, np.ones(len(distinct), np.float32))


# --- arguments -------------------------------------------------------------------------------------------------------


def _paths(fields: object) -> tuple[Path, ...]:
    if not isinstance(fields, list | tuple):
        raise InvalidOptionError(f"fields must be a list of paths, not a {type(fields).__name__}")
    if not 1 <= len(fields) <= _MAX_FIELDS:
        raise InvalidInputError(f"fields must name 1 to {_MAX_FIELDS} fields, not {len(fields)}")
    return tuple(dict.fromkeys(map(_path, fields)))


def _path(field: object) -> Path:
    path: Any = tuple(field.split(".")) if type(field) is str else field
    if type(path) is not tuple or not path or not all(type(key) is str for key in path):
        raise InvalidOptionError("a field must be a dotted path or a tuple of keys")
    if type(field) is str and "" in path:
        raise InvalidInputError(f"field {field!r} has an empty segment; spell it as a tuple of keys if that is meant")
    try:
        "".join(path).encode()
    except UnicodeEncodeError:
        raise InvalidInputError("a field must not hold a lone surrogate") from None
    return path


def _average_length(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidOptionError(f"average_length must be a number, not a {type(value).__name__}")
    if not (math.isfinite(value) and 1 <= value <= _MAX_AVERAGE_LENGTH):
        raise InvalidInputError(f"average_length must be a number of 1 to {_MAX_AVERAGE_LENGTH}")
    return float(value)


def _statistics(value: object) -> TermStatistics | None:
    if value == BUILT_IN:
        return None
    if isinstance(value, TermStatistics):
        return value
    if isinstance(value, Mapping):
        return TermStatistics.from_dict(value)
    raise InvalidOptionError(f"term_statistics must be {BUILT_IN!r} or a table of your own")
