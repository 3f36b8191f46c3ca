"""From the filter tree to a Milvus expression, by looking up what ``codeweaver_milvus.convert`` stored.

Every leaf is a test of tokens or of range keys, true or false and never unknown, so that negation is plain ``not``.
A leaf that the engine cannot test is told by ``untestable``; the backend finds out which points match it, and
``translate`` names them. Groups become balanced trees: engines refuse deep expressions, not large ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from codeweaver_backends.sdk.filters.tree import (
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
)
from codeweaver_backends.sdk.index.facts import Path
from codeweaver_backends.sdk.index.keys import instant_key
from codeweaver_backends.types import Scalar
from codeweaver_milvus.convert import (
    MEMBER,
    PathCode,
    compact_number,
    encode_text,
    path_code,
    range_name,
    value_code,
)
from codeweaver_milvus.layout import Declared, Layout
from codeweaver_milvus.traits import Traits

__all__ = ["Resolved", "candidates", "id_in", "joined", "translate", "untestable"]

Resolved = Mapping[Leaf, Sequence[str]]
"""The primary keys of the points that match a leaf."""

_NONE: Final = '(id == "")'
_ALL: Final = '(id != "")'
_SIGNS: Final[dict[Order, str]] = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


def translate(node: Node, layout: Layout, traits: Traits, resolved: Resolved | None = None) -> str:
    """The expression; the empty one takes every point."""
    if isinstance(node, Always):
        return ""
    return _Translator(layout, traits, resolved or {}).node(node)


def untestable(node: Node, layout: Layout, traits: Traits) -> Iterator[Leaf]:
    """The leaves that the engine cannot test, or not at a bearable cost."""
    match node:
        case All(parts) | Either(parts):
            for part in parts:
                yield from untestable(part, layout, traits)
        case Not(leaf):
            yield from untestable(leaf, layout, traits)
        case Contains(path, text):
            if text and traits.tokens.substring(layout.facts, path_code(path).prefix, "") is None:
                yield node
        case AnyOf(path, values):
            if len(values) > traits.pushed_values and path not in layout.declared:
                yield node
        case _:
            pass


def candidates(leaf: Leaf, layout: Layout, traits: Traits) -> str:
    """An expression that at least every point matches which matches an untestable leaf."""
    prefix = path_code(leaf.path).prefix
    if isinstance(leaf, Contains):
        return joined("or", traits.tokens.any(layout.facts, [prefix + "S"]))
    return traits.tokens.exists(layout.facts, prefix)


def id_in(keys: Sequence[str]) -> str:
    """Whether the id is one of these primary keys."""
    listed = ",".join(f'"{key}"' for key in keys)
    return f"id in [{listed}]" if keys else _NONE


def joined(operator: str, parts: Sequence[str]) -> str:
    """The parts in a balanced tree."""
    level = list(parts)
    while len(level) > 1:
        pairs = [f"({one} {operator} {other})" for one, other in zip(level[::2], level[1::2], strict=False)]
        level = [*pairs, level[-1]] if len(level) % 2 else pairs
    return level[0]


@dataclass(frozen=True, slots=True)
class _Translator:
    layout: Layout
    traits: Traits
    resolved: Resolved

    def node(self, node: Node) -> str:
        match node:
            case Always():
                return _ALL
            case Never():
                return _NONE
            case All(parts):
                return joined("and", [self.node(part) for part in parts])
            case Either(parts):
                return joined("or", [self.node(part) for part in parts])
            case Not(leaf):
                return f"(not ({self.leaf(leaf)}))"
            case _:
                return self.leaf(node)

    def leaf(self, leaf: Leaf) -> str:
        code = path_code(leaf.path)
        prefix = code.prefix
        match leaf:
            case AnyOf(path, values):
                known = self.resolved.get(leaf)
                return self._any_of(path, prefix, values) if known is None else id_in(known)
            case NumberRange(path, order, bound):
                return self._range(path, code, order, compact_number(bound), instant=False)
            case InstantRange(path, order, bound):
                return self._range(path, code, order, instant_key(bound), instant=True)
            case Contains(_, text):
                return self._contains(leaf, prefix, text)
            case HasElement(_, value):
                return self._token(prefix + value_code(value) + MEMBER)
            case Exists():
                return self.traits.tokens.exists(self.layout.facts, prefix)
            case IsNull():
                return self._token(prefix + "Z")
            case Regex():
                raise NotImplementedError("regex is not claimed, so it is refused before it comes here")
        assert_never(leaf)

    def _token(self, token: str) -> str:
        return self.traits.tokens.any(self.layout.facts, [token])[0]

    def _any_of(self, path: Path, prefix: str, values: Sequence[Scalar]) -> str:
        declared = self.layout.declared.get(path)
        column, start = (declared.values, "") if declared else (self.layout.facts, prefix)
        return joined("or", self.traits.tokens.any(column, [start + value_code(value) for value in values]))

    def _contains(self, leaf: Contains, prefix: str, text: str) -> str:
        code = encode_text(text)
        parts = [self._token(f"{prefix}s{code}{MEMBER}")]
        if not text:
            parts.append(self._token(prefix + "S"))
        elif leaf in self.resolved:
            parts.append(id_in(self.resolved[leaf]))
        else:
            pushed = self.traits.tokens.substring(self.layout.facts, prefix, code)
            if pushed is None:
                raise LookupError("the points of an untestable leaf must be resolved before it is translated")
            parts.append(pushed)
        return joined("or", parts)

    def _range(self, path: Path, code: PathCode, order: Order, bound: str, *, instant: bool) -> str:
        # Any element will do: one is above a bound if the greatest is, and below it if the least is.
        high = order in ("gt", "ge")
        declared = self.layout.declared.get(path)
        if declared and declared.instant is instant:
            return f'({_column(declared, high=high)} {_SIGNS[order]} "{bound}")'
        guard = self._token(code.prefix + ("T" if instant else "N"))
        key = f'{self.layout.ranges}["{range_name(code.key, instant=instant, high=high)}"]'
        return f'({guard} and {key} {_SIGNS[order]} "{bound}")'


def _column(declared: Declared, *, high: bool) -> str:
    return declared.high if high else declared.low
