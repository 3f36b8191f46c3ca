"""From the filter tree to an engine's own conditions, by looking up what ``sdk.index.terms`` stored.

Every leaf is a look-up of terms, a comparison or a substring: true or false and never unknown, so that negation is
plain negation. An engine says in a ``Dialect`` how these few are spelt. A leaf that it cannot test is told by
``untestable``; ``resolve`` finds out which points match it, and the filter is compiled with their keys.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, assert_never

from codeweaver_backends.errors import UnsupportedError
from codeweaver_backends.sdk.filters.evaluate import matches
from codeweaver_backends.sdk.filters.tree import (
    ALWAYS,
    All,
    Always,
    AnyOf,
    Contains,
    Either,
    Exists,
    HasElement,
    InstantRange,
    IsNull,
    Leaf,
    Never,
    Node,
    Not,
    NumberRange,
    Order,
    Regex,
    all_of,
    either_of,
)
from codeweaver_backends.sdk.index.facts import Path
from codeweaver_backends.sdk.index.terms import Spelling

__all__ = ["Dialect", "Resolved", "candidates", "compile_filter", "resolve", "untestable_leaves"]

C = TypeVar("C")
"""A condition of the engine's."""

Resolved: TypeAlias = Mapping[Leaf, Collection[str]]
"""The keys of the points that match a leaf."""

_NOTHING: Final[Resolved] = {}


class Dialect(ABC, Generic[C]):
    """How an engine spells conditions.

    ``leaf`` is composed of the others; an engine that has something better for a leaf (a column of its own for a
    declared field) overrides it.
    """

    spelling: Spelling

    @abstractmethod
    def every(self, parts: Sequence[C]) -> C:
        """All of the parts hold; there is one at least."""

    @abstractmethod
    def some(self, parts: Sequence[C]) -> C:
        """One of the parts holds; there is one at least."""

    @abstractmethod
    def negated(self, part: C) -> C:
        """The part, which a leaf was compiled to, does not hold."""

    @abstractmethod
    def has_any(self, terms: Sequence[str]) -> C:
        """The point has one of the terms; there is one at least."""

    @abstractmethod
    def compare(self, path: Path, kind: Literal["number", "instant"], order: Order, bound: int | float) -> C:
        """A number (or instant, in microseconds) at the path or in the list there compares so with ``bound``."""

    @abstractmethod
    def substring(self, path: Path, text: str) -> C:
        """The string at the path, not in a list, holds ``text``, which is not empty."""

    def among(self, keys: Collection[str]) -> C:
        """The point has one of these keys, of which there may be none. Only dialects with untestable leaves need it."""
        raise TypeError(f"{type(self).__name__} has no condition on keys")

    def untestable(self, leaf: Leaf) -> bool:
        """Whether the engine cannot test the leaf, or not at a bearable cost."""
        return False

    def leaf(self, leaf: Leaf) -> C:
        """The leaf."""
        spelling, path = self.spelling, leaf.path
        match leaf:
            case AnyOf(_, values):
                return self.has_any([term for value in values for term in spelling.equal(path, value)])
            case NumberRange(_, order, bound):
                return self.compare(path, "number", order, bound)
            case InstantRange(_, order, bound):
                return self.compare(path, "instant", order, bound)
            case Contains(_, ""):
                return self.some([self.has_any([spelling.string_at(path)]), self.element(path, "")])
            case Contains(_, text):
                return self.some([self.substring(path, text), self.element(path, text)])
            case HasElement(_, value):
                return self.element(path, value)
            case Exists():
                return self.has_any(spelling.presence(path))
            case IsNull():
                return self.has_any([spelling.null_at(path)])
            case Regex():
                raise UnsupportedError("the operator 'regex' is not supported", capability="supports_regex")
        assert_never(leaf)

    def element(self, path: Path, value: Any) -> C:
        """The list at the path holds the value."""
        terms = self.spelling.element(path, value)
        return self.every([self.has_any([term]) for term in terms]) if len(terms) > 1 else self.has_any(terms)

    def denied(self, leaf: Leaf) -> C:
        """The leaf does not match: for engines without a negation of their own to spell it out."""
        return self.negated(self.leaf(leaf))


def compile_filter(node: Node, dialect: Dialect[C], resolved: Resolved = _NOTHING) -> C | None:
    """The tree as a condition; ``None`` takes every point.

    ``resolved`` has the keys for every untestable leaf. ``Never`` takes no point: no engine is asked, and it is a
    ``ValueError`` here.
    """
    if isinstance(node, Always):
        return None
    return _condition(node, dialect, resolved)


def _condition(node: Node, dialect: Dialect[C], resolved: Resolved) -> C:
    match node:
        case All(parts):
            return dialect.every([_condition(part, dialect, resolved) for part in parts])
        case Either(parts):
            return dialect.some([_condition(part, dialect, resolved) for part in parts])
        case Not(leaf):
            if dialect.untestable(leaf):
                return dialect.negated(dialect.among(resolved[leaf]))
            return dialect.denied(leaf)
        case Always() | Never():
            raise ValueError("a constant is answered without the engine")
        case _:
            return dialect.among(resolved[node]) if dialect.untestable(node) else dialect.leaf(node)


# --- leaves that an engine cannot test -------------------------------------------------------------------------------


def untestable_leaves(node: Node, dialect: Dialect[Any]) -> list[Leaf]:
    """The leaves of the tree that the engine cannot test, each once."""
    return list(dict.fromkeys(leaf for leaf in _leaves(node) if dialect.untestable(leaf)))


def _leaves(node: Node) -> Iterator[Leaf]:
    match node:
        case All(parts) | Either(parts):
            for part in parts:
                yield from _leaves(part)
        case Not(leaf):
            yield leaf
        case Always() | Never():
            pass
        case _:
            yield node


def candidates(node: Node, dialect: Dialect[Any]) -> Node:
    """A tree that the engine can test and that at least every point matches which matches ``node``."""
    match node:
        case All(parts):
            return all_of([candidates(part, dialect) for part in parts], None)
        case Either(parts):
            return either_of([candidates(part, dialect) for part in parts], None)
        case Not(leaf):
            return ALWAYS if dialect.untestable(leaf) else node
        case Always() | Never():
            return node
        case Contains(path, text) if dialect.untestable(node):
            return Either((Contains(path, ""), AnyOf(path, (text,))))
        case _:
            return Exists(node.path) if dialect.untestable(node) else node


async def resolve(
    node: Node, dialect: Dialect[C], read: Callable[[C | None], AsyncIterable[tuple[str, Mapping[str, Any]]]]
) -> dict[Leaf, list[str]]:
    """The keys of the points that match each untestable leaf, as ``compile_filter`` takes them.

    ``read`` gives key and payload of the points of a condition. What must hold as well, and can be tested, keeps them
    few: so the keys are right within ``node`` only.
    """
    parts = node.parts if isinstance(node, All) else (node,)
    bounds = [part for part in parts if not untestable_leaves(part, dialect)]
    resolved: dict[Leaf, list[str]] = {}
    for leaf in untestable_leaves(node, dialect):
        narrow = all_of([*bounds, candidates(leaf, dialect)], None)
        resolved[leaf] = []
        if not isinstance(narrow, Never):
            found = read(compile_filter(narrow, dialect))
            resolved[leaf] = [key async for key, payload in found if matches(leaf, payload)]
    return resolved
