"""Mutants that survive and are no fault: by module and change, why no call can tell them from the code as it is."""

from __future__ import annotations

__all__ = ["EQUIVALENT"]

EQUIVALENT: dict[tuple[str, str], str] = {}
