"""Tests of generated examples."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import hypothesis
from hypothesis.strategies import SearchStrategy

from codeweaver_conformance.session import Conformance

__all__ = ["generated"]

T = TypeVar("T")


def generated(cw: Conformance, strategy: SearchStrategy[T]) -> Callable[[Callable[[T], None]], Callable[[], None]]:
    """Make a test of one example a property: derandomised by the run's seed, shrunk within the run's time for that."""

    def decorate(test: Callable[[T], None]) -> Callable[[], None]:
        failed: set[str] = set()
        end = float("inf")

        def bounded(example: T) -> None:
            nonlocal end
            # A shrinker that has had its time is told that nothing smaller fails.
            if time.monotonic() > end and repr(example) not in failed:
                return
            try:
                test(example)
            except BaseException:
                end = min(end, time.monotonic() + cw.shrinking)
                failed.add(repr(example))
                raise

        settings = hypothesis.settings(
            max_examples=cw.cases,
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=(hypothesis.Phase.generate, *([hypothesis.Phase.shrink] if cw.shrinking else [])),
        )
        return hypothesis.seed(cw.seed)(settings(hypothesis.given(strategy)(bounded)))

    return decorate
