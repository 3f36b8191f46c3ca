"""Core's own reading of filters, changed in one place: if the kit's oracle leant on it, nobody would notice."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from types import FunctionType
from typing import Any

from codeweaver_backends.sdk.filters import parse, tree
from codeweaver_backends.sdk.index import keys

__all__ = ["MUTANTS", "Mutant"]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A function of core in which ``old`` becomes ``new``."""

    id: str
    sentence: str
    function: str
    old: str
    new: str

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Change the function's code, whoever holds the function, and change it back."""
        owner, _, _ = self.function.partition(".")
        # Where it is defined, not where it was imported to: its globals are that module's.
        module = next(
            one for one in (parse, tree, keys) if getattr(vars(one).get(owner), "__module__", "") == one.__name__
        )
        function: Any = reduce(getattr, self.function.split("."), module)
        source = textwrap.dedent(inspect.getsource(function))
        places = list(_places(source, self.old))
        if len(places) != 1:
            raise ValueError(f"{self.id}: {self.function} does not hold {self.old!r} once")
        [(start, end)] = places
        scope: dict[str, Any] = {}
        text = source[:start] + self.new + source[end:]
        code = compile("from __future__ import annotations\n" + text, self.id, "exec")
        exec(code, vars(module), scope)  # noqa: S102 - our own source, changed
        changed: FunctionType = scope[function.__name__]
        kept = function.__code__
        function.__code__ = changed.__code__
        try:
            yield
        finally:
            function.__code__ = kept


_TOKEN = re.compile(r"""(?P<comment>\#.*)|"(?P<double>[^"\n]*)"|'(?P<single>[^'\n]*)'|\w+|[^\w\s]""")
_CLOSING = frozenset(")]}")


def _tokens(source: str) -> list[tuple[str, int, int]]:
    """Tokens and their places, without what a formatter changes: lines, quotes, comments, trailing commas."""
    found = []
    for match in _TOKEN.finditer(source):
        if match["comment"] is None:
            text = match["double"] if match["double"] is not None else match["single"]
            found.append((match[0] if text is None else repr(text), match.start(), match.end()))
    return [
        token
        for token, after in zip(found, [*found[1:], ("", 0, 0)], strict=True)
        if not (token[0] == "," and after[0] in _CLOSING)
    ]


def _places(source: str, fragment: str) -> Iterator[tuple[int, int]]:
    """Where the fragment stands in the source, however either is formatted."""
    tokens, wanted = _tokens(source), [text for text, _, _ in _tokens(fragment)]
    for first in range(len(tokens) - len(wanted) + 1):
        part = tokens[first : first + len(wanted)]
        if [text for text, _, _ in part] == wanted:
            yield part[0][1], part[-1][2]


_EQUALITY, _ALIAS = "_equality", "_ALIASES.get(operator, operator)"

MUTANTS: dict[str, Mutant] = {
    one.id: one
    for one in (
        Mutant("nrm-de-morgan", "A negated filter negates its parts and stays an all.", "_Reader.node",
               "either_of(parts, widest) if negated else ", ""),
        Mutant("nrm-de-morgan-should", "A negated should stays an either.", "_Reader.node",
               "all_of(alternatives, widest) if negated else ", ""),
        Mutant("nrm-double-negation", "must_not inside must_not negates once.", "_Reader.node",
               "not negated) for part", "True) for part"),
        Mutant("nrm-should-not-negated", "should inside must_not is not negated.", "_Reader.node",
               "negated) for part in should", "False) for part in should"),
        Mutant("nrm-conditions", "conditions is not read.", "_Reader.node",
               '*_items("conditions", item.conditions)', ""),
        Mutant("nrm-empty-should", "An empty should matches nothing.", "_Reader.node",
               "if should:", "if item.should is not None:"),
        Mutant("nrm-depth-off", "Depth is not checked.", "_Reader.node", "depth > limits.max_filter_depth", "False"),
        Mutant("nrm-depth-early", "The declared depth itself is refused.", "_Reader.node",
               "depth > limits.max_filter_depth", "depth >= limits.max_filter_depth"),
        Mutant("nrm-conditions-off", "Conditions are not counted.", "_Reader._condition",
               "self.conditions > limit", "False"),
        Mutant("nrm-negation-lost", "A negated condition is affirmed.", "_Reader._condition",
               "leaf if affirmed != negated", "leaf if affirmed"),
        Mutant("nrm-empty-in", "in [] matches everything, nin [] nothing.", "_Reader._condition",
               "ALWAYS if affirmed == negated else NEVER", "NEVER if affirmed == negated else ALWAYS"),
        Mutant("nrm-ne", "ne means eq.", _EQUALITY, 'operator == "eq"', "True"),
        Mutant("nrm-nin", "nin means in.", _EQUALITY, 'operator == "in"', "True"),
        Mutant("nrm-in-limit-off", "The values of an in are not counted.", _EQUALITY, "len(value) > limit", "False"),
        Mutant("nrm-in-string", "A bare string is the list of its letters.", _EQUALITY,
               "isinstance(value, list | tuple)", "isinstance(value, list | tuple | str)"),
        Mutant("nrm-gt-ge", "gt and ge are swapped.", "_comparison", "order: Order = operator",
               'order: Order = {"gt": "ge", "ge": "gt"}.get(operator, operator)'),
        Mutant("nrm-lt-le", "le means lt.", "_comparison", "order: Order = operator",
               'order: Order = "lt" if operator == "le" else operator'),
        Mutant("nrm-range-float", "A bound is rounded to a double.", "_comparison",
               "NumberRange(path, order, number)", "NumberRange(path, order, float(number))"),
        Mutant("nrm-range-bool", "True is a bound.", "_comparison", "isinstance(number, bool) or ", ""),
        Mutant("nrm-alias-gte", "gte means gt.", "_operator", _ALIAS, f'"gt" if operator == "gte" else {_ALIAS}'),
        Mutant("nrm-alias-not-in", "not_in means in.", "_operator", _ALIAS,
               f'"in" if operator == "not_in" else {_ALIAS}'),
        Mutant("nrm-alias-ne", "!= means eq.", "_operator", _ALIAS, f'"eq" if operator == "!=" else {_ALIAS}'),
        Mutant("nrm-operator-guessed", "An unknown operator means eq.", "_operator",
               "if canonical in _READERS:", "if canonical in _READERS or (canonical := 'eq'):"),
        Mutant("nrm-merged-and", "a = 1 and a = 2 is folded to a in [1, 2].", "all_of",
               "negated=True", "negated=False"),
        Mutant("nrm-merged-or", "not a = 1 or not a = 2 is folded to not a in [1, 2].", "either_of",
               "negated=False", "negated=True"),
        Mutant("nrm-merged-first", "Of folded equalities the first counts.", "_merged",
               ".extend(leaf.values)", ".extend(leaf.values if not gathered[leaf.path] else ())"),
        Mutant("nrm-merged-bool", "not in [1] and not in [True] are one part.", "AnyOf.__eq__",
               "_exact(self.values) == _exact(other.values)", "self.values == other.values"),
        Mutant("nrm-merged-paths", "Equalities of different fields are folded.", "_merged",
               "gathered.setdefault(leaf.path, [])", "gathered.setdefault(next(iter(gathered), leaf.path), [])"),
        Mutant("nrm-distinct-bool", "1 and True are one operand.", "distinct",
               "_exact(unique)", "unique"),
        Mutant("nrm-all-never", "A part that can never match is left out of an all.", "all_of",
               "Never):\n            return NEVER", "Never):\n            continue"),
        Mutant("nrm-either-always", "A part that always matches is left out of an either.", "either_of",
               "Always):\n            return ALWAYS", "Always):\n            continue"),
        Mutant("nrm-opposed-all", "a and not a matches everything.", "all_of",
               "(flat):\n        return NEVER", "(flat):\n        return ALWAYS"),
        Mutant("nrm-opposed-either", "a or not a matches nothing.", "either_of",
               "(flat):\n        return ALWAYS", "(flat):\n        return NEVER"),
        Mutant("nrm-opposed", "Whatever is beside a negation is its opposite.", "_opposed", " and any(", " or any("),
        Mutant("nrm-path-whole", "A dotted field is one key.", "_path", 'tuple(field.split("."))', "(field,)"),
        Mutant("nrm-path-tuple", "A tuple path is split at its dots.", "_path",
               "path: Path = field", 'path: Path = tuple(".".join(field).split("."))'),
        Mutant("nrm-path-empty", "An empty segment is taken.", "_path", 'if "" in path:', "if False:"),
        Mutant("nrm-presence", "exists False affirms.", "_presence", "value is not False", "True"),
        Mutant("nrm-presence-operand", "exists takes any operand.", "_presence",
               "value is not None and not isinstance(value, bool)", "False"),
        Mutant("nrm-presence-swapped", "is_null means exists.", "_presence", 'if operator == "exists"', "if operator"),
        Mutant("nrm-contains-text", "contains with a number looks for its text.", "_containment",
               "HasElement(path, operand)", "Contains(path, str(operand))"),
        Mutant("nrm-contains-limit", "The length of a contains is not checked.", "_containment",
               "len(operand) > limit", "False"),
        Mutant("nrm-nan", "NaN is an operand.", "_scalar", "math.isfinite(value)", "True"),
        Mutant("nrm-wide-int", "Integers of any size are operands.", "_scalar",
               "not INT64_MIN <= value <= INT64_MAX", "False"),
        Mutant("nrm-surrogate", "A lone surrogate is an operand.", "_encodable",
               "text.encode()", "text.encode(errors='replace')"),
        Mutant("nrm-dict-keys", "Unknown keys of a dict are left out.", "_coerce",
               "if unknown:", "item = {key: item[key] for key in item if key in allowed}\n    if False:"),
        Mutant("nrm-group-scalar", "A group that is no list is no group.", "_items",
               "raise InvalidFilterError", "return []\n        raise InvalidFilterError"),
        Mutant("nrm-instant-offset", "The offset of an instant is added, not subtracted.", "parse_instant",
               "(minute - offset)", "(minute + offset)"),
        Mutant("nrm-instant-millisecond", "Instants are cut to the millisecond.", "parse_instant", "[:6]", "[:3]"),
    )
}  # fmt: skip
