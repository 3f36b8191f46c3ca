"""Filters of long texts: what an index cuts, or leaves out, is found by no short one."""

from __future__ import annotations

from codeweaver_backends.types import FilterCondition, SearchFilter
from codeweaver_conformance.clause import clause
from codeweaver_conformance.session import Conformance, point


def _texts(cw: Conformance) -> list[str]:
    """Pairs of texts of any length that differ in their last letter."""
    most = cw.limits.max_payload_bytes // 4
    sizes = [one for one in (64, 255, 256, 257, 1_024, 2_713, 8_190, 8_191, 8_192, 32_767) if one < most]
    return [f"{'é' * (size // 3)}{'x' * (size - size // 3 * 2)}{end}" for size in sizes for end in "ab"]


async def _written(cw: Conformance) -> str:
    points = [point(n, [1, n], {"s": one, "list": [one]}) for n, one in enumerate(_texts(cw))]
    return await cw.fixture("long texts", lambda: cw.collection(points))


@clause("filters.eq", "filters.in", "filters.nin")
async def test_long_texts_are_told_apart(cw: Conformance) -> None:
    """Check equality, alone and in lists: some indexes leave long texts out, or cut them."""
    name, texts = await _written(cw), _texts(cw)
    for n, one in enumerate(texts):
        for field in ("s", "list"):
            found = await cw.ids(name, SearchFilter(must=[FilterCondition(field, "eq", one)]))
            cw.equal(found, {n}, f"{field} eq a text of {len(one.encode())} bytes")
    for operator, first in (("in", 0), ("nin", 1)):
        found = await cw.ids(name, SearchFilter(must=[FilterCondition("s", operator, texts[::2])]))
        cw.equal(found, set(range(first, len(texts), 2)), f"{operator} of every second text")


@clause("filters.contains")
async def test_long_texts_are_found_by_long_parts(cw: Conformance) -> None:
    """Check a contains of any length up to the declared one, at the end of longer texts."""
    name, texts = await _written(cw), _texts(cw)
    longest = min(cw.limits.max_contains_length, 4_096)
    for length in sorted({one for one in (63, 128, 129, 200, 256, 1_000, longest) if one <= longest}):
        part = "x" * (length - 1) + "a"
        found = await cw.ids(name, SearchFilter(must=[FilterCondition("s", "contains", part)]))
        cw.equal(found, {n for n, one in enumerate(texts) if part in one}, f"contains of {length} characters")
