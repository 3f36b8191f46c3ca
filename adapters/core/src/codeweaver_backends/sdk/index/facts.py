"""Facts: what a filter can ask of a payload.

A payload is stored whole, as exact JSON that no filter touches. Beside it an engine keeps one fact per scalar leaf or
list element: its path, its kind, its canonical value, and whether it stood alone or in a list. Looking a fact up is
token membership, which every engine has and which is two-valued: a missing field, a null and a value of another type
are just absent tokens, so negation is plain negation. ``docs/decisions/0002-facts.md`` tells how that was found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Any, Final, NamedTuple, TypeAlias

__all__ = ["Fact", "Kind", "Path", "kind_of", "leaves"]

Path: TypeAlias = tuple[str, ...]
"""The keys that lead to a field, outermost first. Never into a list."""


class Kind(IntEnum):
    """What stands at a path, or in the list at a path."""

    NULL = 0
    BOOL = 1
    NUMBER = 2
    STRING = 3
    LIST = 4
    """A list stands here; its scalar elements have facts of their own. Its lists and objects have none."""
    OBJECT = 5
    """An object stands here; its fields have facts under longer paths."""


class Fact(NamedTuple):
    """``value`` is ``None`` for ``NULL``, ``LIST`` and ``OBJECT``; ``element`` is true inside a list."""

    path: Path
    kind: Kind
    value: str | int | float | bool | None
    element: bool


_KINDS: Final[dict[type, Kind]] = {
    str: Kind.STRING,
    int: Kind.NUMBER,
    float: Kind.NUMBER,
    bool: Kind.BOOL,
    type(None): Kind.NULL,
    dict: Kind.OBJECT,
    list: Kind.LIST,
    tuple: Kind.LIST,
}


def leaves(payload: Mapping[str, Any], prefix: Path = ()) -> Iterator[Fact]:
    """Every fact of a payload that ``codeweaver_backends.validate`` has accepted, parents before children."""
    # Every ingest passes here, and a Fact's own constructor would cost a third of it.
    fact, kinds = tuple.__new__, _KINDS
    for key, value in payload.items():
        path = (*prefix, key)
        kind = kinds.get(type(value))
        if kind is None:
            kind = kind_of(value)
        if kind < Kind.LIST:
            yield fact(Fact, (path, kind, value, False))
        elif kind is Kind.OBJECT:
            yield fact(Fact, (path, kind, None, False))
            yield from leaves(value, path)
        else:
            yield fact(Fact, (path, kind, None, False))
            for element in value:
                element_kind = kinds.get(type(element))
                if element_kind is None:
                    element_kind = kind_of(element)
                if element_kind < Kind.LIST:
                    yield fact(Fact, (path, element_kind, element, True))


def kind_of(value: object) -> Kind:
    """The kind of a JSON value; subclasses count as what they extend."""
    kind = _KINDS.get(type(value))
    if kind is not None:
        return kind
    for base, kind in _KINDS.items():
        if isinstance(value, base):
            return kind
    raise TypeError(f"not a JSON value: {type(value).__name__}")
