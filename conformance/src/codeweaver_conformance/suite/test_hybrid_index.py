"""Hybrid search: the sparse index, before and after points exist, of every instance, over each kind of field."""

from __future__ import annotations

from typing import Any

from codeweaver_backends.errors import InvalidInputError
from codeweaver_backends.types import HybridStrategy, PointId
from codeweaver_conformance.clause import clause
from codeweaver_conformance.hybrid import TEXT, ask, create_index, holds, sparse, texts
from codeweaver_conformance.oracle_hybrid import TextIndex
from codeweaver_conformance.session import Conformance, point

LINEAR = HybridStrategy.LINEAR
TABLE = {"documents": 10, "counts": {"alpha": 9}, "other": 1}


@clause("hybrid.create-index")
async def test_an_index_before_points_exist(cw: Conformance) -> None:
    """Check that what is written later is indexed, also point by point."""
    name = await cw.collection()
    await create_index(cw, name, TEXT)
    points = texts("alpha beta", "beta", "gamma alpha alpha")
    for one in points:
        await cw.backend.upsert_vectors(name, [one])
    await ask(cw, name, points, "alpha", index=TEXT, strategy=LINEAR, alpha=0.0)
    await holds(cw, name, "beta", {0, 1}, "found by its text")


@clause("hybrid.create-index")
async def test_an_index_after_points_exist(cw: Conformance) -> None:
    """Check the backfill, of more points than a page has; and that doing it again changes nothing."""
    points = [point(number, [1.0, number / 3000], {"t": f"word{number % 700} common"}) for number in range(2_500)]
    name = await cw.collection(points)
    for _ in range(2):
        await create_index(cw, name, TEXT)
        cw.equal(await cw.count(name), len(points), "create_sparse_index makes no points")
        for word in (0, 333, 699):
            expected: set[PointId] = {n for n in range(2_500) if n % 700 == word}
            await holds(cw, name, f"word{word}", expected, "found by its text")


@clause("hybrid.create-index")
async def test_an_index_is_replaced(cw: Conformance) -> None:
    """Check other fields, another type and other options: nothing of the old index is left."""
    points = [
        point(0, [1, 0], {"t": "alpha", "u": "beta"}),
        point(1, [1, 1], {"u": ["alpha", "gamma delta"]}),
        point(2, [0, 1], {"t": "alpha"}),
    ]
    name = await cw.collection(points)
    for index in (TEXT, TextIndex(["u"]), TextIndex(["t", "u"], "keyword"), TextIndex(["u"], "text"), TEXT):
        await create_index(cw, name, index)
        for query in ("alpha", "beta", "gamma", "gamma delta"):
            await ask(cw, name, points, query, index=index, strategy=LINEAR, alpha=0.0)


@clause("hybrid.index-arguments")
async def test_wrong_arguments_of_an_index(cw: Conformance) -> None:
    """Check what is refused, and that the index is then as it was."""
    points = texts("alpha", "beta")
    name = await cw.collection(points)
    await create_index(cw, name, TEXT)
    wrong: list[tuple[Any, Any, dict[str, Any]]] = [
        ("t", "bm25", {}),
        (None, "bm25", {}),
        ([], "bm25", {}),
        ([str(number) for number in range(65)], "bm25", {}),
        ([1], "bm25", {}),
        ([()], "bm25", {}),
        (["a..b"], "bm25", {}),
        (["u"], "BM25", {}),
        (["u"], None, {}),
        (["u"], "bm25", {"k1": 1.2}),
        (["u"], "bm25", {"average_length": 0}),
        (["u"], "bm25", {"average_length": float("nan")}),
        (["u"], "bm25", {"average_length": "64"}),
        (["u"], "bm25", {"term_statistics": "prose"}),
        (["u"], "bm25", {"term_statistics": {"documents": 1, "counts": {"a": 2}}}),
        (["u"], "bm25", {"term_statistics": {"documents": 1}}),
        (["u"], "text", {"average_length": 64}),
        (["u"], "keyword", {"term_statistics": TABLE}),
    ]
    for fields, kind, options in wrong:
        with cw.raises(InvalidInputError, why=f"fields {fields!r}, type {kind!r}, {options}"):
            await cw.backend.create_sparse_index(name, fields, kind, **options)
    await holds(cw, name, "alpha", {0}, "the index stays as it was")


@clause("hybrid.index-shared")
async def test_every_instance_writes_by_the_index(cw: Conformance) -> None:
    """Check instances that were open, and at work, before the index was created or replaced."""
    points = [
        point(number, [1.0, number / 10], {"t": f"alpha w{number}", "u": f"beta w{number}"}) for number in range(6)
    ]
    name = await cw.collection(points[:1])
    second = await cw.another()
    await second.upsert_vectors(name, points[1:2])
    await create_index(cw, name, TEXT)
    await second.upsert_vectors(name, points[2:3])
    await holds(cw, name, "alpha", {0, 1, 2}, "written by another instance")
    await holds(cw, name, "alpha", {0, 1, 2}, "asked of another instance", second)
    other = TextIndex(["u"])
    await create_index(cw, name, other, second)
    await cw.backend.upsert_vectors(name, points[3:4])
    await second.upsert_vectors(name, points[4:5])
    for backend in (cw.backend, second):
        await holds(cw, name, "alpha", set(), "the index was replaced", backend)
        await holds(cw, name, "beta", {0, 1, 2, 3, 4}, "the index was replaced", backend)
    third = await cw.another()
    await third.upsert_vectors(name, points[5:])
    await ask(cw, name, points, "beta w5", index=other, strategy=LINEAR, alpha=0.0)


@clause("hybrid.index-shared")
async def test_a_collection_that_is_created_again_has_no_index(cw: Conformance) -> None:
    """Check for a definition that is remembered by name."""
    name = await cw.collection(texts("alpha"))
    await create_index(cw, name, TEXT)
    await holds(cw, name, "alpha", {0}, "found by its text")
    await cw.backend.delete_collection(name)
    await cw.backend.create_collection(name, 2)
    await cw.backend.upsert_vectors(name, texts("alpha"))
    with cw.raises(InvalidInputError, why="a text query without an index"):
        await cw.backend.hybrid_search(name, [1, 0], "alpha")
    await create_index(cw, name, TextIndex(["u"]))
    await holds(cw, name, "alpha", set(), "another field is indexed")


@clause("hybrid.fields")
async def test_fields(cw: Conformance) -> None:
    """Check nested and dotted keys, lists, and values that are no text."""
    payloads: list[Any] = [
        {"a": "one", "b": {"c": "two"}},
        {"a": ["one", 3, None, ["four"], {"d": "five"}, "six"]},
        {"b": {"c": ["two", "seven"]}, "b.c": "eight"},
        {"b": [{"c": "two"}]},
        {"x.y": "nine", "": {"": "ten"}},
        {"a": None, "b": {"c": 2}},
        {"a": "", "b": {}},
        None,
    ]
    points = [point(number, [1.0, number / 10], payload) for number, payload in enumerate(payloads)]
    index = TextIndex(["a", "b.c", ("x.y",), ("", "")])
    name = await cw.collection(points)
    await create_index(cw, name, index)
    for query in ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "3", "2"]:
        await ask(cw, name, points, query, index=index, strategy=LINEAR, alpha=0.0)


@clause("hybrid.no-index")
async def test_a_text_without_an_index(cw: Conformance) -> None:
    """Check that a text is not taken for something else; and that a dict needs no index."""
    points = sparse({"alpha": 1.0})
    name = await cw.collection(points)
    for alpha in (0.0, 0.5):
        with cw.raises(InvalidInputError, why="a text query without an index"):
            await cw.backend.hybrid_search(name, [1, 0], "alpha", alpha=alpha)
    await ask(cw, name, points, {"alpha": 1.0})
