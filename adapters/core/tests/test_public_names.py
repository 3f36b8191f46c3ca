"""The two doors: ``codeweaver_backends`` for applications, ``codeweaver_backends.sdk`` for authors of backends."""

from __future__ import annotations

import ast
import inspect
from importlib.metadata import version
from types import ModuleType

import pytest

import codeweaver_backends
from codeweaver_backends import sdk

DOORS = (codeweaver_backends, sdk)


def listed(door: ModuleType) -> list[str]:
    """The literal that stands in the source."""
    [names] = [
        ast.literal_eval(node.value)
        for node in ast.parse(inspect.getsource(door)).body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
    ]
    return list(names)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_what_a_door_exports_is_a_literal(door: ModuleType) -> None:
    names = listed(door)
    assert len(names) == len(set(names))  # the linter keeps them sorted
    assert all(hasattr(door, name) for name in names)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_nothing_is_exported_by_accident(door: ModuleType) -> None:
    public = {name for name, value in vars(door).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert public - set(listed(door)) == set()


def test_no_name_has_two_doors() -> None:
    assert not set(listed(codeweaver_backends)) & set(listed(sdk))


def test_an_application_needs_few_names() -> None:
    assert len(listed(codeweaver_backends)) <= 60


def test_the_version_is_the_distributions() -> None:
    assert codeweaver_backends.__version__ == version("codeweaver-backends")
