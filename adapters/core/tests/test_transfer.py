"""Copying between backends, with what may go wrong on the way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from codeweaver_backends import (
    BackendCapabilities,
    CollectionNotFoundError,
    DistanceMetric,
    InvalidOptionError,
    Limits,
    MemoryBackend,
    MemoryConfig,
    RateLimitError,
    UnsupportedError,
    VectorPoint,
)
from codeweaver_backends.transfer import TransferError, TransferRefusedError, copy
from codeweaver_backends.transfer.comparing import same_payload, same_vectors

Answer = TypeVar("Answer")
AWKWARD: list[dict[str, Any]] = [
    {},
    {"a": 1, "b": 1.0, "c": True, "d": None, "e": "", "f": [], "g": {}},
    {"": {"": [{"": None}]}, "a.b": "dotted", "quo\"te'": "\x00"},
    {"big": 2**63 - 1, "small": -(2**63), "text": "日本語 🧵 " * 9},
]


def run(work: Coroutine[Any, Any, Answer]) -> Answer:
    return asyncio.run(work)


def memory() -> MemoryBackend:
    return MemoryBackend(MemoryConfig())


def points(count: int, dimension: int = 4, seed: int = 1) -> list[VectorPoint]:
    """Integer and text ids, some of which look alike."""
    vectors = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return [
        VectorPoint(
            i // 2 if i % 2 else str(i // 2),
            vectors[i].tolist(),
            {"lang": ("py", "rs", "go")[i % 3], "n": i, **AWKWARD[i % len(AWKWARD)]},
        )
        for i in range(count)
    ]


async def filled(
    count: int = 300, name: str = "code", metric: DistanceMetric = DistanceMetric.COSINE, **options: Any
) -> MemoryBackend:
    backend = memory()
    await backend.create_collection(name, 4, metric, **options)
    await backend.upsert_vectors(name, points(count))
    return backend


async def content(backend: Any, name: str = "code") -> dict[Any, Any]:
    """Everything in a collection, comparable."""
    found, cursor = {}, None
    while True:
        page = await backend.scroll_vectors(name, cursor=cursor, limit=1_000, with_vectors=True)
        found.update({(type(one.id), one.id): (list(one.vector), repr(one.payload)) for one in page.points})
        cursor = page.cursor
        if cursor is None:
            return found


# --- what comes across -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", list(DistanceMetric))
def test_a_copy_is_the_same_and_says_so(metric: DistanceMetric) -> None:
    async def scenario() -> None:
        source, target = await filled(metric=metric, payload_indexes={"lang": "keyword"}), memory()
        seen: list[Any] = []
        report = await copy(source, target, progress=seen.append)
        assert await content(source) == await content(target)
        info = await target.get_collection_info("code")
        assert (info.dimension, info.distance_metric, info.payload_indexes) == (4, metric, {"lang": "keyword"})
        [told] = report.collections
        assert report.ok
        assert (told.points, told.written, told.passes, told.rewritten, told.removed) == (300, 300, 1, 0, 0)
        assert [(one.name, one.outcome) for one in told.checks] == [
            (name, "passed") for name in ("count", "ids", "payloads", "vectors", "searches", "filters")
        ]
        assert "the same answers" in told.checks[4].detail
        assert [one.done for one in seen if one.phase == "write"][-1] == 300
        assert [one.done for one in seen if one.phase == "compare"][-1] == 300

    run(scenario())


def test_all_collections_or_some_under_other_names() -> None:
    async def scenario() -> None:
        source = await filled(30)
        await source.create_collection("empty", 9, DistanceMetric.DOT_PRODUCT)
        everything, one = memory(), memory()
        report = await copy(source, everything)
        assert (
            [told.collection for told in report.collections] == ["code", "empty"] == await everything.list_collections()
        )
        assert report.ok
        await copy(source, one, collections=["code"], names={"code": "docs"})
        assert await one.list_collections() == ["docs"]
        assert await content(one, "docs") == await content(source)
        with pytest.raises(CollectionNotFoundError):
            await copy(source, memory(), collections=["none"])
        with pytest.raises(InvalidOptionError, match="one name on the target"):
            await copy(source, memory(), names={"code": "empty"})
        with pytest.raises(InvalidOptionError, match="not copied: cod"):
            await copy(source, memory(), names={"cod": "x"})

    run(scenario())


def test_within_one_backend() -> None:
    async def scenario() -> None:
        source = await filled(30)
        await copy(source, source, names={"code": "again"})
        assert await content(source) == await content(source, "again")
        with pytest.raises(TransferRefusedError, match="the same collection"):
            await copy(source, source, collections=["code"])

    run(scenario())


# --- what is refused -------------------------------------------------------------------------------------------------


class Small(MemoryBackend):
    """Holds less."""

    @property
    def capabilities(self) -> BackendCapabilities:
        return BackendCapabilities(
            supports_scan=True,
            supports_columnar=True,
            max_vector_dimension=8,
            supported_distance_metrics=[DistanceMetric.COSINE],
            limits=Limits(max_payload_bytes=16_384, max_payload_depth=16),
        )


def test_what_the_target_cannot_hold_is_named_and_nothing_is_written() -> None:
    async def scenario() -> None:
        source, target = await filled(10), Small(MemoryConfig())
        await source.create_collection("wide", 9)
        await source.create_collection("near", 4, DistanceMetric.MANHATTAN)
        for dry_run in (True, False):
            with pytest.raises(TransferRefusedError) as caught:
                await copy(source, target, dry_run=dry_run)
            assert caught.value.obstacles == (
                "near: the metric manhattan is not among the target's (cosine)",
                "wide: the dimension 9 is more than the target's 8",
            )
        deep: dict[str, Any] = {}
        for _ in range(20):
            deep = {"x": deep}
        await source.upsert_vectors("code", [VectorPoint("deep", [1, 0, 0, 0], deep)])
        await source.upsert_vectors("code", [VectorPoint("long", [1, 0, 0, 0], {"x": "y" * 20_000})])
        with pytest.raises(TransferRefusedError) as caught:
            await copy(source, target, collections=["code"])
        assert caught.value.obstacles == (
            "code: the payload of 'deep' has max_payload_depth 21, and the target 16",
            "code: the payload of 'long' has max_payload_bytes 20,008, and the target 16,384",
        )
        assert await target.list_collections() == []

    run(scenario())


def test_an_index_that_the_target_does_not_offer_is_told() -> None:
    async def scenario() -> None:
        report = await copy(await filled(10, payload_indexes={"n": "integer"}), Small(MemoryConfig()))
        assert report.ok
        assert "payload indexes that the target does not offer" in report.collections[0].notes[0]

    run(scenario())


def test_a_dry_run_writes_nothing() -> None:
    async def scenario() -> None:
        target = memory()
        report = await copy(await filled(), target, dry_run=True)
        assert (report.dry_run, report.collections[0].points, report.collections[0].written) == (True, 300, 0)
        assert await target.list_collections() == []

    run(scenario())


def test_a_collection_that_is_there_is_refused_or_written_to() -> None:
    async def scenario() -> None:
        source, target = await filled(20), memory()
        await target.create_collection("code", 4)
        await target.upsert_vectors("code", [VectorPoint("other", [1, 1, 1, 1])])
        with pytest.raises(TransferRefusedError, match="the target has this collection already, with 1 points"):
            await copy(source, target)
        report = await copy(source, target, existing="continue")
        assert report.ok
        assert len(await content(target)) == 21, "what was there is not deleted"
        assert report.collections[0].checks[0].outcome == "not verified"
        await source.create_collection("wide", 5)
        await target.create_collection("wide", 6)
        with pytest.raises(TransferRefusedError, match="dimension 6"):
            await copy(source, target, collections=["wide"], existing="continue")

    run(scenario())


def test_a_source_without_a_scan_is_refused() -> None:
    class Blind(MemoryBackend):
        @property
        def capabilities(self) -> BackendCapabilities:
            return BackendCapabilities()

    async def scenario() -> None:
        with pytest.raises(UnsupportedError, match="cannot be scanned"):
            await copy(Blind(MemoryConfig()), memory())
        report = await copy(await filled(10), Blind(MemoryConfig()))
        assert {one.name: one.outcome for one in report.collections[0].checks} == {
            "count": "passed",
            "ids": "not verified",
            "payloads": "not verified",
            "vectors": "not verified",
        }

    run(scenario())


# --- interruptions ---------------------------------------------------------------------------------------------------


class Fragile(MemoryBackend):
    """Fails after so many batches, before or after it has written the last."""

    left = 10**9
    loses_the_answer = False

    async def upsert_batch(self, *args: Any, **kwargs: Any) -> None:
        self.left -= 1
        if self.left < 0 and not self.loses_the_answer:
            raise ConnectionError("the cable was pulled")
        await super().upsert_batch(*args, **kwargs)
        if self.left < 0:
            raise ConnectionError("the cable was pulled")


@pytest.mark.parametrize("seed", range(10))
def test_an_interrupted_copy_goes_on_where_it_stopped(tmp_path: Path, seed: int) -> None:
    async def scenario() -> None:
        chance, journal = random.Random(seed), tmp_path / "journal"
        source, target = await filled(2_500), Fragile(MemoryConfig())
        target.loses_the_answer = bool(seed % 2)
        resumed, stops = 0, 0
        while True:
            target.left = chance.randrange(3)
            try:
                report = await copy(source, target, journal=journal, identity="it", samples=2)
                break
            except ConnectionError:
                stops += 1
                assert journal.exists()
                if stops > 20:
                    target.left = target.left + 10**9
                    target.loses_the_answer = False
                    report = await copy(source, target, journal=journal, identity="it", samples=2)
                    break
        resumed = report.collections[0].resumed_at
        assert report.ok
        assert stops == 0 or resumed + report.collections[0].written >= 2_500
        assert await content(source) == await content(target)
        assert not journal.exists()

    run(scenario())


def test_the_journal_is_of_one_copy(tmp_path: Path) -> None:
    async def scenario() -> None:
        journal = tmp_path / "folder" / "journal"
        source, target = await filled(300), Fragile(MemoryConfig())
        target.left = 1
        with pytest.raises(ConnectionError):
            await copy(source, target, journal=journal, identity="a to b")
        with pytest.raises(TransferError, match="of another copy: a to b"):
            await copy(source, target, journal=journal, identity="a to c")
        target.left = 99
        await target.delete_collection("code")
        report = await copy(source, target, journal=journal, identity="a to b")
        assert (report.collections[0].resumed_at, report.collections[0].written) == (0, 300), "begun anew"
        for text in ("", "[]", "{}", '{"format": "codeweaver-journal/9", "identity": "", "collections": {}}'):
            journal.write_text(text)
            with pytest.raises(TransferError, match="the journal"):
                await copy(source, target, journal=journal)

    run(scenario())


def test_a_place_that_the_source_forgot_is_no_loss(tmp_path: Path) -> None:
    async def scenario() -> None:
        journal = tmp_path / "journal"
        source, target = await filled(300), Fragile(MemoryConfig())
        target.left = 1
        with pytest.raises(ConnectionError):
            await copy(source, target, journal=journal)
        journal.write_text(journal.read_text().replace('"cursor": "', '"cursor": "forgotten'))
        target.left = 99
        assert (await copy(source, target, journal=journal)).ok
        assert await content(source) == await content(target)

    run(scenario())


def test_a_target_that_asks_to_slow_down_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Busy(MemoryBackend):
        refusals = 3

        async def upsert_batch(self, *args: Any, **kwargs: Any) -> None:
            self.refusals -= 1
            if self.refusals >= 0:
                raise RateLimitError("slower", retry_after=0.001)
            await super().upsert_batch(*args, **kwargs)

    async def scenario() -> None:
        assert (await copy(await filled(), Busy(MemoryConfig()))).ok

    run(scenario())


# --- a source that changes -------------------------------------------------------------------------------------------


class Moving(MemoryBackend):
    """Somebody writes to it while it is read."""

    changes = 0

    async def scroll_vectors(self, collection_name: str, **kwargs: Any) -> Any:
        page = await super().scroll_vectors(collection_name, **kwargs)
        if page.cursor is None and self.changes:
            self.changes -= 1
            ids = [point.id for point in page.points]
            await self.delete_vectors(collection_name, ids[:2])
            await self.upsert_vectors(collection_name, [VectorPoint(ids[2], [9, 9, 9, 9], {"changed": self.changes})])
            await self.upsert_vectors(collection_name, [VectorPoint(f"new {self.changes}", [1, 2, 3, 4])])
        return page


def test_what_was_written_meanwhile_comes_across_in_a_second_pass() -> None:
    async def scenario() -> None:
        source = Moving(MemoryConfig())
        await source.create_collection("code", 4)
        await source.upsert_vectors("code", points(200))
        source.changes = 1
        target = memory()
        report = await copy(source, target)
        [told] = report.collections
        assert report.ok
        assert (told.passes, told.rewritten, told.removed, told.points) == (2, 2, 2, 199)
        assert "the source was written to meanwhile" in told.notes[0]
        assert await content(source) == await content(target)

    run(scenario())


def test_a_source_that_never_rests_is_told() -> None:
    async def scenario() -> None:
        source = Moving(MemoryConfig())
        await source.create_collection("code", 4)
        await source.upsert_vectors("code", points(200))
        source.changes = 99
        report = await copy(source, memory())
        assert not report.ok
        assert report.collections[0].passes == 3
        assert report.as_json()["ok"] is False

    run(scenario())


# --- a target that is not honest -------------------------------------------------------------------------------------


def spoiling(change: Any) -> MemoryBackend:
    """A target that stores something else than it is given."""

    class Spoiling(MemoryBackend):
        async def upsert_batch(self, name: str, ids: Any, vectors: Any, payloads: Any = None) -> None:
            await super().upsert_batch(name, *change(list(ids), np.array(vectors), list(payloads)))

    return Spoiling(MemoryConfig())


def _scaled(ids: Any, vectors: Any, payloads: Any) -> Any:
    return ids, vectors * np.float32(1.00001), payloads


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        (lambda i, v, p: (i, v, [{**one, "n": float(one["n"])} for one in p]), "payloads"),
        (lambda i, v, p: (i, v, [{**one, "c": 1} if one.get("c") is True else one for one in p]), "payloads"),
        (lambda i, v, p: (list(map(str, i)), v, p), "ids"),
        (lambda i, v, p: (i[1:], v[1:], p[1:]), "ids"),
        (_scaled, "vectors"),
        (lambda i, v, p: (i, v / np.linalg.norm(v, axis=1, keepdims=True), p), "vectors"),
        (lambda i, v, p: (i, v[::-1], p), "searches"),
        (lambda i, v, p: (i, v, p[::-1]), "filters"),
        (lambda i, v, p: ([*i, "extra"], np.vstack([v, v[:1]]), [*p, {}]), "count"),
    ],
)
def test_a_copy_that_is_not_the_same_is_told(change: Any, failed: str) -> None:
    async def scenario() -> None:
        report = await copy(await filled(50), spoiling(change), passes=1)
        assert not report.ok
        assert failed in {one.name for one in report.collections[0].checks if one.outcome == "failed"}

    run(scenario())


def test_a_target_that_answers_otherwise_is_told() -> None:
    class Wrong(MemoryBackend):
        async def search_vectors(self, *args: Any, **kwargs: Any) -> Any:
            return (await super().search_vectors(*args, **kwargs))[1:]

    class Miscounting(MemoryBackend):
        async def count_vectors(self, *args: Any, **kwargs: Any) -> int:
            return await super().count_vectors(*args, **kwargs) + 1

    async def scenario() -> None:
        for kind, failed in ((Wrong, "searches"), (Miscounting, "filters")):
            report = await copy(await filled(50), kind(MemoryConfig()))
            assert failed in {one.name for one in report.collections[0].checks if one.outcome == "failed"}

    run(scenario())


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (None, {}, True),
        ({"a": 1}, {"a": 1.0}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": 0.0}, {"a": -0.0}, True),
        ({"a": [0.0, {"b": 1}]}, {"a": [-0.0, {"b": 1}]}, True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": None}, {}, False),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
    ],
)
def test_payloads_are_compared_as_json(first: Any, second: Any, same: bool) -> None:
    assert same_payload(first, second) is same_payload(second, first) is same


def test_vectors_are_compared_to_float32() -> None:
    assert same_vectors([[0.1, 2e20], [1, 2]], [np.float32([0.1, 2e20]), [1, 2.00001]]) == [True, False]
    assert same_vectors([[1.0, 2.0]], [[1.0]]) == [False]
