"""What the peers' suites run on: ``--target``, one of an installed adapter, or a plugin as ``module:Plugin``."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from codeweaver_backends import CodeWeaverFactory
from codeweaver_backends.plugins import load_object
from codeweaver_backends.testing import Target, find_targets

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"  # read when Haystack is imported


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--target", required=True, help="a target of an installed adapter, as lancedb, or module:Plugin")


@pytest.fixture(scope="session")
def factory() -> CodeWeaverFactory:
    return CodeWeaverFactory()


@pytest.fixture(scope="session")
def target(pytestconfig: pytest.Config, factory: CodeWeaverFactory) -> Target:
    reference = pytestconfig.getoption("--target")
    if ":" in reference:
        return Target(reference, factory.register_plugin(load_object(reference)), lambda: nullcontext({}))
    return find_targets()[reference]


@pytest.fixture(scope="session")
def settings(target: Target) -> Iterator[dict[str, Any]]:
    """The settings that reach the engine. Where none can be had, that is an error and no skip."""
    with target.provide() as settings:
        yield settings


@pytest.fixture
def collection() -> str:
    """A name of no collection."""
    return f"peers_{uuid.uuid4().hex[:12]}"
