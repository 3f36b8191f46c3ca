"""Hybrid search: texts that are cut, weighed or kept in another way than the contract's, and slots that go stale."""

from __future__ import annotations

import math
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from codeweaver_backends.sdk.hybrid.definition import SparseIndex, field_strings
from codeweaver_backends.sdk.hybrid.fusion import Leg
from codeweaver_backends.sdk.hybrid.terms import term_index
from codeweaver_backends.sdk.hybrid.tokenizer import parts, tokens
from codeweaver_backends.sdk.hybrid.vectors import SparseRow, SparseRows, sparse_row
from codeweaver_backends.sdk.hybrid.weights import TermStatistics, document_weights
from codeweaver_backends.sdk.lifetime import operation
from codeweaver_backends.sdk.requests import Slot, SparseQuery
from codeweaver_backends.types import VectorPoint
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Collection, Rig


class _Reading(SparseIndex):
    """Each step of an index as a method, correct as it stands."""

    def terms(self, text: str) -> list[str]:
        return tokens(text)

    def index(self, term: str) -> int:
        return term_index(term)

    def strings(self, payload: Mapping[str, Any], path: tuple[str, ...]) -> Any:
        return field_strings(payload, path)

    def idf(self, term: str) -> float:
        return (self.term_statistics or TermStatistics.built_in()).idf(term)

    def length(self) -> float:
        return self.average_length

    def keyword(self, text: str) -> str:
        return text

    def documents(self, payloads: Sequence[Mapping[str, Any]]) -> SparseRows:
        if self.index_type == "bm25":
            return document_weights([self._tokens(one) for one in payloads], self.length())
        return super().documents(payloads)

    def _tokens(self, payload: Mapping[str, Any]) -> Counter[int]:
        strings = (text for path in self.fields for text in self.strings(payload, path))
        return Counter(self.index(term) for text in strings for term in self.terms(text))

    def _keywords(self, payload: Mapping[str, Any]) -> Counter[int]:
        strings = (text for path in self.fields for text in self.strings(payload, path))
        return Counter(self.index(self.keyword(text)) for text in strings if text)

    def query(self, text: str) -> SparseRow:
        super().query(text)  # which refuses what is no text
        if self.index_type == "keyword":
            return sparse_row({self.index(self.keyword(text)): 1.0} if text else {})
        counts = Counter(self.terms(text))
        if self.index_type == "text":
            return sparse_row(dict.fromkeys(map(self.index, counts), 1.0))
        weights: Counter[int] = Counter()
        for term, count in counts.items():
            weights[self.index(term)] += count * self.idf(term)  # type: ignore[assignment]
        return sparse_row(weights)


class _Indexed(Rig):
    """Reads texts in another way."""

    reading: ClassVar[type[_Reading]] = _Reading

    async def _sparse_index(self, collection: Collection) -> SparseIndex | None:
        index = await super()._sparse_index(collection)
        if index is None:
            return None
        return self.reading(index.fields, index.index_type, index.average_length, index.term_statistics)

    async def _known_index(self, collection: Collection) -> SparseIndex | None:
        return await self._sparse_index(collection)

    async def _write_texts(self, collection: Collection, index: SparseIndex, points: Sequence[VectorPoint]) -> None:
        await super()._write_texts(collection, (await self._sparse_index(collection)) or index, points)


# --- terms -----------------------------------------------------------------------------------------------------------


@plant("hyb-terms-case", "Terms keep their case.")
class _Case(_Indexed):
    class reading(_Reading):  # noqa: N801
        def terms(self, text: str) -> list[str]:
            return re.findall(r"\w+", unicodedata.normalize("NFKC", text))


@plant("hyb-terms-nfkc", "Texts are not brought to NFKC.")
class _Nfkc(_Indexed):
    class reading(_Reading):  # noqa: N801
        def terms(self, text: str) -> list[str]:
            return [term for word in re.findall(r"\w+", text) for term in parts(word)]


@plant("hyb-terms-cjk", "A run of Han, kana or hangul is one term.")
class _Cjk(_Indexed):
    class reading(_Reading):  # noqa: N801
        def terms(self, text: str) -> list[str]:
            text = unicodedata.normalize("NFKC", text)
            return [term for word in re.findall(r"\w+", text) for term in parts(word)]


@plant("hyb-terms-unsplit", "Identifiers are not cut.")
class _Unsplit(_Indexed):
    class reading(_Reading):  # noqa: N801
        def terms(self, text: str) -> list[str]:
            return [term for term in tokens(text) if term in unicodedata.normalize("NFKC", text).lower()][-1:]


@plant("hyb-terms-no-whole", "Identifiers are cut, and their whole is lost.")
class _NoWhole(_Indexed):
    class reading(_Reading):  # noqa: N801
        def terms(self, text: str) -> list[str]:
            words = unicodedata.normalize("NFKC", text).split()
            wholes = {word.strip("_").lower() for word in words if len(parts(word)) > 1}
            return [term for term in tokens(text) if term not in wholes]


@plant("hyb-terms-digits", "A digit begins no new part: V1Api is one word.")
class _Digits(_Indexed):
    class reading(_Reading):  # noqa: N801
        def terms(self, text: str) -> list[str]:
            return tokens(re.sub(r"(?<=[0-9])[A-Z]", lambda found: found[0].lower(), text))


@plant("hyb-terms-stop-words", "Words like 'the' and 'def' are left out.")
class _StopWords(_Indexed):
    class reading(_Reading):  # noqa: N801
        def terms(self, text: str) -> list[str]:
            return [term for term in tokens(text) if term not in ("the", "a", "and", "def", "return", "t", "q")]


@plant("hyb-terms-stemmed", "Plurals are cut.")
class _Stemmed(_Indexed):
    class reading(_Reading):  # noqa: N801
        def terms(self, text: str) -> list[str]:
            return [term.removesuffix("s") if len(term) > 2 else term for term in tokens(text)]


@plant("hyb-index-leading-zeros", "007 and 7 are one term.")
class _LeadingZeros(_Indexed):
    class reading(_Reading):  # noqa: N801
        def index(self, term: str) -> int:
            return int(term) if re.fullmatch("[0-9]{1,9}", term) else term_index(term)


class _DictIndexed(Rig):
    """Reads the keys of sparse vectors in another way."""

    def key(self, term: Any) -> Any:
        return term

    def _keyed(self, vector: Any) -> Any:
        if not isinstance(vector, dict):
            return vector
        keyed: dict[Any, Any] = {}
        for term, weight in vector.items():
            key = self.key(term)
            keyed[key] = weight if key not in keyed else keyed[key] + weight
        return keyed

    @operation
    async def upsert_vectors(self, collection_name: str, vectors: Any) -> None:
        if isinstance(vectors, list):
            vectors = [
                replace(one, sparse_vector=self._keyed(one.sparse_vector)) if isinstance(one, VectorPoint) else one
                for one in vectors
            ]
        await super().upsert_vectors(collection_name, vectors)

    async def hybrid_search(
        self, collection_name: str, dense_vector: Any, sparse_query: Any, *args: Any, **kwargs: Any
    ) -> Any:
        keyed = self._keyed(sparse_query)
        return await super().hybrid_search(collection_name, dense_vector, keyed, *args, **kwargs)


@plant("hyb-index-crc", "Terms hash by CRC-32.", side="above")
class _Crc(_DictIndexed):
    def key(self, term: Any) -> Any:
        is_term = isinstance(term, str) and not term.isdigit() and "\ud800" not in term
        return zlib.crc32(term.encode()) % 10**9 if is_term else term


@plant("hyb-index-long-digits", "Digits beyond nine are an index, modulo 10^9.", side="above")
class _LongDigits(_DictIndexed):
    def key(self, term: Any) -> Any:
        is_long = isinstance(term, str) and re.fullmatch("[1-9][0-9]{9,}", term)
        return int(term) % 10**9 if is_long else term


@plant("hyb-index-digits-hashed", "Digit strings hash like any term.", side="above")
class _DigitsHashed(_DictIndexed):
    def key(self, term: Any) -> Any:
        return f"d{term}" if isinstance(term, str) and term.isdigit() else term


@plant("hyb-last-term-wins", "Of terms with one index the last one's weight counts.", side="above")
class _LastWins(_DictIndexed):
    def _keyed(self, vector: Any) -> Any:
        if not isinstance(vector, dict) or not all(type(one) in (str, int) and one != "\ud800" for one in vector):
            return vector
        return {term_index(one) if isinstance(one, str) else one: weight for one, weight in vector.items()}


@plant("hyb-negative-dropped", "Negative weights are dropped without a word.", side="above")
class _NegativeDropped(_DictIndexed):
    def _keyed(self, vector: Any) -> Any:
        if not isinstance(vector, dict):
            return vector
        return {term: one for term, one in vector.items() if not (type(one) is float and one < 0)}


@plant("hyb-bad-weight-zero", "A weight that is not finite is taken for 0.", side="above")
class _BadWeightZero(_DictIndexed):
    def _keyed(self, vector: Any) -> Any:
        if not isinstance(vector, dict):
            return vector
        return {term: 0.0 if type(one) is float and not math.isfinite(one) else one for term, one in vector.items()}


# --- weights ---------------------------------------------------------------------------------------------------------


@plant("hyb-idf-none", "Rare terms count as frequent ones.")
class _IdfNone(_Indexed):
    class reading(_Reading):  # noqa: N801
        def idf(self, term: str) -> float:
            return 1.0


@plant("hyb-idf-robertson", "idf is the classic one, which may be negative, floored.")
class _IdfClassic(_Indexed):
    class reading(_Reading):  # noqa: N801
        def idf(self, term: str) -> float:
            table = self.term_statistics or TermStatistics.built_in()
            df = table.counts.get(term, table.other)
            return max(1e-6, math.log((table.documents - df + 0.5) / (df + 0.5)))


@plant("hyb-statistics-ignored", "A table of the user's is accepted and ignored.")
class _StatisticsIgnored(_Indexed):
    class reading(_Reading):  # noqa: N801
        def idf(self, term: str) -> float:
            return TermStatistics.built_in().idf(term)


@plant("hyb-length-ignored", "average_length is accepted and ignored.")
class _LengthIgnored(_Indexed):
    class reading(_Reading):  # noqa: N801
        def length(self) -> float:
            return 64.0


@plant("hyb-length-none", "Long documents count as short ones.")
class _LengthNone(_Indexed):
    class reading(_Reading):  # noqa: N801
        def length(self) -> float:
            return 1e9


@plant("hyb-counts-none", "A term counts once, however often it occurs.")
class _CountsNone(_Indexed):
    class reading(_Reading):  # noqa: N801
        def _tokens(self, payload: Mapping[str, Any]) -> Counter[int]:
            return Counter(set(super()._tokens(payload)))


@plant("hyb-query-counts-none", "A term that is asked for twice counts once.")
class _QueryCountsNone(_Indexed):
    class reading(_Reading):  # noqa: N801
        def query(self, text: str) -> SparseRow:
            return super().query(" ".join(dict.fromkeys(text.split())))


@plant("hyb-idf-of-collection", "idf counts the points of the collection.")
class _IdfOfCollection(Rig):
    async def _search_sparse(self, collection: Collection, query: SparseQuery) -> Leg:
        if query.slot is Slot.TEXT:
            table = TermStatistics.built_in()
            size = len(collection.points)
            rows = [set(point.text.indices.tolist()) for point in collection.points.values()]
            weights = {}
            for index, weight in query.vector.as_dict().items():
                df = sum(index in row for row in rows)
                weights[index] = weight / table.idf("unheardof") * math.log(1 + (size - df + 0.5) / (df + 0.5))
            query = replace(query, vector=sparse_row(weights))
        return await super()._search_sparse(collection, query)


@plant("hyb-text-counted", "An index of type text is BM25.")
class _TextCounted(_Indexed):
    class reading(_Reading):  # noqa: N801
        def documents(self, payloads: Sequence[Mapping[str, Any]]) -> SparseRows:
            if self.index_type == "keyword":
                return super().documents(payloads)
            return document_weights([self._tokens(one) for one in payloads], 64.0)


@plant("hyb-keyword-lowered", "An index of type keyword ignores case.")
class _KeywordLowered(_Indexed):
    class reading(_Reading):  # noqa: N801
        def keyword(self, text: str) -> str:
            return text.lower()


@plant("hyb-keyword-stripped", "An index of type keyword strips spaces.")
class _KeywordStripped(_Indexed):
    class reading(_Reading):  # noqa: N801
        def keyword(self, text: str) -> str:
            return text.strip()


# --- fields ----------------------------------------------------------------------------------------------------------


@plant("hyb-fields-first", "Only the first field is indexed.")
class _FieldsFirst(_Indexed):
    class reading(_Reading):  # noqa: N801
        def strings(self, payload: Mapping[str, Any], path: tuple[str, ...]) -> Any:
            return field_strings(payload, path) if path == self.fields[0] else ()


@plant("hyb-fields-lists", "Strings in lists are not indexed.")
class _FieldsLists(_Indexed):
    class reading(_Reading):  # noqa: N801
        def strings(self, payload: Mapping[str, Any], path: tuple[str, ...]) -> Any:
            found = field_strings(payload, path)
            return found if isinstance(found, tuple) else ()


@plant("hyb-fields-dotted", "A dotted field is a key with dots.")
class _FieldsDotted(_Indexed):
    class reading(_Reading):  # noqa: N801
        def strings(self, payload: Mapping[str, Any], path: tuple[str, ...]) -> Any:
            return field_strings(payload, (".".join(path),))


@plant("hyb-fields-numbers", "Numbers are indexed as their digits.")
class _FieldsNumbers(_Indexed):
    class reading(_Reading):  # noqa: N801
        def strings(self, payload: Mapping[str, Any], path: tuple[str, ...]) -> Any:
            value: Any = payload
            for key in path:
                value = value.get(key) if isinstance(value, dict) else None
            return [str(value)] if isinstance(value, int) else field_strings(payload, path)


@plant("hyb-text-cut", "Of a text the first 8,000 characters are indexed.")
class _TextCut(_Indexed):
    class reading(_Reading):  # noqa: N801
        def terms(self, text: str) -> list[str]:
            return tokens(text[:8_000])
