"""The words that generated payloads and filters are made of: few, shared, and each known to trip some engine.

Values stand in groups of things that are easily taken for one another: numbers that are equal or one bit apart, strings
that are substrings of one another or hold what a query language interprets, spellings of one instant.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final, TypeAlias

__all__ = ["FAMILIES", "GROUPS", "IDS", "KEYS", "MOMENTS", "OPERATORS", "PATTERNS", "Path"]

Path: TypeAlias = tuple[str, ...]
"""The keys that lead to a field, outermost first."""

FAMILIES: Final[tuple[tuple[Path, ...], ...]] = (
    (("lang",), ("Lang",), ("LANG",)),
    (("n",), ("m",)),
    (("meta", "lang"), ("meta", "n"), ("meta", "deep", "x"), ("meta.lang",)),
    (("a", "b"), ("a.b",), ("a",), ("a", "b", "c")),
    (("tags",), ("tags", "0"), ("0",)),
    (("when",), ("2024",), ("1x",)),
    (("",), ("", ""), ("a", "")),
    (("it's",), ('quo"te',), ("back\\slash",)),
    (("sp ace",), ("per%cent_",), ("st*r",), ("da-sh",)),
    (("ключ",), ("é",), ("e\u0301",), ("日本", "語")),
    (("id",), ("_id",), ("vector",), ("score",)),
    (("payload",), ("metadata",), ("properties",), ("text",)),
    (("$eq",), ("must",), ("field",), ("operator", "value")),
    (("new\nline",), ("nul\x00",), ("nul",), ("tab\t",)),
)
"""Fields that are easily mixed up: by case, a dot, Unicode's form, a list's index, or an engine's own names."""

KEYS: Final = ("x", "lang", "n", "0", "", "a.b", "c", "Lang")
"""Keys of objects that stand where a scalar could."""

_NUMBERS: Final = (1, 1.0, True, "1", 0, False, 2, 1.5, -1, 0.0, -0.0, "1.0", "0", 10, 9, "true", "10", 2.0, 100)
_WIDE_INTEGERS: Final = (
    2**53,
    2**53 + 1,
    2**53 - 1,
    float(2**53),
    -(2**53),
    -(2**53) - 1,
    2**63 - 1,
    2**63 - 2,
    float(2**63),
    -(2**63),
    -(2**63) + 1,
    -float(2**63),
    2**31,
    2**32 + 1,
    str(2**53 + 1),
)
_DOUBLES: Final = (
    0.1,
    0.30000000000000004,
    0.3,
    123456789.12345678,
    1.7976931348623157e308,
    -1.7976931348623157e308,
    5e-324,
    2.2250738585072014e-308,
    1e16,
    1e-7,
    3.141592653589793,
    16777217,
    16777216.0,
    -0.1,
)
_WORDS: Final = (
    *("a", "ab", "abc", "b", "bc", "A", "Ab", "", "abcabc", "cab", "aa", "aaa"),
    *("null", "None", "none", "true", "NaN", "undefined", "[]", "{}", '"a"', "a,b"),
)
_HOSTILE: Final = (
    *("it's", 'say "hi"', "\\", "a\\", "back\\slash", "\\n", "'", '"', "''", "\\'"),
    *("%", "_", "50%", "50%_off", "50 percent off", "*", "a*b", "axb", "a.b", "?", "^a$", "[ab]", "(a|b)", "%25", "%2"),
    *("new\nline", "\n", "\r\n", "tab\t", "\x00", "nul\x00nul", "nul", "\x1b[0m", "\x7f", "\x85"),
    *(
        "' or '1'='1",
        '") or true or ("',
        "x' --",
        "$eq",
        "${x}",
        "{{x}}",
        "a:b",
        "a|b",
        "a&&b",
        ";",
        "`",
        "#",
        "~",
        "@",
    ),
    *(" ", " lead", "trail ", "in  side", "AND", "not a"),
)
_SCRIPTS: Final = (
    *("é", "e\u0301", "É", "ß", "SS", "ẞ", "İ", "i", "I", "ı", "ﬁ", "fi", "Σ", "ς"),
    *("日本", "日本語", "本", "ключ", "Ключ", "שלום", "مرحبا", "\u202eevil", "\u200b", "a\u200bb", "\ufeff", "\u2028"),
    *("😀", "😀😃", "👨‍👩‍👧", "👩", "\ue000", "\uf8ff", "\uffff", "\U0010ffff", "\u00a0", "١٢"),
)
_INSTANTS: Final = (
    "2024-05-01T12:00:00Z",
    "2024-05-01T14:00:00+02:00",
    "2024-05-01t12:00:00z",
    "2024-05-01T12:00:00.000000Z",
    "2024-05-01T12:00:00.5Z",
    "2024-05-01T12:00:00.123456Z",
    "2024-05-01T12:00:00.1234567Z",
    "2024-05-01T12:00:00.123457Z",
    "2024-05-01T11:59:59.999999999Z",
    "2024-05-01T12:00:00-00:00",
    "2024-05-02T00:30:00+14:00",
    "2024-02-29T23:59:59Z",
    "1969-12-31T23:59:59.999999Z",
    "1970-01-01T00:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59.999999-23:59",
    *("2024-05-01", "2024-05-02", "2024-05-01T12:00:00", "2024-05-01T14:00:00.5", "0001-01-01", "9999-12-31"),
)
_NEARLY_INSTANTS: Final = (
    *("2024-05", "2024-05-01 12:00:00", "2024-05-01 12:00:00Z", "2024-05-01T12:00Z", "2024-05-01T12:00:00+0200"),
    *(
        "2024-05-01T24:00:00Z",
        "2024-05-01T12:00:60Z",
        "2023-02-29T00:00:00Z",
        "2024-13-01T00:00:00Z",
        "20240501T120000Z",
    ),
    *("2024-05-01T12:00:00.Z", "2024-05-01T12:00:00,5Z", "2024-05-01T12:00:00+24:00", "2024-05-01T12:00:00+02:60"),
    *(" 2024-05-01T12:00:00Z", "2024-05-01T12:00:00Z\n", "٢٠٢٤-05-01T12:00:00Z", "2024-05-01Z", "1714564800"),
)

GROUPS: Final[tuple[tuple[Any, ...], ...]] = (
    _NUMBERS,
    _WORDS,
    _WIDE_INTEGERS,
    _HOSTILE,
    _DOUBLES,
    _INSTANTS,
    _SCRIPTS,
    _NUMBERS,
    (*_INSTANTS[:4], *_NEARLY_INSTANTS),
)
"""Scalars, in groups of what is easily confused."""

MOMENTS: Final = (
    datetime(2024, 5, 1, 12, tzinfo=UTC),
    datetime(2024, 5, 1, 14, tzinfo=timezone(timedelta(hours=2))),
    datetime(2024, 5, 1, 12, 0, 0, 123456, tzinfo=UTC),
    datetime(2024, 5, 1, 6, 30, tzinfo=timezone(-timedelta(hours=5, minutes=30))),
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
)
"""Aware datetimes, as operands of ranges."""

PATTERNS: Final = ("a", "^a", "a.c", "[ab]+", "b|c", r"\.", "x?", "(ab)+c", r"50%", "^日", r"\\", "a{2}")
"""Regular expressions on which RE2 and Python agree: no ``$``, no classes that depend on the alphabet."""

OPERATORS: Final[dict[str, tuple[str, ...]]] = {
    "eq": ("eq", "=="),
    "ne": ("ne", "!="),
    "in": ("in",),
    "nin": ("nin", "not_in"),
    "gt": ("gt", ">"),
    "ge": ("ge", ">=", "gte"),
    "lt": ("lt", "<"),
    "le": ("le", "<=", "lte"),
    "contains": ("contains",),
    "exists": ("exists",),
    "is_null": ("is_null",),
    "regex": ("regex",),
}
"""Every operator of the contract with every spelling of it."""

IDS: Final[tuple[str | int, ...]] = (
    *(1, 0, 2, 2**31, 2**53, 2**53 + 1, 2**63 - 1),
    *("1", "0", "2", "01", "1.0", "a", "A", "b", "a b", " a", "a ", "None", "true", str(2**63 - 1)),
    *("it's", 'say "hi"', "back\\slash", "a/b", "../a", "%", "_", "*", "a*b", "a.b", "a:b", "a,b", "' or '1'='1"),
    *("new\nline", "\x00", "nul\x00nul", "tab\t", "\x7f", "\x1f"),
    *("é", "e\u0301", "É", "ß", "İ", "日本", "שלום", "😀", "👨‍👩‍👧", "\u200b", "\ue000", "\uffff", "\U0010ffff"),
    "6f9619ff-8b86-d011-b42d-00cf4fc964ff",
    "6F9619FF-8B86-D011-B42D-00CF4FC964FF",
    "6f9619ff8b86d011b42d00cf4fc964ff",
    "{6f9619ff-8b86-d011-b42d-00cf4fc964ff}",
    "urn:uuid:6f9619ff-8b86-d011-b42d-00cf4fc964ff",
    "00000000-0000-0000-0000-000000000000",
    "x" * 512,
    "é" * 512,
)
"""Ids that are different points."""
