"""Filters of long texts: what an index cuts, or leaves out, is found by no short one."""

from __future__ import annotations

from codeweaver_backends.types import FilterCondition, SearchFilter
from codeweaver_conformance.clause import clause
from codeweaver_conformance.session import Conformance, point


@clause("filters.eq", "filters.in", "filters.contains")
async def test_long_texts_are_told_apart(cw: Conformance) -> None:
    """Check texts of any length that differ in their last letter: some indexes leave long ones out, or cut them."""
    most = cw.limits.max_payload_bytes // 2
    sizes = [one for one in (64, 255, 256, 257, 1_024, 2_713, 8_190, 8_191, 8_192, 32_767) if one < most]
    texts = [f"{'é' * (size // 3)}{'x' * (size - size // 3 * 2)}{end}" for size in sizes for end in "ab"]
    name = await cw.collection([point(n, [1, n], {"s": one, "list": [one]}) for n, one in enumerate(texts)])
    for n, one in enumerate(texts):
        for field in ("s", "list"):
            found = await cw.ids(name, SearchFilter(must=[FilterCondition(field, "eq", one)]))
            cw.equal(found, {n}, f"{field} eq a text of {len(one.encode())} bytes")
    chosen = texts[::2]
    found = await cw.ids(name, SearchFilter(must=[FilterCondition("s", "in", chosen)]))
    cw.equal(found, set(range(0, len(texts), 2)), "in of every second text")
    found = await cw.ids(name, SearchFilter(must=[FilterCondition("s", "nin", chosen)]))
    cw.equal(found, set(range(1, len(texts), 2)), "nin of every second text")
    if cw.claims("supports_contains"):
        longest = min(cw.limits.max_contains_length, 4_096)
        for length in (one for one in (63, 128, 129, 200, 256, 1_000, longest) if one <= longest):
            found = await cw.ids(name, SearchFilter(must=[FilterCondition("s", "contains", "x" * (length - 1) + "a")]))
            expected = {n for n, one in enumerate(texts) if "x" * (length - 1) + "a" in one}
            cw.equal(found, expected, f"contains of {length} characters")
