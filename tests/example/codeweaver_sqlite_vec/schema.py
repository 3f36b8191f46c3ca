"""Tables: a catalogue, and for each collection its points and what filters look up.

====================  ===================================================================================
``points_N``          key, vector (float32), what ``restored`` needs of it, payload as JSON
``terms_N``           the terms of each point, see ``codeweaver_backends.sdk.index.terms``
``texts_N``           strings that stand alone, by the code of their path, for substrings
``numbers_N``         numbers and instants, by the code of their path, as pairs of int64 that keep their order
====================  ===================================================================================

``N`` is a number that is never given again: it is the collection's incarnation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from codeweaver_backends.sdk import CollectionSettings, StringCode

__all__ = ["CATALOGUE", "CODE", "LAYOUT", "Collection", "creation", "removal"]

LAYOUT: Final = 1
"""Counts the changes of what is stored."""
CODE: Final = StringCode("\0", alphabet="\x01\x02\x03")
"""SQLite's texts end at a NUL."""
TABLES: Final = ("points", "terms", "texts", "numbers")
CATALOGUE: Final = (
    "create table if not exists collections"
    " (number integer primary key autoincrement, name text not null unique, settings text not null)"
)


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection as the catalogue has it."""

    settings: CollectionSettings
    number: int

    @classmethod
    def read(cls, name: str, number: int, settings: str) -> Collection | None:
        """What is stored, or ``None`` for what is not ours."""
        found = CollectionSettings.from_json(name, settings, LAYOUT)
        return None if found is None else cls(found[0], number)

    @property
    def incarnation(self) -> str:
        """The number of its tables."""
        return str(self.number)


def creation(number: int) -> str:
    """The statements that create the tables."""
    return f"""
        create table points_{number}
            (point integer primary key, key text not null unique, vector blob not null, kept text, payload blob);
        create table terms_{number} (term text, point integer, primary key (term, point)) without rowid;
        create index point_terms_{number} on terms_{number} (point);
        create table texts_{number} (path text, point integer, text text, primary key (path, point)) without rowid;
        create index point_texts_{number} on texts_{number} (point);
        create table numbers_{number} (path text, kind text, high integer, low integer, point integer);
        create index sorted_{number} on numbers_{number} (path, kind, high, low);
        create index point_numbers_{number} on numbers_{number} (point);
    """


def removal(number: int) -> str:
    """The statements that drop them."""
    return "".join(f"drop table {name}_{number};" for name in TABLES)
