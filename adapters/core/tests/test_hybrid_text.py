"""Text as sparse vectors: tokenizer, term indices, sparse vectors, weights and the definition of an index."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeweaver_backends.errors import EngineError, InvalidInputError, InvalidOptionError, InvalidVectorError
from codeweaver_backends.sdk.hybrid import terms
from codeweaver_backends.sdk.hybrid.definition import SparseIndex, field_strings
from codeweaver_backends.sdk.hybrid.terms import INDEX_LIMIT, term_index, text_indices
from codeweaver_backends.sdk.hybrid.tokenizer import tokens
from codeweaver_backends.sdk.hybrid.vectors import LARGEST_WEIGHT, SparseRow, SparseRows, sparse_row
from codeweaver_backends.sdk.hybrid.weights import (
    BUILT_IN,
    MAX_STATISTICS_TERMS,
    TermStatistics,
    document_weights,
)
from codeweaver_conformance import oracle_hybrid

# --- tokenizer -------------------------------------------------------------------------------------------------------

TEXTS = [
    ("", ""),
    ("HTTPServer", "http server httpserver"),
    ("snake_case", "snake case snake_case"),
    ("getURL", "get url geturl"),
    ("__init__", "init"),
    ("_", ""),
    ("a__B_", "a b a__b"),
    ("CoreV1Api", "core v1 api corev1api"),
    ("Pandas4Warning", "pandas4 warning pandas4warning"),
    ("sha256 utf8 3d", "sha256 utf8 3d"),
    ("007 4294967279 1.5", "007 4294967279 1 5"),
    ("don't stop", "don t stop"),
    ("日本語", "日本 本語"),
    ("語", "語"),
    ("ab日本_cdE語", "ab cd e cde 日本 語"),
    ("ファイル", "ファ ァイ イル"),
    ("ﾌｧｲﾙ", "ファ ァイ イル"),
    ("한국어", "한국 국어"),
    ("ﬁle", "file"),
    ("ＨＴＴＰ", "http"),
    ("cafe\u0301", "café"),
    ("Größe ÜberGröße", "größe über größe übergröße"),
    ("ПриветМир", "привет мир приветмир"),
    ("q\u0307x", "q x"),  # no letter with this mark is composed: it ends the word
    ("\"'(){}*? AND \\ \n\0%", "and"),
    ("🙂 c++", "c"),
    ("x² ٣٤", "x2 ٣٤"),
]


@pytest.mark.parametrize(("text", "expected"), TEXTS)
def test_tokens(text: str, expected: str) -> None:
    assert sorted(tokens(text)) == sorted(expected.split())


@given(st.text() | st.text("aAbB_019 éÉßΣς日語한\u0301ﬁⅣ\U00020000"))
def test_tokens_are_those_of_the_oracle(text: str) -> None:
    assert sorted(tokens(text)) == sorted(oracle_hybrid.tokenize(text))


@given(st.text())
def test_a_text_gives_the_indices_of_its_tokens(text: str) -> None:
    assert Counter(text_indices(text)) == Counter(map(oracle_hybrid.index_of, oracle_hybrid.tokenize(text)))


@pytest.mark.parametrize(
    "text", ["a" * 10**5, "aB" * 10**5, "éÉ" * 10**5, "_" * 10**5, "日本語" * 10**5, "a日" * 10**5]
)
def test_long_words_are_read_and_not_kept(text: str) -> None:
    before = len(terms._WORDS)
    found = Counter(text_indices(text))
    assert sum(found.values()) == len(tokens(text))
    assert len(terms._WORDS) <= before + 8  # the bigrams


def test_the_memory_of_words_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terms, "_CACHE_SIZE", 10)
    for number in range(100):
        [index] = text_indices(f"word{number}x")
        assert index == oracle_hybrid.index_of(f"word{number}x")
        assert len(terms._WORDS) <= 10


# --- term indices ----------------------------------------------------------------------------------------------------

INDICES = [
    ("0", 0),
    ("7", 7),
    ("999999999", 999_999_999),
    # fixed for ever: BLAKE2b, 8 bytes, modulo 10^9
    ("", 258_269_876),
    ("the", 258_796_590),
    ("007", 256_221_117),
    ("1000000000", 237_939_505),
    ("4294967279", 715_931_577),
    ("日本", 566_445_370),
    ("snake_case", 895_283_670),
    ("٣", 701_995_102),
    ("-1", 711_253_734),
    (" 1", 522_651_860),
    ("1\n", 913_236_908),
]


@pytest.mark.parametrize(("term", "expected"), INDICES)
def test_the_index_of_a_term(term: str, expected: int) -> None:
    assert term_index(term) == expected == oracle_hybrid.index_of(term)


@given(st.text() | st.from_regex("[0-9]{1,12}", fullmatch=True))
def test_indices_are_those_of_the_oracle(term: str) -> None:
    assert 0 <= term_index(term) == oracle_hybrid.index_of(term) < INDEX_LIMIT


# --- sparse vectors of callers ---------------------------------------------------------------------------------------


def test_a_callers_vector() -> None:
    row = sparse_row({"the": 1.5, 7: 2, "9": np.float32(0.25), "zero": 0.0, "tiny": 1e-16, "-0": -0.0})
    assert row.as_dict() == {7: 2.0, 9: 0.25, term_index("the"): 1.5}
    assert row.indices.tolist() == sorted(row.indices.tolist())
    assert row.indices.dtype == np.uint32
    assert row.weights.dtype == np.float32
    assert row


def test_weights_of_one_index_are_added() -> None:
    assert sparse_row({7: 1.0, "7": 0.5}).as_dict() == {7: 1.5}


@pytest.mark.parametrize("empty", [None, {}, {"a": 0}])
def test_an_empty_vector(empty: Any) -> None:
    assert not sparse_row(empty)
    assert sparse_row(empty).as_dict() == {}


@pytest.mark.parametrize(
    "vector",
    [
        [("a", 1.0)],
        "a",
        1,
        {"a": -1.0},
        {"a": math.nan},
        {"a": math.inf},
        {"a": 1e16},
        {"7": LARGEST_WEIGHT, 7: LARGEST_WEIGHT},
        {"a": 10**400},
        {"a": True},
        {"a": "1"},
        {"a": None},
        {"a": 1j},
        {True: 1.0},
        {-1: 1.0},
        {INDEX_LIMIT: 1.0},
        {1.0: 1.0},
        {("a",): 1.0},
        {np.int64(1): 1.0},
        {"\ud800": 1.0},
    ],
)
def test_a_wrong_vector_is_refused(vector: Any) -> None:
    with pytest.raises(InvalidVectorError, match="the sparse vector"):
        sparse_row(vector, "the sparse vector")


WEIGHTS = st.floats(0, 100, width=32) | st.integers(0, 5)
VECTORS = st.dictionaries(st.text(max_size=3) | st.integers(0, 20), WEIGHTS, max_size=6)


@given(VECTORS)
def test_callers_vectors_are_those_of_the_oracle(vector: dict[Any, Any]) -> None:
    assert sparse_row(vector).as_dict() == pytest.approx(oracle_hybrid.sparse_weights(vector), rel=1e-6)


@given(st.lists(VECTORS, max_size=6), st.data())
def test_rows_keep_their_vectors(vectors: list[dict[Any, Any]], data: st.DataObject) -> None:
    rows = [sparse_row(vector) for vector in vectors]
    expected = [row.as_dict() for row in rows]
    stacked = SparseRows.of(rows)
    assert len(stacked) == len(rows)
    assert [row.as_dict() for row in stacked] == expected
    assert [stacked[row].as_dict() for row in range(len(rows))] == expected
    chosen = data.draw(st.lists(st.sampled_from(range(len(rows))), max_size=8) if rows else st.just([]))
    assert [row.as_dict() for row in stacked.take(chosen)] == [expected[row] for row in chosen]
    start = data.draw(st.integers(0, len(rows)))
    end = data.draw(st.integers(start, len(rows)))
    assert [row.as_dict() for row in stacked.part(start, end)] == expected[start:end]


# --- weights ---------------------------------------------------------------------------------------------------------


def test_the_weights_of_documents_by_hand() -> None:
    rows = document_weights([Counter({9: 1, 3: 3}), Counter(), Counter({7: 64})], 64.0)
    first, empty, last = rows
    assert first.indices.tolist() == [3, 9]
    share = 0.25 + 0.75 * 4 / 64
    assert first.weights.tolist() == pytest.approx([3 * 2.2 / (3 + 1.2 * share), 2.2 / (1 + 1.2 * share)], rel=1e-6)
    assert not empty
    assert last.as_dict() == {7: pytest.approx(64 * 2.2 / 65.2, rel=1e-6)}


def test_the_built_in_table() -> None:
    table = TermStatistics.built_in()
    assert (table.documents, table.other, len(table.counts)) == (50_000, 30, 2_000)
    assert table.counts["def"] == 48_471
    assert table.idf("def") == pytest.approx(math.log(1 + 1_529.5 / 48_471.5))
    assert table.idf("zyzzyva") == pytest.approx(math.log(1 + 49_970.5 / 30.5))
    assert min(map(table.idf, table.counts)) > 0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((0, {}), InvalidInputError),
        ((10**9 + 1, {}), InvalidInputError),
        ((True, {}), InvalidInputError),
        ((1.0, {}), InvalidInputError),
        ((5, []), InvalidOptionError),
        ((5, {1: 1}), InvalidOptionError),
        ((5, {"a": 6}), InvalidInputError),
        ((5, {"a": -1}), InvalidInputError),
        ((5, {"a": 1.0}), InvalidInputError),
        ((5, {"a": 1}, 6), InvalidInputError),
        ((5, {str(number): 1 for number in range(MAX_STATISTICS_TERMS + 1)}), InvalidInputError),
    ],
)
def test_a_wrong_table_is_refused(arguments: tuple[Any, ...], error: type[Exception]) -> None:
    with pytest.raises(error, match="term_statistics"):
        TermStatistics(*arguments)


def test_a_table_is_a_copy() -> None:
    counts = {"a": 1}
    table = TermStatistics(5, counts)
    counts["a"] = 99
    assert table.counts == {"a": 1}
    assert TermStatistics.from_dict(table.as_dict()) == table


# --- the definition --------------------------------------------------------------------------------------------------


def index_of(fields: Any, index_type: Any = "bm25", **options: Any) -> SparseIndex:
    return SparseIndex.from_arguments(fields, index_type, options)


def test_arguments() -> None:
    table = {"documents": 10, "counts": {"a": 3}, "other": 1}
    index = index_of(["text", "meta.title", ("a.b", ""), "text"], average_length=100, term_statistics=table)
    assert index.fields == (("text",), ("meta", "title"), ("a.b", ""))
    assert index.average_length == 100.0
    assert index.term_statistics == TermStatistics(10, {"a": 3}, 1)
    assert index_of(["text"]) == index_of(("text",), term_statistics=BUILT_IN, average_length=64)


@pytest.mark.parametrize(
    ("fields", "index_type", "options", "error"),
    [
        ("text", "bm25", {}, InvalidOptionError),
        (None, "bm25", {}, InvalidOptionError),
        ([], "bm25", {}, InvalidInputError),
        ([str(number) for number in range(65)], "bm25", {}, InvalidInputError),
        ([1], "bm25", {}, InvalidOptionError),
        ([["a"]], "bm25", {}, InvalidOptionError),
        ([()], "bm25", {}, InvalidOptionError),
        (["a..b"], "bm25", {}, InvalidInputError),
        (["\ud800"], "bm25", {}, InvalidInputError),
        (["a"], "BM25", {}, InvalidOptionError),
        (["a"], None, {}, InvalidOptionError),
        (["a"], [], {}, InvalidOptionError),
        (["a"], "bm25", {"k1": 1.2}, InvalidOptionError),
        (["a"], "bm25", {"average_length": 0}, InvalidInputError),
        (["a"], "bm25", {"average_length": math.inf}, InvalidInputError),
        (["a"], "bm25", {"average_length": True}, InvalidOptionError),
        (["a"], "bm25", {"average_length": "64"}, InvalidOptionError),
        (["a"], "bm25", {"term_statistics": "prose"}, InvalidOptionError),
        (["a"], "bm25", {"term_statistics": {"documents": 1}}, InvalidOptionError),
        (["a"], "bm25", {"term_statistics": {"documents": 1, "counts": {}, "n": 1}}, InvalidOptionError),
        (["a"], "text", {"average_length": 64}, InvalidOptionError),
        (["a"], "keyword", {"term_statistics": BUILT_IN}, InvalidOptionError),
    ],
)
def test_wrong_arguments_are_refused(fields: Any, index_type: Any, options: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        SparseIndex.from_arguments(fields, index_type, options)
    assert isinstance(caught.value, InvalidInputError)


@pytest.mark.parametrize(
    "index",
    [
        index_of(["a", ("b.c", "", "日")]),
        index_of(["a"], "text"),
        index_of(["a"], "keyword"),
        index_of(["a"], average_length=81.5, term_statistics=TermStatistics(7, {"é": 2}, 1)),
    ],
)
def test_a_definition_is_stored(index: SparseIndex) -> None:
    assert SparseIndex.from_json(index.to_json()) == index


@pytest.mark.parametrize(
    "document", [b"", b"[]", b"{}", index_of(["a"]).to_json().replace(b'"version":1', b'"version":2')]
)
def test_what_cannot_be_read_is_said(document: bytes) -> None:
    with pytest.raises(EngineError):
        SparseIndex.from_json(document)


PAYLOAD = {
    "s": "x",
    "l": ["x", 1, None, "y", ["z"], {"s": "z"}],
    "o": {"s": "inner", "l": [], "o": {"s": "deep"}},
    "n": 1,
    "o.s": "dotted",
    "": {"": "empty"},
    "z": None,
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("s",), ["x"]),
        (("l",), ["x", "y"]),
        (("l", "s"), []),
        (("l", "0"), []),
        (("o",), []),
        (("o", "s"), ["inner"]),
        (("o", "l"), []),
        (("o", "o", "s"), ["deep"]),
        (("o.s",), ["dotted"]),
        (("", ""), ["empty"]),
        (("n",), []),
        (("z",), []),
        (("missing", "s"), []),
        (("s", "s"), []),
    ],
)
def test_the_strings_of_a_field(path: tuple[str, ...], expected: list[str]) -> None:
    assert list(field_strings(PAYLOAD, path)) == expected


def dicts(rows: SparseRows) -> list[dict[int, float]]:
    return [row.as_dict() for row in rows]


def test_documents_of_each_type() -> None:
    payloads: list[dict[str, Any]] = [{"t": "a a B", "u": ["HTTPServer", "a"]}, {"t": ""}, {}, {"u": 1}]
    a, b, http = map(term_index, ("a", "b", "http"))
    both = ["t", "u"]
    [bm25, *empty] = dicts(index_of(both).documents(payloads))
    assert bm25[a] == pytest.approx(3 * 2.2 / (3 + 1.2 * (0.25 + 0.75 * 7 / 64)), rel=1e-6)
    assert bm25[b] == bm25[http]
    assert empty == [{}, {}, {}]
    [text, *empty] = dicts(index_of(both, "text").documents(payloads))
    assert text == dict.fromkeys(map(term_index, ("a", "b", "http", "server", "httpserver")), 1.0)
    assert empty == [{}, {}, {}]
    [keyword, *empty] = dicts(index_of(both, "keyword").documents(payloads))
    assert keyword == dict.fromkeys(map(term_index, ("a a B", "HTTPServer", "a")), 1.0)
    assert empty == [{}, {}, {}]


def test_queries_of_each_type() -> None:
    idf = TermStatistics.built_in().idf
    assert index_of(["t"]).query("def DEF zyzzyva 7").as_dict() == {
        term_index("def"): pytest.approx(2 * idf("def"), rel=1e-6),
        term_index("zyzzyva"): pytest.approx(idf("zyzzyva"), rel=1e-6),
        7: pytest.approx(idf("7"), rel=1e-6),
    }
    own = TermStatistics(10, {"a": 9})
    assert index_of(["t"], term_statistics=own).query("a b").as_dict() == {
        term_index("a"): pytest.approx(math.log(1 + 1.5 / 9.5), rel=1e-6),
        term_index("b"): pytest.approx(math.log(1 + 10.5 / 0.5), rel=1e-6),
    }
    assert index_of(["t"], "text").query("a A b").as_dict() == {term_index("a"): 1.0, term_index("b"): 1.0}
    assert index_of(["t"], "keyword").query("a A").as_dict() == {term_index("a A"): 1.0}


@pytest.mark.parametrize("index_type", ["bm25", "text", "keyword"])
def test_empty_and_broken_queries(index_type: Any) -> None:
    index = index_of(["t"], index_type)
    assert not index.query("")
    assert bool(index.query("?!")) is (index_type == "keyword")
    with pytest.raises(InvalidInputError, match="surrogate"):
        index.query("a \ud800")


STRINGS = st.text("aAbB_1 é日語", max_size=12)
VALUES = STRINGS | st.lists(STRINGS | st.integers(), max_size=3) | st.none() | st.fixed_dictionaries({"s": STRINGS})


@given(
    st.lists(st.dictionaries(st.sampled_from(["s", "t", "o"]), VALUES), max_size=5),
    STRINGS,
    st.sampled_from(["bm25", "text", "keyword"]),
    st.sampled_from([1.0, 64.0, 300.0]),
)
def test_weights_are_those_of_the_oracle(
    payloads: list[dict[str, Any]], query: str, index_type: Any, average_length: float
) -> None:
    fields = ["s", "t", "o.s"]
    options = {"average_length": average_length} if index_type == "bm25" else {}
    ours = index_of(fields, index_type, **options)
    theirs = oracle_hybrid.TextIndex(fields, index_type, average_length)
    for row, payload in zip(ours.documents(payloads), payloads, strict=True):
        assert row.as_dict() == pytest.approx(theirs.document(payload), rel=1e-6)
    assert ours.query(query).as_dict() == pytest.approx(theirs.query(query), rel=1e-6)
    assert isinstance(ours.query(query), SparseRow)
