"""Scan: get, scroll, count and delete, without a query vector."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final

import pytest

from codeweaver_backends.errors import InvalidIdError, InvalidInputError
from codeweaver_backends.types import FilterCondition, FilterLike, SearchFilter
from codeweaver_conformance import oracle, strategies
from codeweaver_conformance.clause import clause
from codeweaver_conformance.generated import generated
from codeweaver_conformance.maker import Maker
from codeweaver_conformance.session import Conformance, point

_WRONG_OPTIONS: Final[Sequence[dict[str, Any]]] = (
    {"with_vectors": "no"},
    {"with_vectors": None},
    {"with_payload": "n"},
    {"with_payload": None},
)


@clause("scan.get")
async def test_get_returns_what_was_asked_for_in_order(cw: Conformance) -> None:
    """Check order, unknown and repeated ids, ids of both types, and many at once."""
    points = [point(n if n % 2 else f"s{n}", [1, n], {"n": n}) for n in range(1_200)] + [
        point("1", [1, 1], {"n": "text"})
    ]
    name = await cw.collection(points)
    got = await cw.backend.get_vectors(name, [7, "s4", "ghost", "1", 1, 7, 999_999])
    cw.equal([one.id for one in got], [7, "s4", "1", 1])
    cw.equal([one.payload for one in got], [{"n": 7}, {"n": 4}, {"n": "text"}, {"n": 1}])
    cw.equal(await cw.backend.get_vectors(name, []), [])
    wanted = [one.id for one in points][::-1]
    got = await cw.backend.get_vectors(name, wanted, with_payload=["n"], with_vectors=False)
    cw.equal([one.id for one in got], wanted, "1,201 ids at once")
    [bare] = await cw.backend.get_vectors(name, ["s4"], with_payload=False)
    cw.equal(bare.payload or {}, {}, "with_payload=False")
    for bad in ([True], [-1], [""], "s4", None):
        with cw.raises(InvalidIdError, InvalidInputError, why=repr(bad)):
            await cw.backend.get_vectors(name, bad)
    for option in _WRONG_OPTIONS:
        with cw.raises(InvalidInputError, why=repr(option)):
            await cw.backend.get_vectors(name, ["s4"], **option)


async def _scrolled(cw: Conformance, name: str, **how: Any) -> list[Any]:
    found: list[Any] = []
    cursor, pages = None, 0
    while True:
        page = await cw.backend.scroll_vectors(name, cursor=cursor, **how)
        cw.true(len(page.points) <= how["limit"], f"at most {how['limit']} points on a page", len(page.points))
        found += page.points
        cursor, pages = page.cursor, pages + 1
        if cursor is None:
            return found
        cw.true(type(cursor) is str, "a text or None as cursor", cursor)
        cw.true(pages < 3_000, "an end", f"{pages} pages")


@clause("scan.scroll")
async def test_scrolling_gives_every_point_once(cw: Conformance) -> None:
    """Check page sizes that divide the count and that do not, ids of both types, filters, and the empty collection."""
    points = [point(n if n % 2 else f"s{n}", [1, n], {"n": n, "third": n % 3 == 0}) for n in range(300)]
    name = await cw.collection(points)
    everything = {one.id: one.payload for one in points}
    for limit in (1, 7, 100, 299, 300, 301, 1_000):
        some = limit if limit > 1 else 60
        found = await _scrolled(cw, name, limit=some)
        cw.equal(len(found), 300, f"limit={some}")
        cw.equal({one.id: one.payload for one in found}, everything, f"limit={some}")
        cw.true(
            all(one.vector is None or not len(one.vector) for one in found), "no vectors: none were asked for", found[0]
        )
    third = SearchFilter(must=[FilterCondition("third", "eq", True)])
    for limit in (9, 100, 101):
        found = await _scrolled(cw, name, limit=limit, search_filter=third, with_payload=["n"], with_vectors=True)
        cw.equal(sorted(one.payload["n"] for one in found), list(range(0, 300, 3)), f"filtered, limit={limit}")
        cw.true(all(one.payload.keys() == {"n"} for one in found), "the payload's key n only", found[0].payload)
        cw.true(all(len(one.vector) == 2 for one in found), "vectors, as asked", [one.vector for one in found][:3])
    cw.equal(await _scrolled(cw, name, limit=5, search_filter=SearchFilter(must=[FilterCondition("n", "lt", 0)])), [])
    last = await _scrolled(cw, name, limit=5, search_filter=SearchFilter(must=[FilterCondition("n", "ge", 293)]))
    cw.equal(sorted(one.payload["n"] for one in last), list(range(293, 300)), "the last ones only")
    cw.equal(await _scrolled(cw, await cw.collection(), limit=10), [], "an empty collection")
    few = await cw.collection([point(n, [1, n]) for n in range(5)])
    for limit in (1, 2, 5):
        cw.equal(
            sorted(one.id for one in await _scrolled(cw, few, limit=limit)), [0, 1, 2, 3, 4], f"limit={limit} of 5"
        )


@clause("scan.scroll")
async def test_scrolling_survives_deletes_behind_it(cw: Conformance) -> None:
    """Check that deleting what was read does not make the next page skip: re-indexing does just that."""
    name = await cw.collection([point(n, [1, n]) for n in range(95)])
    seen: list[Any] = []
    cursor = None
    while True:
        page = await cw.backend.scroll_vectors(name, cursor=cursor, limit=10)
        seen += [one.id for one in page.points]
        await cw.backend.delete_vectors(name, [one.id for one in page.points])
        cursor = page.cursor
        if cursor is None:
            break
    cw.equal(sorted(seen), list(range(95)))
    cw.equal(await cw.count(name), 0)


@clause("scan.scroll", "health.true")
async def test_scrolls_go_on_whatever_is_called_between(cw: Conformance) -> None:
    """Check that health, infos, searches and other scrolls do not move the place where one is."""
    name = await cw.collection([point(n, [1, n], {"n": n}) for n in range(60)])
    few = SearchFilter(must=[FilterCondition("n", "lt", 25)])
    seen: dict[str, list[Any]] = {"all": [], "few": []}
    cursors: dict[str, str | None] = {"all": None, "few": None}
    open_ = set(seen)
    while open_:
        for which in sorted(open_):
            how = {"search_filter": few} if which == "few" else {}
            page = await cw.backend.scroll_vectors(name, cursor=cursors[which], limit=7, **how)
            seen[which] += [one.id for one in page.points]
            cursors[which] = page.cursor
            open_ -= {which} if page.cursor is None else set()
            cw.equal(await cw.backend.health_check(), True)
            await cw.backend.get_collection_info(name)
            await cw.backend.search_vectors(name, [1, 1])
        cw.true(len(seen["all"]) <= 60, "each point once", seen["all"])
    cw.equal(sorted(seen["all"]), list(range(60)), "a scroll of all")
    cw.equal(sorted(seen["few"]), list(range(25)), "a scroll by a filter")


@clause("scan.scroll-refused")
async def test_foreign_cursors_and_empty_pages_are_refused(cw: Conformance) -> None:
    """Check that a cursor of no page is not read as the beginning."""
    name = await cw.collection([point(n, [1, n]) for n in range(5)])
    for cursor in ("no cursor", "", 5, b"1", "'; --", True, "\ud800", "9" * 5_000):
        with cw.raises(InvalidInputError, why=f"cursor={cursor!r}"):
            await cw.backend.scroll_vectors(name, cursor=cursor)
    for limit in (0, -1, True, 1.5, cw.limits.max_limit + 1):
        with cw.raises(InvalidInputError, why=f"limit={limit!r}"):
            await cw.backend.scroll_vectors(name, limit=limit)
    for option in _WRONG_OPTIONS:
        with cw.raises(InvalidInputError, why=repr(option)):
            await cw.backend.scroll_vectors(name, **option)


@clause("scan.count")
async def test_counts_are_exact(cw: Conformance) -> None:
    """Check with and without a filter, after deletes and overwrites, beyond a page of 1,000."""
    name = await cw.collection([point(n, [1, n], {"n": n, "even": n % 2 == 0}) for n in range(1_500)])
    even = SearchFilter(must=[FilterCondition("even", "eq", True)])
    cw.equal(await cw.backend.count_vectors(name), 1_500)
    cw.equal(await cw.backend.count_vectors(name, even), 750)
    cw.equal(await cw.backend.count_vectors(name, SearchFilter()), 1_500)
    await cw.backend.delete_vectors(name, list(range(100)))
    await cw.backend.upsert_vectors(name, [point(n, [1, n], {"even": True}) for n in range(101, 200, 2)])
    cw.equal(await cw.backend.count_vectors(name), 1_400)
    cw.equal(await cw.backend.count_vectors(name, even), 750)
    cw.equal(await cw.backend.count_vectors(name, SearchFilter(must=[FilterCondition("even", "eq", "yes")])), 0)


@clause("scan.delete-by-filter")
async def test_deleting_by_filter_takes_what_matches(cw: Conformance) -> None:
    """Check re-indexing: delete where path = x, and nothing else; beyond a page; the empty filter takes all."""
    paths = ["a.py", "a.pyc", "A.py", "it's.py", 'say "x".py', "%", "*"]
    points = [point(f"{path}:{n}", [1, n], {"path": path, "n": n}) for path in paths for n in range(4)]
    name = await cw.collection(points)
    left = {one.id for one in points}
    for path in paths[:6]:
        one = SearchFilter(must=[FilterCondition("path", "eq", path)])
        cw.equal(await cw.backend.delete_by_filter(name, one), 4, f"deleted of {path!r}")
        left -= {p.id for p in points if p.payload["path"] == path}  # type: ignore[index]
        cw.equal(await cw.ids(name), left, f"after deleting {path!r}")
        cw.equal(await cw.backend.delete_by_filter(name, one), 0, "nothing is left to delete")
    many = await cw.collection([point(n, [1, n], {"n": n}) for n in range(2_300)])
    big = SearchFilter(must=[FilterCondition("n", "ge", 50)])
    cw.equal(await cw.backend.delete_by_filter(many, big), 2_250)
    cw.equal(await cw.ids(many), set(range(50)))
    cw.equal(await cw.backend.delete_by_filter(many, SearchFilter()), 50, "a filter without restriction")
    cw.equal(await cw.count(many), 0)


@clause("scan.delete-by-filter")
@pytest.mark.parametrize("bad", [{"n": 1}, SearchFilter(must=[FilterCondition("n", "like", 1)]), 5, "n"], ids=ascii)
async def test_a_bad_filter_deletes_nothing(cw: Conformance, bad: Any) -> None:
    """Check that a filter that cannot be read is not read as no restriction."""
    name = await cw.collection([point(1, [1, 0], {"n": 1})])
    with cw.raises(InvalidInputError):
        await cw.backend.delete_by_filter(name, bad)
    await cw.unchanged(name, {1: {"n": 1}})


@clause("scan.generated")
def test_scans_select_what_searches_select(cw: Conformance) -> None:
    """Check count, scroll and delete on generated filters; the filter in the message is the smallest that fails."""
    world = strategies.WORLD if cw.claims("supports_contains") and cw.claims("supports_datetime_ranges") else None
    if world is None:
        world = strategies.World(
            strategies.WORLD.fields, cw.claims("supports_contains"), cw.claims("supports_datetime_ranges")
        )
    maker = Maker(random.Random(cw.seed + 1), world)  # noqa: S311 - reproducible, not secret
    points = [point(n, [1, n / 10], maker.payload()) for n in range(40)]
    name = cw.run(cw.fixture("scanned", lambda: cw.collection(points)))
    budget = [6]

    async def compare(one: FilterLike) -> None:
        expected = set(oracle.selected(points, one))
        cw.equal(await cw.backend.count_vectors(name, one), len(expected), f"count of {one!r}")
        found = await _scrolled(cw, name, limit=17, search_filter=one)
        cw.equal({p.id for p in found}, expected, f"scroll of {one!r}")
        if budget[0] and 0 < len(expected) < 40:
            budget[0] -= 1
            doomed = await cw.collection(points)
            cw.equal(await cw.backend.delete_by_filter(doomed, one), len(expected), f"deleted by {one!r}")
            cw.equal(await cw.ids(doomed), {p.id for p in points} - expected, f"left by {one!r}")
            await cw.backend.delete_collection(doomed)

    @generated(cw, strategies.filters(world))
    def agree(one: FilterLike) -> None:
        cw.run(compare(one))

    agree()
