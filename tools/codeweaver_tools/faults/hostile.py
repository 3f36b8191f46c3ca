"""Strings that an engine could take for something else, as ids, payload, keys of payloads, operands and names.

They are made of pieces that mean something somewhere: quotes, escapes, patterns, separators, parts of SQL and of JSON,
control characters, marks that combine, letters that change their length with their case.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import uuid4

from codeweaver_backends import DistanceMetric, FilterCondition, VectorPoint, create_backend
from codeweaver_backends.errors import BackendError, InvalidNameError

__all__ = ["run", "strings"]

_WORDS: Final = r"""
' " ` '' "" \ \\ \' \\\" % _ * ? . .. / // : ; , | & ! ~ ^ $ # @ - -- /* */ = == <> < > <= ( ) (( [ ] [0] { } {}
${x} $1 :x %s {0} \0 \n \u0000 \x00 null None NULL true false nan NaN inf 0 00 007 -0 -1 1.0 1e5 1E5 0x1f
9223372036854775808 and or not AND OR NOT in IN like LIKE select drop union '1'='1 ;drop x-- $ne $in $contains $and
2024-01-01 2024-01-01T00:00:00Z a A z Z ab AB ss
"""
_CHARACTERS: Final = (
    " \t\n\r\x01\x02\x1b\x1c\x1d\x1e\x1f\x7f\x85\xa0\xad\u200b\u200d\u2028\u2029\ufeff\ufffe\uffff\ue000"
    "\U000e0001\U0010ffff\u0301\xe9\xdf\u1e9e\u0130\u0131\u017f\ufb01\u212a\u03c2\u05d0\u0627\u202e\u65e5\u672c\u304c"
    "\u304b\u3099\uac00\u1100\u1161\U0001f600\U0001f468\U00010400"
)
_PIECES: Final = (*_WORDS.split(), *_CHARACTERS, "  ", "e\u0301", "\U0001f468\u200d\U0001f469")
_CHUNK: Final = 1_000
_ASKED: Final = 40
"""Strings of a chunk whose conditions are asked for one by one."""
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")


def strings(count: int, seed: int) -> list[str]:
    """So many different ones, of one to eight pieces."""
    chance = random.Random(seed)  # noqa: S311 - reproducible, and nothing else
    found: dict[str, None] = {}
    while len(found) < count:
        text = "".join(chance.choices(_PIECES, k=chance.randint(1, 8)))
        if text:
            found[text] = None
    return list(found)


async def run(backend: str, settings: Mapping[str, Any], values: int) -> dict[str, Any]:
    """Write and ask for so many strings; where an answer was not the one that equality of code points gives."""
    mistakes: list[str] = []
    async with create_backend(backend, **settings) as one:
        every = strings(values, 1)
        for start in range(0, values, _CHUNK):
            mistakes += await _chunk(one, every[start : start + _CHUNK])
        names = strings(max(1, values // 100), 2)
        mistakes += [mistake for name in names for mistake in await _name(one, name)]
    return {"values": values, "wrong": len(mistakes), "mistakes": mistakes[:20]}


async def _chunk(backend: Any, values: Sequence[str]) -> list[str]:
    name = f"cw-hostile-{uuid4().hex[:8]}"
    await backend.create_collection(name, 2, DistanceMetric.EUCLIDEAN)
    told: list[str] = []
    try:
        points = [
            VectorPoint(value, [1.0, float(row)], {"text": value, "list": [value, "-"], "keys": {value: row}})
            for row, value in enumerate(values)
        ]
        await backend.upsert_vectors(name, points)
        back = {point.id: point.payload for point in await backend.get_vectors(name, list(values), with_vectors=False)}
        told += [f"get {point.id!r}" for point in points if back.get(point.id) != point.payload]
        if await backend.count_vectors(name) != len(values):
            told.append("two ids became one")
        for start in range(0, len(values), 250):
            some = list(values[start : start + 250])
            if await backend.count_vectors(name, FilterCondition("text", "in", some)) != len(some):
                told.append(f"in from {some[0]!r} on")
        for row in range(0, len(values), max(1, len(values) // _ASKED)):
            told += await _conditions(backend, name, values, row)
    finally:
        await backend.delete_collection(name)
    return told


async def _conditions(backend: Any, name: str, values: Sequence[str], row: int) -> list[str]:
    value = values[row]
    within = {one for one in values if value in one}
    questions: list[tuple[str, FilterCondition, set[str]]] = [
        ("eq", FilterCondition("text", "eq", value), {value}),
        ("eq in a list", FilterCondition("list", "eq", value), {value}),
        ("a key", FilterCondition(("keys", value), "eq", row), {value}),
        ("a key exists", FilterCondition(("keys", value), "exists", True), {value}),
        ("contains", FilterCondition("text", "contains", value), within),
    ]
    told = []
    for what, condition, expected in questions:
        try:
            hits = await backend.search_vectors(name, [1.0, 0.0], len(values), condition)
        except BackendError as error:
            told.append(f"{what} {value!r}: {type(error).__name__}: {error}"[:300])
            continue
        if {hit.id for hit in hits} != expected:
            told.append(f"{what} {value!r}: {len(hits)} found, {len(expected)} expected")
    return told


async def _name(backend: Any, name: str) -> list[str]:
    """A name can be used, or it is none by the contract and is refused."""
    is_name = len(name.encode()) <= 80 and name not in (".", "..") and not _CONTROL.search(name)
    try:
        await backend.create_collection(name, 2)
    except InvalidNameError:
        return [f"the name {name!r} was refused"] if is_name else []
    if not is_name:
        return [f"the name {name!r} was taken"]
    listed = name in await backend.list_collections()
    await backend.delete_collection(name)
    return [] if listed else [f"the collection {name!r} is not listed"]
