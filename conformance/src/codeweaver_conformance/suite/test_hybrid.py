"""Hybrid search: terms, indices and weights, by dict and by text."""

from __future__ import annotations

import random
from typing import Any

from codeweaver_backends.errors import InvalidInputError, InvalidVectorError
from codeweaver_backends.types import HybridStrategy, VectorPoint
from codeweaver_conformance import oracle_hybrid
from codeweaver_conformance.clause import clause
from codeweaver_conformance.hybrid import TEXT, ask, create_index, found, holds, sparse, texts
from codeweaver_conformance.oracle_hybrid import TextIndex
from codeweaver_conformance.session import Conformance, point

LINEAR = HybridStrategy.LINEAR


TEXTS = [
    "HTTPServer",
    "http server",
    "snake_case",
    "__init__",
    "CoreV1Api",
    "Pandas4Warning",
    "sha256Sum",
    "007",
    "7",
    "4294967279",
    "294967279",
    "日本語",
    "x日本_y語z",
    "ファイル",
    "ﾌｧｲﾙ",
    "한국어",
    "ﬁle",
    "ＨＴＴＰ",
    "Cafe\u0301",
    "caf\u00e9",
    "ÜberGröße",
    "don't 1.5",
    "q\u0307x",
    "x²",
]
QUERIES = [*TEXTS, "http", "server", "httpserver", "case", "init", "v1", "V1Api", "日本", "本", "file", "_", "q", "t"]


@clause("hybrid.terms", "hybrid.text-query")
async def test_terms(cw: Conformance) -> None:
    """Check one point per text, asked by every text."""
    points = texts(*TEXTS)
    name = await cw.collection(points)
    await create_index(cw, name, TEXT)
    for query in QUERIES:
        await ask(cw, name, points, query, index=TEXT, limit=30, strategy=LINEAR, alpha=0.0)


HOSTILE = [
    "what's the budget, roughly?",
    "(",
    "a AND",
    "*",
    '"',
    "'; drop table points; --",
    "\\",
    "%_%",
    "new\nline\0nul",
    "🙂",
    "{}",
    "title:alpha^2 ~1",
    "+alpha -beta",
    "alpha" * 200,
    "alpha beta gamma " * 600 + "omega",
]


@clause("hybrid.hostile-text")
async def test_hostile_texts(cw: Conformance) -> None:
    """Check texts that a query language would read, stored and asked."""
    points = texts(*HOSTILE)
    for index in (TEXT, TextIndex(["t"], "keyword")):
        name = await cw.collection(points)
        await create_index(cw, name, index)
        for query in (*HOSTILE, "omega"):
            await ask(cw, name, points, query, index=index, limit=20, strategy=LINEAR, alpha=0.0)
        with cw.raises(InvalidInputError, why="a lone surrogate"):
            await cw.backend.hybrid_search(name, [1, 0], "alpha \ud800")


@clause("hybrid.indices")
async def test_indices(cw: Conformance) -> None:
    """Check digits, leading zeros, large numbers, and that a hash is the index it spells."""
    hashed = oracle_hybrid.index_of("the")
    points = sparse({7: 1.0}, {"7": 2.0}, {"007": 4.0}, {"the": 8.0}, {hashed: 16.0}, {"4294967279": 32.0}, {0: 64.0})
    points.append(VectorPoint(99, [1.0, 1.0], {}, {294_967_279: 128.0, 900_000_007: 1.0}))
    name = await cw.collection(points)
    queries: list[Any] = [{7: 1}, {"7": 1}, {"007": 1}, {"the": 1}, {hashed: 1}, {str(hashed): 1}, {"4294967279": 1}]
    queries += [
        {294_967_279: 1},
        {"294967279": 1},
        {"1900000007": 1},
        {"0": 1},
        {"00": 1},
        {999_999_999: 1},
        {"": 1},
        {7: 1, "7": 1, "the": 2, hashed: 0.5},
    ]
    for query in queries:
        await ask(cw, name, points, query, strategy=LINEAR, alpha=0.0)


BAD_WEIGHTS: list[Any] = [
    {"a": -1.0},
    {"a": float("nan")},
    {"a": float("inf")},
    {"a": 1e16},
    {"a": True},
    {"a": "1"},
    {"a": None},
    {-1: 1.0},
    {10**9: 1.0},
    {1.0: 1.0},
    {None: 1.0},
    {"\ud800": 1.0},
    [("a", 1.0)],
]


@clause("hybrid.weights")
async def test_wrong_weights_are_refused(cw: Conformance) -> None:
    """Check points, updates and queries; nothing is written, of the good points among them neither."""
    name = await cw.collection(sparse({"a": 1.0}))
    for wrong in BAD_WEIGHTS:
        with cw.raises(InvalidVectorError, why=f"upserted {wrong!r}"):
            await cw.backend.upsert_vectors(name, [point(7, [1, 1]), VectorPoint(8, [1, 0], {}, wrong)])
        with cw.raises(InvalidVectorError, why=f"updated {wrong!r}"):
            await cw.backend.update_sparse_vectors(name, [VectorPoint(0, [1, 0], {}, wrong)])
        with cw.raises(InvalidInputError, why=f"asked {wrong!r}"):
            await cw.backend.hybrid_search(name, [1, 0], wrong)
    await cw.unchanged(name, {0: {"n": 0}})
    await holds(cw, name, {"a": 1.0}, {0}, "the refused calls changed nothing")


@clause("hybrid.weights")
async def test_small_and_large_weights(cw: Conformance) -> None:
    """Check zeros, what counts as zero, and products near the ends of a float32."""
    points = sparse({"a": 0.0, "b": 1.0}, {"a": 1e-16}, {"a": 1e-15}, {"a": 1e15}, {"a": 1.0, "c": 0}, {"a": 2})
    name = await cw.collection(points)
    for weight in (1.0, 1e-15, 0.0, 1e-16, 1e15):
        asked = await found(cw, name, {"a": weight})
        expected = {2, 3, 4, 5} if weight >= 1e-15 else set()
        cw.equal(set(asked), expected, f"who shares a term of weight {weight!r}")
        cw.true(all(score > 0 for score in asked.values()), "scores above 0", asked)
    await cw.backend.delete_vectors(name, [3])
    rest = [one for one in points if one.id != 3]
    await ask(cw, name, rest, {"a": 1.0, "b": 3.0}, strategy=LINEAR, alpha=0.0)


@clause("hybrid.dict-query")
async def test_dict_queries(cw: Conformance) -> None:
    """Check dot products, in any order of keys, of one term and of many."""
    big = {f"t{number}": float(number % 17 + 1) for number in range(300)}
    points = sparse(
        {"a": 1.0, "b": 2.0, "c": 3.0},
        {"c": 3.0, "b": 2.0, "a": 1.0},
        {"b": 0.5},
        {"d": 5.0},
        big,
        dict(reversed(list(big.items()))),
    )
    name = await cw.collection(points)
    queries: list[Any] = [{"a": 1.0, "c": 10.0}, {"c": 10.0, "a": 1.0}, {"b": 0.25}, {"d": 1, "b": 2}, big]
    queries.append(dict(reversed(list(big.items()))))
    for query in queries:
        await ask(cw, name, points, query, strategy=LINEAR, alpha=0.0)


WORDS = ["def", "return", "server", "client", "zyzzyva", "kubernetes", "value", "日本", "http_server"]


@clause("hybrid.text-query")
async def test_bm25(cw: Conformance) -> None:
    """Check frequencies, lengths, rare and frequent terms, and repeated words of a query."""
    chance = random.Random(cw.seed)  # noqa: S311 - reproducible, not secret
    points = texts(*(" ".join(chance.choices(WORDS, k=chance.choice((1, 3, 10, 64, 400)))) for _ in range(40)))
    name = await cw.collection(points)
    await create_index(cw, name, TEXT)
    for query in ("def", "zyzzyva", "server def", "server server zyzzyva", " ".join(WORDS), "HTTP_Server 日本"):
        await ask(cw, name, points, query, index=TEXT, limit=40, strategy=LINEAR, alpha=0.0)


@clause("hybrid.own-statistics")
async def test_statistics_and_lengths_of_ones_own(cw: Conformance) -> None:
    """Check a table that turns the weights round, and other average lengths."""
    points = texts("alpha", "beta beta", "alpha beta " * 20, "gamma")
    name = await cw.collection(points)
    for index in (
        TextIndex(["t"], documents=10, counts={"alpha": 9, "beta": 0}, other=1),
        TextIndex(["t"], documents=10, counts={"alpha": 0, "beta": 10}, other=5),
        TextIndex(["t"], average_length=2.5),
        TextIndex(["t"], average_length=1_000),
    ):
        await create_index(cw, name, index)
        for query in ("alpha beta", "gamma alpha", "beta"):
            await ask(cw, name, points, query, index=index, strategy=LINEAR, alpha=0.0)


@clause("hybrid.text-index")
async def test_a_text_index_counts_terms(cw: Conformance) -> None:
    """Check that neither frequency, length nor rarity counts."""
    points = texts("alpha", "alpha alpha def", "def return alpha " * 50, "HTTPServer")
    index = TextIndex(["t"], "text")
    name = await cw.collection(points)
    await create_index(cw, name, index)
    for query in ("alpha", "alpha def def", "return zyzzyva alpha", "httpServer server"):
        await ask(cw, name, points, query, index=index, strategy=LINEAR, alpha=0.0)


@clause("hybrid.keyword-index")
async def test_a_keyword_index_takes_strings_whole(cw: Conformance) -> None:
    """Check that case, spaces and parts count."""
    points = texts("Alpha beta", "alpha beta", ["Alpha", "beta"], "Alpha", "7", "")
    index = TextIndex(["t"], "keyword")
    name = await cw.collection(points)
    await create_index(cw, name, index)
    for query in ("Alpha beta", "Alpha", "alpha", "beta", " Alpha", "7", "07", ""):
        await ask(cw, name, points, query, index=index, strategy=LINEAR, alpha=0.0)
