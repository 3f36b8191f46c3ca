"""The weights of terms in documents and in queries: BM25 that needs no statistics of the collection.

The formula is Robertson's (Robertson, Walker, Jones, Hancock-Beaulieu and Gatford: *Okapi at TREC-3*, 1994; Robertson
and Zaragoza: *The Probabilistic Relevance Framework: BM25 and Beyond*, 2009), split in the two factors of a dot
product::

    document   w(t, d) = tf · (k1 + 1) / (tf + k1 · (1 − b + b · len / average_length))       k1 = 1.2, b = 0.75
    query      w(t, q) = qtf · idf(t),   idf(t) = ln(1 + (N − df(t) + 0.5) / (df(t) + 0.5))

``tf`` and ``qtf`` count the term, ``len`` all terms of the document. Two things differ from the books: the average
length is a constant of the index, and ``N`` and ``df`` are those of a table that goes with it. The idf is the one that
is never negative (as Lucene's), and so are the weights.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import chain
from typing import Any, Final

import numpy as np
import orjson

from codeweaver_backends.errors import InvalidInputError, InvalidOptionError
from codeweaver_backends.sdk.hybrid.vectors import SparseRows

__all__ = ["BUILT_IN", "K1", "MAX_STATISTICS_TERMS", "B", "TermStatistics", "document_weights"]

K1: Final = 1.2
"""How soon more occurrences of a term stop to count for more."""
B: Final = 0.75
"""How much a long document's terms count for less, 0 to 1."""
BUILT_IN: Final = "code"
"""The name of the table that comes with the package, counted over 50,000 Python functions."""
MAX_STATISTICS_TERMS: Final = 4_096
"""Terms of one table: it is stored with the index. More than 2,000 gain nothing that was measured."""
_MAX_DOCUMENTS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class TermStatistics:
    """In how many of ``documents`` documents a term occurs.

    Attributes:
        documents: N, 1 to 10^9.
        counts: df of each known term, 0 to N; terms as ``tokenizer.tokens`` gives them.
        other: df of every other term, 0 to N. For a table of every term: 0; for one of the most frequent: about what
            the terms that were left out have.
    """

    documents: int
    counts: Mapping[str, int]
    other: int = 0

    def __post_init__(self) -> None:
        if type(self.documents) is not int or not 1 <= self.documents <= _MAX_DOCUMENTS:
            raise InvalidInputError("term_statistics: documents must be an integer of 1 to 10^9")
        if not isinstance(self.counts, Mapping):
            raise InvalidOptionError("term_statistics: counts must be a dict of term to number of documents")
        if len(self.counts) > MAX_STATISTICS_TERMS:
            raise InvalidInputError(f"term_statistics: at most {MAX_STATISTICS_TERMS} terms, not {len(self.counts)}")
        if not all(type(term) is str for term in self.counts):
            raise InvalidOptionError("term_statistics: every term must be a string")
        if not all(type(df) is int and 0 <= df <= self.documents for df in (*self.counts.values(), self.other)):
            raise InvalidInputError("term_statistics: every count must be an integer of 0 to documents")
        object.__setattr__(self, "counts", dict(self.counts))  # the caller's may change

    def idf(self, term: str) -> float:
        """The inverse document frequency of a term, above 0."""
        df = self.counts.get(term, self.other)
        return math.log(1 + (self.documents - df + 0.5) / (df + 0.5))

    def as_dict(self) -> dict[str, Any]:
        """The form of a table's file: ``{"documents": N, "other": df, "counts": {term: df}}``."""
        return {"documents": self.documents, "other": self.other, "counts": dict(self.counts)}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> TermStatistics:
        """What ``as_dict`` gave; ``other`` may be absent. Raises ``InvalidOptionError``."""
        if not {"documents", "counts"} <= table.keys() <= {"documents", "counts", "other"}:
            raise InvalidOptionError("term_statistics must have the keys documents, counts and, if need be, other")
        return cls(**table)

    @classmethod
    @cache
    def built_in(cls) -> TermStatistics:
        """The table that comes with the package: 2,000 terms of 50,000 functions, 30 for any other term."""
        file = files("codeweaver_backends.sdk.hybrid") / "term_statistics" / f"{BUILT_IN}.json"
        return cls.from_dict(orjson.loads(file.read_bytes()))


def document_weights(frequencies: Sequence[Counter[int]], average_length: float) -> SparseRows:
    """The document weights of many bags of terms, index → ``tf``: one row each, empty for an empty bag."""
    sizes = np.fromiter(map(len, frequencies), np.int64, len(frequencies))
    offsets = np.zeros(len(frequencies) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    entries = int(offsets[-1])
    indices = np.fromiter(chain.from_iterable(frequencies), np.int64, entries)
    tf = np.fromiter(chain.from_iterable(bag.values() for bag in frequencies), np.float64, entries)
    rows = np.repeat(np.arange(len(frequencies)), sizes)
    order = np.argsort(rows << 30 | indices)  # an index has 30 bits: sorts each row by index
    indices, tf = indices[order], tf[order]
    lengths = np.bincount(rows, weights=tf, minlength=len(frequencies))
    norms = K1 * (1 - B + B * lengths / average_length)
    weights = tf * (K1 + 1) / (tf + norms[rows])
    return SparseRows(offsets, indices.astype(np.uint32), weights.astype(np.float32))
