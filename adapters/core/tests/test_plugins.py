"""Plugins: found without importing, loaded one at a time, a broken one named and harmless."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from codeweaver_backends.capabilities import BackendCapabilities, BaseCapabilities
from codeweaver_backends.errors import PluginError
from codeweaver_backends.factory import CodeWeaverFactory
from codeweaver_backends.memory import MemoryBackend, MemoryConfig, MemoryPlugin
from codeweaver_backends.plugins import BackendPlugin, config_class_of, find_plugins, load_object, needs
from codeweaver_backends.testing import find_targets
from codeweaver_backends.types import BaseComponentInfo, ComponentType

GOOD = """
from codeweaver_backends.memory.plugin import MemoryPlugin

class Plugin(MemoryPlugin):
    @classmethod
    def get_plugin_name(cls):
        return "good"
"""
MODULES = {
    "good": GOOD,
    "needs_client": "import a_client_that_is_not_installed",
    "raises": "raise RuntimeError('at import')",
    "empty": "",
    "no_plugin": "class Plugin: ...",
    "late": GOOD.replace("good", "late")
    + """
    @classmethod
    def get_backend_class(cls):
        import another_client_that_is_not_installed
""",
}
BROKEN = {
    "needs_client": "needs the module 'a_client_that_is_not_installed', which is not installed",
    "raises": "is broken: RuntimeError: at import",
    "empty": "is broken: AttributeError",
    "no_plugin": "is broken: AttributeError",
    "gone": "needs the module 'acme_gone', which is not installed",
}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A distribution ``acme`` with a plugin of every kind, as an installer would leave it."""
    info = tmp_path / "acme-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.2\n")
    entries = [f"{name} = acme_{name}:Plugin" for name in (*MODULES, "gone")]
    targets = ["acme = acme_targets:targets", "client = acme_needs_client:targets"]
    lines = ["[codeweaver.backends]", *entries, "[codeweaver.testing]", *targets]
    (info / "entry_points.txt").write_text("\n".join(lines))
    for name, source in MODULES.items():
        (tmp_path / f"acme_{name}.py").write_text(source)
    (tmp_path / "acme_targets.py").write_text(
        "from codeweaver_backends.testing import Target\n"
        "def targets():\n    return [Target('acme-embedded', 'good', None), Target('acme-rest', 'good', None)]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.startswith("acme_")]:
        del sys.modules[name]


@pytest.mark.usefixtures("installed")
def test_finding_imports_nothing() -> None:
    found = find_plugins()
    assert {*MODULES, "gone", "memory"} <= set(found)
    assert found["good"].distribution == "acme 1.2"
    assert not [name for name in sys.modules if name.startswith("acme_")]
    assert set(CodeWeaverFactory().list_backends()) == set(found)
    assert not [name for name in sys.modules if name.startswith("acme_")]


@pytest.mark.usefixtures("installed")
def test_loading_one_imports_that_one_only() -> None:
    assert find_plugins()["good"].load().get_plugin_name() == "good"
    assert [name for name in sys.modules if name.startswith("acme_")] == ["acme_good"]


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(("name", "words"), BROKEN.items())
def test_a_broken_plugin_is_named(name: str, words: str) -> None:
    for load in (find_plugins()[name].load, lambda: CodeWeaverFactory().create_backend(name)):
        with pytest.raises(PluginError) as raised:
            load()
        assert f"the plugin {name!r} (from acme 1.2) {words}" in str(raised.value)
        assert raised.value.__cause__ is not None


@pytest.mark.usefixtures("installed")
def test_broken_plugins_harm_no_other() -> None:
    factory = CodeWeaverFactory()
    found = factory.discover_plugins()
    assert {name for name, one in found.items() if isinstance(one, PluginError)} == set(BROKEN)
    assert found["memory"] is MemoryPlugin
    assert isinstance(factory.create_backend("memory"), MemoryBackend)
    assert isinstance(factory.create_backend("good"), MemoryBackend)
    assert {"good", "memory"} <= set(factory.find_backends(supports_scan=True))
    assert not set(BROKEN) & set(factory.find_backends(supports_scan=True))
    assert isinstance(factory.create_backend(MemoryConfig()), MemoryBackend)


@pytest.mark.usefixtures("installed")
def test_a_client_that_is_missing_when_the_backend_is_wanted_is_named() -> None:
    factory = CodeWeaverFactory()
    assert issubclass(factory.discover_plugins()["late"], BackendPlugin)  # type: ignore[arg-type]
    with pytest.raises(PluginError, match="needs the module 'another_client_that_is_not_installed'"):
        factory.create_backend("late")


@pytest.mark.usefixtures("installed")
def test_targets_are_found_and_broken_ones_left_out() -> None:
    targets = find_targets()
    assert {"memory", "acme-embedded", "acme-rest"} <= set(targets)
    assert targets["acme-rest"].backend == "good"


# --- load_object -----------------------------------------------------------------------------------------------------


def test_objects_are_loaded_by_reference() -> None:
    assert load_object("codeweaver_backends.memory.plugin:MemoryPlugin") is MemoryPlugin


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("memory", "not of the form"),
        (":Plugin", "not of the form"),
        ("module:", "not of the form"),
        ("no_such_module:Plugin", "needs the module 'no_such_module'"),
        ("codeweaver_backends.memory.plugin:Nothing", "is broken: AttributeError"),
    ],
)
def test_a_wrong_reference_is_told(reference: str, words: str) -> None:
    with pytest.raises(PluginError, match=words):
        load_object(reference)


# --- the base class --------------------------------------------------------------------------------------------------


class Config(BaseModel):
    """Settings of a backend that takes a configuration."""

    port: int = 1


class Minimal(BackendPlugin):
    """The least a plugin may say."""

    backend_class: type

    @classmethod
    def get_plugin_name(cls) -> str:
        return "minimal"

    @classmethod
    def get_capabilities(cls) -> BaseCapabilities:
        return BackendCapabilities()

    @classmethod
    def get_component_info(cls) -> BaseComponentInfo:
        return BaseComponentInfo(name="minimal")

    @classmethod
    def get_backend_class(cls) -> type:
        return cls.backend_class


def with_init(init: Callable[..., None] | None) -> type:
    return type("Backend", (), {"__init__": init} if init else {})


def test_what_a_plugin_need_not_say() -> None:
    def takes_config(self: Any, config: Config) -> None: ...

    class Plugin(Minimal):
        backend_class = with_init(takes_config)

    assert Plugin.get_component_type() is ComponentType.BACKEND
    assert Plugin.get_dependencies() == []
    assert Plugin.get_config_class() is Config
    assert Plugin.validate_config({"port": 2}).is_valid
    assert not Plugin.validate_config({"port": "x"}).is_valid


def test_a_plugin_without_configuration_takes_any() -> None:
    class Plugin(Minimal):
        backend_class = with_init(None)

    assert Plugin.get_config_class() is None
    assert Plugin.validate_config(None).is_valid


def test_the_configuration_is_the_annotation_of_the_first_argument() -> None:
    def no_annotation(self: Any, config) -> None: ...  # type: ignore[no-untyped-def]
    def another_type(self: Any, config: str) -> None: ...
    def second(self: Any, name: str, config: Config) -> None: ...
    def unknown(self: Any, config: NotImported) -> None: ...  # type: ignore[name-defined] # noqa: F821

    class Child(MemoryBackend):
        """Inherits its constructor."""

    assert [config_class_of(with_init(one)) for one in (no_annotation, another_type, second, unknown, None)] == [
        None
    ] * 5
    assert config_class_of(MemoryBackend) is config_class_of(Child) is MemoryConfig


def test_a_client_that_is_not_installed_is_told_with_the_line_that_installs_it() -> None:
    told = re.escape("the module 'no_such_client' is not installed: pip install 'codeweaver-x[embedded]'")
    with pytest.raises(PluginError, match=told):
        needs("no_such_client", "codeweaver-x[embedded]")


def test_a_client_that_is_asked_for_is_not_imported() -> None:
    sys.modules.pop("this", None)
    needs("this", "python")
    assert "this" not in sys.modules
