"""What a transfer tells: while it runs, when it cannot, and at its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from codeweaver_backends.errors import BackendError

__all__ = [
    "Check",
    "CheckName",
    "CollectionReport",
    "OnProgress",
    "Progress",
    "TransferError",
    "TransferRefusedError",
    "TransferReport",
]


class TransferError(BackendError):
    """A transfer that cannot go on. What was written stays, and the journal says how far it came."""


class TransferRefusedError(TransferError):
    """A transfer that was not begun; ``obstacles`` names each reason. Nothing was written."""

    def __init__(self, obstacles: Sequence[str], **where: Any) -> None:
        super().__init__("; ".join(obstacles), **where)
        self.obstacles = tuple(obstacles)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a collection is."""

    phase: Literal["examine", "write", "compare"]
    collection: str
    done: int
    """Points of this phase, those of an interrupted run included."""
    total: int | None
    """How many there are, where it is known."""


OnProgress: TypeAlias = Callable[[Progress], None]


CheckName: TypeAlias = Literal[
    "count", "ids", "payloads", "vectors", "sparse vectors", "sparse index", "searches", "filters", "hybrid"
]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was verified, or was not."""

    name: CheckName
    outcome: Literal["passed", "failed", "not verified"]
    detail: str = ""


@dataclass(slots=True)
class CollectionReport:
    """What became of one collection."""

    collection: str
    target: str
    """The collection's name, or the file, that was written."""
    dimension: int
    metric: str
    points: int
    """Of the source, when it was counted last."""
    written: int = 0
    """By this run, with what was written anew."""
    resumed_at: int = 0
    """Points that an interrupted run had written already."""
    rewritten: int = 0
    """Points that a later pass found to be missing or other than the source's, and wrote again."""
    removed: int = 0
    """Points that a later pass found to be deleted in the source meanwhile, and deleted."""
    passes: int = 0
    """Comparisons of all points; the last one is the one that ``checks`` tell of."""
    seconds: float = 0.0
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What the target has otherwise than the source, and what was assumed."""

    @property
    def ok(self) -> bool:
        """Whether nothing that was verified failed."""
        return all(check.outcome != "failed" for check in self.checks)


@dataclass(slots=True)
class TransferReport:
    """What became of all."""

    source: str
    target: str
    dry_run: bool = False
    collections: list[CollectionReport] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every collection is."""
        return all(one.ok for one in self.collections)

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON can say it."""
        told = asdict(self)
        for one, shown in zip(self.collections, told["collections"], strict=True):
            shown["ok"] = one.ok
        return {"ok": self.ok, **told}
