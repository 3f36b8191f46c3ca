"""Which points a filter takes: a condition for Chroma, or the keys, where there is something that it cannot test.

That is a substring. Its candidates are the points that have a string there and match what else must hold; their
payloads are read and tested here. The rest of the filter stays Chroma's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

from codeweaver_backends.sdk.filters.evaluate import matches
from codeweaver_backends.sdk.filters.tree import All, Contains, Either, Node, Not
from codeweaver_backends.sdk.payloads import decode_payload
from codeweaver_chroma.convert import decode_document
from codeweaver_chroma.engine import ROWS_AT_ONCE, Collection, Engine
from codeweaver_chroma.filters import Where, both, is_testable, member, strings, translate

__all__ = ["Selection", "select"]


@dataclass(frozen=True, slots=True)
class Selection:
    """The points a filter takes: those that match ``where``, or those of ``keys``."""

    where: Where | None
    keys: list[str] | None = None


async def select(engine: Engine, collection: Collection, node: Node) -> Selection:
    """What the filter takes now."""
    if is_testable(node):
        return Selection(translate(node, collection.facts))
    return Selection(None, sorted(await _keys(engine, collection, node, None)))


async def _keys(engine: Engine, collection: Collection, node: Node, bound: Where | None) -> set[str]:
    """The keys of the points that match the node and the bound."""
    if is_testable(node):
        return await _matching(engine, collection, both(bound, translate(node, collection.facts)))
    match node:
        case All(parts):
            bound = both(bound, *(translate(part, collection.facts) for part in parts if is_testable(part)))
            found = [await _keys(engine, collection, part, bound) for part in parts if not is_testable(part)]
            return reduce(set.intersection, found)
        case Either(parts):
            found = [await _keys(engine, collection, part, bound) for part in parts]
            return reduce(set.union, found)
        case Not(leaf):
            every = await _matching(engine, collection, bound)
            return every - await _keys(engine, collection, leaf, bound)
        case Contains():
            return await _containing(engine, collection, node, bound)
        case _:
            raise TypeError(f"{type(node).__name__} is testable")


async def _matching(engine: Engine, collection: Collection, where: Where | None) -> set[str]:
    return set((await engine.get(collection.id, where=where))["ids"])


async def _containing(engine: Engine, collection: Collection, leaf: Contains, bound: Where | None) -> set[str]:
    found = await _matching(engine, collection, both(bound, member(leaf, collection.facts)))
    candidates = sorted(await _matching(engine, collection, both(bound, strings(leaf, collection.facts))))
    for start in range(0, len(candidates), ROWS_AT_ONCE):
        rows = await engine.get(collection.id, keys=candidates[start : start + ROWS_AT_ONCE], include=["uris"])
        for key, document in zip(rows["ids"], rows["uris"], strict=True):
            if matches(leaf, decode_payload(decode_document(document)[0])):
                found.add(key)
    return found
