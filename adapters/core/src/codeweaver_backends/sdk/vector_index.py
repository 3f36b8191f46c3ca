"""The index over a collection's vectors: what a caller may ask for, and how it is kept in the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import InvalidOptionError, UnsupportedError

__all__ = ["VectorIndex"]

_NUMBERS: Final[dict[str, dict[str, tuple[int, int]]]] = {
    "hnsw": {"m": (2, 100), "ef_construction": (4, 1_000)},
    "ivf": {"partitions": (1, 65_536)},
}
"""By kind: the numbers that it takes, and the least and the greatest of each."""


@dataclass(frozen=True, slots=True)
class VectorIndex:
    """How a collection's vectors are indexed: by the engine's own choice, not at all, or by this kind."""

    kind: str = "auto"
    """``auto``, ``exact``, or a kind of ``BackendCapabilities.index_kinds``."""
    numbers: Mapping[str, int] = field(default_factory=dict)
    """The kind's own: of a graph (``hnsw``) ``m`` and ``ef_construction``, of a cut (``ivf``) ``partitions``."""

    @property
    def is_exact(self) -> bool:
        """Whether no index is wanted."""
        return self.kind == "exact"

    @property
    def option(self) -> str | dict[str, Any]:
        """As a caller writes it, and as JSON keeps it."""
        return self.kind if self.kind in ("auto", "exact") else {"kind": self.kind, **self.numbers}

    @classmethod
    def from_option(cls, option: str | Mapping[str, Any]) -> VectorIndex:
        """What ``option`` gave, of this version or of another."""
        if isinstance(option, str):
            return cls(option)
        return cls(option["kind"], {name: value for name, value in option.items() if name != "kind"})

    @classmethod
    def judged(cls, value: object, capabilities: BackendCapabilities) -> VectorIndex:
        """The option ``vector_index`` of ``create_collection``.

        Raises ``InvalidOptionError`` for what no engine has, ``UnsupportedError`` for a kind that is not claimed.
        """
        if isinstance(value, str) and value in ("auto", "exact"):
            return cls(value)
        if not isinstance(value, Mapping):
            given = "another text" if isinstance(value, str) else f"a {type(value).__name__}"
            raise InvalidOptionError(f"vector_index must be 'auto', 'exact' or a dict with a kind, not {given}")
        kind = value.get("kind")
        if not isinstance(kind, str) or kind not in _NUMBERS:
            raise InvalidOptionError(f"the kind of vector_index must be one of {', '.join(_NUMBERS)}")
        ranges = _NUMBERS[kind]
        numbers = {name: number for name, number in value.items() if name != "kind"}
        for name, number in numbers.items():
            if name not in ranges:
                raise InvalidOptionError(f"an index of kind {kind} takes {', '.join(ranges)}, and nothing else")
            least, most = ranges[name]
            if type(number) is not int or not least <= number <= most:
                raise InvalidOptionError(f"{name} of vector_index must be an integer of {least} to {most}")
        if kind not in capabilities.index_kinds:
            claimed = f"; supported are {', '.join(capabilities.index_kinds)}" if capabilities.index_kinds else ""
            raise UnsupportedError(f"an index of kind {kind} is not supported{claimed}", capability="index_kinds")
        return cls(kind, numbers)
