"""Terms: what a payload is looked up by, in one language that every engine spells in its own characters.

A term is the code of a path, a letter, and where a value is told, its code::

    Z N S L O        a null, number, string, list or object stands at the path; ``N`` also for a number in a list
    T                an instant stands at the path, or in the list there
    b0 b1 n… s… h…   the value: a bool, a number, a string, or of a long string its digest
    z                null in a list
    m and a value    the value is in a list

So every key of a payload leaves one term that tells it is there, and a look-up is whether a point has a term.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any, Final, Generic, NamedTuple, TypeVar

from codeweaver_backends.sdk.index.codes import digest
from codeweaver_backends.sdk.index.facts import Kind, Path, kind_of
from codeweaver_backends.sdk.index.keys import SHORTEST_INSTANT, canonical_number, parse_instant
from codeweaver_backends.types import Scalar

__all__ = ["Column", "Elements", "Entries", "Spelling", "entries_of", "path_speller", "spans"]

T = TypeVar("T")
Ordered = TypeVar("Ordered", int, float)

_COLUMN_ROWS: Final = 16
"""Objects of one shape from which on columns are faster than rows."""
_MEMBER: Final = "m"


# --- spelling --------------------------------------------------------------------------------------------------------


class Elements(Enum):
    """How the elements of a list are told from a scalar of the same value."""

    SHARED = "shared"
    """They share its term; that a list stands there is looked up beside it. The fewest terms."""
    MARKED = "marked"
    """They share its term and have one of their own: an element is one look-up."""
    APART = "apart"
    """They have a term of their own only: patterns over the terms of scalars meet no element."""


class Field(NamedTuple):
    """The terms of one path; ``code`` is what they begin with."""

    code: str
    null: str
    number: str
    string: str
    list: str
    object: str
    instant: str
    bools: tuple[str, str]


def path_speller(
    segment: Callable[[str], str], *, step: str, end: str, mark: str, longest: int = 64
) -> Callable[[Path], str]:
    """Codes of paths: the codes of the keys, ``step`` between them and ``end`` behind, or ``mark`` and a digest.

    A code of more than ``longest`` characters is replaced by its digest, since every term below the path repeats it.
    Different paths have different codes as long as ``segment`` is reversible and gives none of ``step``, ``end`` and
    ``mark``.
    """

    def spell(path: Path) -> str:
        code = step.join(map(segment, path))
        return f"{code if len(code) <= longest else mark + digest(code)}{end}"

    return spell


@lru_cache(maxsize=16_384)
def _canonical(value: float) -> str:
    return canonical_number(value)


class Spelling:
    """How one engine spells terms.

    ``path`` gives the code of a path (see ``path_speller``): no code may be the beginning of another. ``text`` and
    ``number`` give the codes of values, different for different ones and equal for equal numbers. Texts of more than
    ``longest`` characters are told by their digest; with ``None`` none is. ``separator`` stands in no code.
    """

    def __init__(
        self,
        path: Callable[[Path], str],
        *,
        text: Callable[[str], str] = str,
        number: Callable[[float], str] = _canonical,
        elements: Elements = Elements.SHARED,
        longest: int | None = None,
        separator: str = "\x1f",
    ) -> None:
        self.text = text
        self.number = number
        self.elements = elements
        self.longest = longest
        self.separator = separator
        self.field: Callable[[Path], Field] = lru_cache(maxsize=65_536)(lambda path_: _field(path(path_)))

    def path(self, path: Path) -> str:
        """What every term of the path begins with, and no other term."""
        return self.field(path).code

    def value(self, value: Scalar) -> str:
        """A value as it stands in a term."""
        kind = kind_of(value)
        if kind is Kind.STRING:
            text: str = value  # type: ignore[assignment]
            if self.longest is not None and len(text) > self.longest:
                return "h" + digest(text)
            return "s" + self.text(text)
        if kind is Kind.NUMBER:
            return "n" + self.number(value)  # type: ignore[arg-type]
        return "z" if value is None else "b1" if value else "b0"

    def presence(self, path: Path) -> list[str]:
        """The terms of which a point has one exactly if the key is there."""
        terms = self.field(path)
        return [terms.string, terms.number, terms.list, terms.object, *terms.bools, terms.null]

    def null_at(self, path: Path) -> str:
        """The term of a null at the path."""
        return self.field(path).null

    def string_at(self, path: Path) -> str:
        """The term of a string at the path, not in a list."""
        return self.field(path).string

    def list_at(self, path: Path) -> str:
        """The term of a list at the path."""
        return self.field(path).list

    def number_at(self, path: Path) -> str:
        """The term of a number at the path or in the list there."""
        return self.field(path).number

    def instant_at(self, path: Path) -> str:
        """The term of an instant at the path or in the list there."""
        return self.field(path).instant

    def equal(self, path: Path, value: Scalar) -> list[str]:
        """The terms of which a point has one exactly if the value, or an element of the list, equals ``value``."""
        terms, code = self.field(path), self.value(value)
        alone = terms.null if value is None else terms.code + code
        if self.elements is Elements.APART:
            return [alone, f"{terms.code}{_MEMBER}{code}"]
        return [alone, terms.code + code] if value is None else [alone]

    def element(self, path: Path, value: Scalar) -> list[str]:
        """The terms that a point has, all of them, exactly if an element of the list equals ``value``."""
        terms, code = self.field(path), self.value(value)
        if self.elements is not Elements.SHARED:
            return [f"{terms.code}{_MEMBER}{code}"]
        return [terms.code + code] if value is None else [terms.code + code, terms.list]


def _field(code: str) -> Field:
    null, number, string, list_, object_, instant = (code + letter for letter in "ZNSLOT")
    return Field(code, null, number, string, list_, object_, instant, (code + "b0", code + "b1"))


# --- entries ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Column(Generic[T]):
    """Values of one path: ``values[i]`` belongs to the point ``rows[i]``.

    The values of one point stand together: several numbers or instants, where a list holds them.
    """

    rows: list[int] = field(default_factory=list)
    values: list[T] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[int, T]]:
        return zip(self.rows, self.values, strict=True)


@dataclass(slots=True)
class Entries:
    """What filters can ask of some points, by columns."""

    joined: list[str]
    """The terms of each point, the separator between them: in the order of the payload, each once, and the term of a
    scalar's kind right after that of its value."""
    texts: dict[Path, Column[str]]
    """Strings that stand alone."""
    numbers: dict[Path, Column[int | float]]
    """Numbers, alone and in lists."""
    instants: dict[Path, Column[int]]
    """Microseconds since the epoch, of strings alone and in lists."""

    def terms(self, separator: str) -> list[list[str]]:
        """The terms of each point, apart."""
        return [text.split(separator) if text else [] for text in self.joined]


def spans(column: Column[Ordered]) -> Iterator[tuple[int, Ordered, Ordered]]:
    """Each point of the column, its least and its greatest value: enough for ranges, which one element satisfies."""
    current, least, greatest = -1, None, None
    for row, value in column:
        if row != current:
            if least is not None and greatest is not None:
                yield current, least, greatest
            current, least, greatest = row, value, value
        elif value < least:  # type: ignore[operator]
            least = value
        elif value > greatest:  # type: ignore[operator]
            greatest = value
    if least is not None and greatest is not None:
        yield current, least, greatest


def entries_of(payloads: Sequence[Mapping[str, Any]], spelling: Spelling) -> Entries:
    """The entries of payloads that core has accepted: where payloads are alike, at half the price of one by one."""
    writer = _Writer(spelling)
    joined = writer.objects((), payloads, range(len(payloads)))
    return Entries(joined, dict(writer.texts), dict(writer.numbers), dict(writer.instants))


class _Writer:
    """Spells the fields of objects: each method gives the joined terms of every row."""

    def __init__(self, spelling: Spelling) -> None:
        self._spelling = spelling
        self._separator = spelling.separator
        self.texts: defaultdict[Path, Column[str]] = defaultdict(Column)
        self.numbers: defaultdict[Path, Column[int | float]] = defaultdict(Column)
        self.instants: defaultdict[Path, Column[int]] = defaultdict(Column)

    def objects(self, prefix: Path, objects: Sequence[Mapping[str, Any]], rows: Sequence[int]) -> list[str]:
        """The terms of each object's fields, of which there may be none."""
        if len(objects) < _COLUMN_ROWS:
            return [self._object(prefix, fields, row) for fields, row in zip(objects, rows, strict=True)]
        shapes = list(map(tuple, objects))
        if len(set(shapes)) == 1:
            return self._alike(prefix, objects, rows)
        places: dict[tuple[str, ...], list[int]] = {}
        for place, shape in enumerate(shapes):
            places.setdefault(shape, []).append(place)
        joined = [""] * len(objects)
        for group in places.values():
            texts = self.objects(prefix, [objects[place] for place in group], [rows[place] for place in group])
            for place, text in zip(group, texts, strict=True):
                joined[place] = text
        return joined

    def _object(self, prefix: Path, fields: Mapping[str, Any], row: int) -> str:
        return self._separator.join([self._value((*prefix, key), value, row) for key, value in fields.items()])

    def _alike(self, prefix: Path, objects: Sequence[Mapping[str, Any]], rows: Sequence[int]) -> list[str]:
        columns = [
            self._column((*prefix, key), list(map(itemgetter(key), objects)), rows)  # objects have the same keys
            for key in objects[0]
        ]
        return list(map(self._separator.join, zip(*columns, strict=True))) if columns else [""] * len(objects)

    # --- one value ---

    def _value(self, path: Path, value: Any, row: int) -> str:
        kind, terms = kind_of(value), self._spelling.field(path)
        if kind is Kind.STRING:
            column = self.texts[path]
            column.rows.append(row)
            column.values.append(value)
            instant = self._separator + terms.instant if self._has_instant(path, value, row) else ""
            return f"{terms.code}{self._spelling.value(value)}{self._separator}{terms.string}{instant}"
        if kind is Kind.NUMBER:
            self._number(path, value, row)
            return f"{terms.code}n{self._spelling.number(value)}{self._separator}{terms.number}"
        if kind is Kind.LIST:
            return self._separator.join(dict.fromkeys(self._list(path, terms, value, row)))
        if kind is Kind.OBJECT:
            inner = self._object(path, value, row)
            return f"{terms.object}{self._separator}{inner}" if inner else terms.object
        return terms.null if kind is Kind.NULL else terms.bools[bool(value)]

    def _list(self, path: Path, terms: Field, elements: Sequence[Any], row: int) -> Iterator[str]:
        yield terms.list
        spelling, mode = self._spelling, self._spelling.elements
        for element in elements:
            kind = kind_of(element)
            if kind >= Kind.LIST:  # what stands in a list of lists or objects is not looked up
                continue
            code = spelling.value(element)
            if mode is not Elements.APART:
                yield terms.code + code
            if mode is not Elements.SHARED:
                yield f"{terms.code}{_MEMBER}{code}"
            if kind is Kind.NUMBER:
                self._number(path, element, row)
                yield terms.number
            elif kind is Kind.STRING and self._has_instant(path, element, row):
                yield terms.instant

    def _number(self, path: Path, value: float, row: int) -> None:
        column = self.numbers[path]
        column.rows.append(row)
        column.values.append(value)

    def _has_instant(self, path: Path, text: str, row: int) -> bool:
        instant = parse_instant(text) if len(text) >= SHORTEST_INSTANT else None
        if instant is None:
            return False
        column = self.instants[path]
        column.rows.append(row)
        column.values.append(instant)
        return True

    # --- a column of values ---

    def _column(self, path: Path, values: list[Any], rows: Sequence[int]) -> list[str]:
        kinds = set(map(type, values))
        if kinds == {str}:
            return self._strings(path, values, rows)
        if kinds <= {int, float}:
            return self._numbers(path, values, rows)
        if kinds == {dict}:
            start = self._spelling.field(path).object
            inner = self.objects(path, values, rows)
            return [f"{start}{self._separator}{text}" if text else start for text in inner]
        if kinds == {list} and (texts := self._lists(path, values)) is not None:
            return texts
        return [self._value(path, value, row) for value, row in zip(values, rows, strict=True)]

    def _strings(self, path: Path, values: list[str], rows: Sequence[int]) -> list[str]:
        column, terms = self.texts[path], self._spelling.field(path)
        column.rows.extend(rows)
        column.values.extend(values)
        start, end = terms.code, self._separator + terms.string
        if self._is_long(values):
            texts = [f"{start}{self._spelling.value(value)}{end}" for value in values]
        else:
            texts = [f"{start}s{code}{end}" for code in map(self._spelling.text, values)]
        for place, value in enumerate(values):
            if len(value) >= SHORTEST_INSTANT and value[4] == "-" and self._has_instant(path, value, rows[place]):
                texts[place] += self._separator + terms.instant
        return texts

    def _is_long(self, values: list[str]) -> bool:
        longest = self._spelling.longest
        return longest is not None and max(map(len, values), default=0) > longest

    def _numbers(self, path: Path, values: list[float], rows: Sequence[int]) -> list[str]:
        column, terms = self.numbers[path], self._spelling.field(path)
        column.rows.extend(rows)
        column.values.extend(values)
        start, end = terms.code + "n", self._separator + terms.number
        return [f"{start}{code}{end}" for code in map(self._spelling.number, values)]

    def _lists(self, path: Path, values: list[list[Any]]) -> list[str] | None:
        """The terms of lists that hold texts only, none of them long nor an instant; ``None`` for others."""
        elements = list(chain.from_iterable(values))
        if set(map(type, elements)) - {str} or self._is_long(elements):
            return None
        if any(len(text) >= SHORTEST_INSTANT and text[4] == "-" for text in elements):
            return None
        terms, code, mode = self._spelling.field(path), self._spelling.text, self._spelling.elements
        shared, own = f"{self._separator}{terms.code}s", f"{self._separator}{terms.code}{_MEMBER}s"
        if mode is Elements.MARKED:
            rows = [[*map(code, dict.fromkeys(value))] for value in values]
            return ["".join([terms.list, *chain.from_iterable((shared, c, own, c) for c in row)]) for row in rows]
        before = own if mode is Elements.APART else shared
        return [before.join([terms.list, *map(code, dict.fromkeys(value))]) for value in values]
