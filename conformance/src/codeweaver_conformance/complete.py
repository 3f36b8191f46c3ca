"""What the whole suite is, and whether a run was it, each test once: what is less gets no certificate."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import pytest

from codeweaver_conformance import suite
from codeweaver_conformance.clause import clauses_of_test

__all__ = ["Roll", "suite_tests"]

_SUITE = suite.__name__


@cache
def suite_tests() -> dict[str, Any]:
    """The tests of the suite by their names, of which no two are the same."""
    found: dict[str, Any] = {}
    for module in pkgutil.iter_modules(suite.__path__):
        if module.name.startswith("test_"):
            names = vars(importlib.import_module(f"{suite.__name__}.{module.name}"))
            tests = {name: test for name, test in names.items() if name.startswith("test_")}
            if twice := found.keys() & tests.keys():
                raise ValueError(f"two tests of the suite have one name: {', '.join(sorted(twice))}")
            found |= tests
    return found


class Roll:
    """The tests that pytest came across, before any was deselected, and the outcomes that they came to."""

    def __init__(self) -> None:
        self.tests: dict[str, tuple[str, str]] = {}
        """By node id: the place it stands in, the suite itself or a module of the user's, and its name there."""
        self._outcomes: Counter[tuple[str, str]] = Counter()

    def collected(self, item: pytest.Item) -> None:
        """Note a test of the suite. One that a user has put in the place of one of its tests is none."""
        if not isinstance(item, pytest.Function) or not clauses_of_test(item):
            return
        if item.function.__module__.startswith(f"{_SUITE}."):
            is_own = item.module.__name__.startswith(_SUITE)
            self.tests[item.nodeid] = ("" if is_own else item.nodeid.partition("::")[0], item.function.__name__)

    def came_to(self, test: str, when: str) -> None:
        """Note that a test, by its node id, came to an outcome in one of its phases."""
        self._outcomes[test, when] += 1

    def gaps(self, tests: Iterable[str]) -> str:
        """Why these tests, by their node ids, are not the whole suite; empty if they are."""
        done = set(tests)
        places = {self.tests[one][0] for one in done if one in self.tests}
        for place in sorted(places):
            there = {test: name for test, (where, name) in self.tests.items() if where == place}
            if absent := sorted(suite_tests().keys() - there.values()):
                return f"{_number(absent)} not collected, as {absent[0]}"
            if left := sorted(there.keys() - done):
                return f"{_number(left)} left out, as {left[0]}"
        again = sorted({test for (test, _), times in self._outcomes.items() if times > 1 and test in done})
        return f"{_number(again)} run more than once, as {again[0]}" if again else ""


def _number(tests: Sequence[str]) -> str:
    return f"{len(tests)} test{'s were' if len(tests) > 1 else ' was'}"
