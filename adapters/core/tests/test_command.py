"""The console command: what it says, to whom, and with which status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from codeweaver_backends import MemoryBackend, MemoryConfig, MemoryStore, VectorPoint
from codeweaver_backends.cli import app as head
from codeweaver_backends.cli import inspecting, output, transferring
from codeweaver_backends.cli.app import app
from codeweaver_backends.errors import BackendAuthenticationError, BackendConnectionError
from codeweaver_backends.factory import CodeWeaverFactory

SECRET = "s3cr3t-of-a-file"  # noqa: S105
TOML = f"""
default_deployment = "prod"
[deployments.prod]
backend = "memory"
timeout = 5
[deployments.dev]
backend = "memory"
[deployments.broken]
backend = "nonesuch"
api_key = "{SECRET}"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [one for one in os.environ if one.startswith("CODEWEAVER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> dict[str, MemoryStore]:
    """Memory backends of these names, that stay from one command to the next."""
    kept = {name: MemoryStore() for name in ("here", "there", "prod", "dev")}

    def opened(where: str, config: Path | None) -> MemoryBackend:
        return MemoryBackend(
            MemoryConfig(store=kept[where.removeprefix("memory:timeout=").replace("8", "here").replace("9", "there")])
        )

    monkeypatch.setattr(transferring, "open_quietly", opened)
    monkeypatch.setattr(inspecting, "open_quietly", opened)
    return kept


HERE, THERE = "memory:timeout=8", "memory:timeout=9"


def command(*arguments: object, columns: int = 80, status: int = 0) -> Any:
    done = CliRunner().invoke(app, [str(one) for one in arguments], env={"COLUMNS": str(columns)})
    assert done.exit_code == status, done.output
    assert "Traceback" not in done.output
    return done


def told(*arguments: object, status: int = 0) -> Any:
    return json.loads(command(*arguments, "--json", status=status).stdout)


async def _fill(store: MemoryStore, count: int = 40) -> None:
    backend = MemoryBackend(MemoryConfig(store=store))
    await backend.create_collection("code", 3)
    await backend.upsert_vectors("code", [VectorPoint(i, [1.0, float(i), 2.0], {"n": i}) for i in range(count)])


def fill(store: MemoryStore) -> None:
    import asyncio

    asyncio.run(_fill(store))


# --- list, info ------------------------------------------------------------------------------------------------------


def test_list(folder: Path) -> None:
    (folder / "codeweaver.toml").write_text(TOML)
    said = command("list").stdout
    assert "prod (default)" in said
    assert "no backend is named 'nonesuch'" in " ".join(said.split())
    assert SECRET not in said
    found = told("list")
    assert found["default"] == "prod"
    assert [one["name"] for one in found["deployments"]] == ["prod", "broken", "dev"]
    [memory] = [one for one in found["backends"] if one["name"] == "memory"]
    assert memory["profiles"] == ["vector", "scan", "columnar", "hybrid", "streaming", "transactions"]
    assert memory["from"].startswith("codeweaver-backends ")


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_no_word_is_cut(folder: Path, columns: int) -> None:
    (folder / "codeweaver.toml").write_text(TOML)
    for arguments in (("list",), ("info", "memory"), ("info", "prod")):
        said = command(*arguments, columns=columns).stdout
        words = set(said.split())
        for word in ("transactions", "codeweaver-backends", "dot_product,", "manhattan"):
            assert word in words or arguments[0] != "list", (word, said)
        assert max(map(len, said.splitlines())) <= columns


def test_a_table_that_does_not_fit_becomes_paragraphs(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    output.print_table(["a", "b"], [["x" * 30, "y" * 40], ["z", "w " * 40]])
    said = capsys.readouterr().out
    assert "x" * 30 in said.split()
    assert "y" * 40 in said.split()
    assert max(map(len, said.splitlines())) <= 60


def test_info(folder: Path) -> None:
    (folder / "codeweaver.toml").write_text(TOML)
    found = told("info", "prod")
    assert found["backend"] == "memory"
    assert found["deployment"]["settings"] == {"timeout": 5}
    assert found["deployment"]["sources"]["timeout"] == "codeweaver.toml"
    assert found["limits"]["max_limit"] == 1_000_000
    assert "codeweaver-backends" in found["versions"]
    assert "Seconds for a read" in command("info", "memory").stdout
    done = command("info", "prd", status=2)
    assert "did you mean 'prod'?" in done.stderr
    assert told("info", "prd", status=2)["error"]["kind"] == "InvalidOptionError"


def test_a_secret_is_not_shown(folder: Path) -> None:
    for arguments in (("list",), ("info", "broken"), ("check", "broken")):
        (folder / "codeweaver.toml").write_text(TOML)
        done = CliRunner().invoke(app, list(arguments))
        assert SECRET not in done.output


def test_a_config_is_named(folder: Path) -> None:
    (folder / "mine.toml").write_text(TOML)
    assert [one["name"] for one in told("list", "--config", "mine.toml")["deployments"]] == ["prod", "broken", "dev"]
    assert "cannot be read" in command("list", "--config", "no.toml", status=2).stderr


# --- check -----------------------------------------------------------------------------------------------------------


def test_check(folder: Path, stores: dict[str, MemoryStore]) -> None:
    (folder / "codeweaver.toml").write_text(TOML)
    found = told("check")
    assert (found["ok"], found["deployment"]) == (True, "prod")
    assert found["round_trip_ms"] >= 0
    assert [step["name"] for step in found["steps"]] == [
        "connect", "health", "create", "write", "read", "search", "delete", "remove", "leftovers",
    ]  # fmt: skip
    assert stores["prod"].collections == {}, "nothing stays"
    assert "by vector, and with a filter" in command("check", "prod", columns=60).stdout


class _Broken(MemoryBackend):
    error: Exception = BackendConnectionError("nobody is at home")

    async def list_collections(self) -> list[str]:
        raise self.error


class _Forbidding(MemoryBackend):
    async def create_collection(self, *args: Any, **kwargs: Any) -> None:
        raise BackendAuthenticationError("you may only read")


class _Forgetting(MemoryBackend):
    async def upsert_vectors(self, name: str, vectors: Any) -> None:
        await super().upsert_vectors(name, vectors[:1])


@pytest.mark.parametrize(
    ("kind", "status", "step", "detail"),
    [
        (_Broken, 3, "connect", "nobody is at home"),
        (_Forbidding, 1, "create", "you may only read"),
        (_Forgetting, 1, "write", "2 points were written and 1 are counted"),
    ],
)
def test_check_tells_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, kind: type[MemoryBackend], status: int, step: str, detail: str
) -> None:
    store = MemoryStore()
    monkeypatch.setattr(inspecting, "open_quietly", lambda *_: kind(MemoryConfig(store=store)))
    found = told("check", "memory:", status=status)
    [wrong] = [one for one in found["steps"] if one["name"] == step]
    assert wrong["outcome"] == "error"
    assert detail in wrong["detail"]
    assert store.collections == {}
    assert detail in " ".join(command("check", "memory:", status=status, columns=120).stdout.split())


# --- copy, export, import --------------------------------------------------------------------------------------------


def test_copy(folder: Path, stores: dict[str, MemoryStore]) -> None:
    fill(stores["here"])
    said = command("copy", HERE, THERE, "--dry-run").stdout
    assert "nothing stands in the way" in said
    assert stores["there"].collections == {}
    found = told("copy", HERE, THERE)
    assert found["ok"]
    assert found["collections"][0]["written"] == 40
    assert set(stores["there"].collections["code"].points) == set(stores["here"].collections["code"].points)
    refused = command("copy", HERE, THERE, status=2)
    assert "the target has this collection already" in refused.stderr
    assert told("copy", HERE, THERE, status=2)["error"]["kind"] == "TransferRefusedError"
    assert told("copy", HERE, THERE, "--continue")["ok"]
    said = command("copy", HERE, THERE, "-c", "code", "--as", "other").stdout
    assert "the same answers" in said
    assert set(stores["there"].collections) == {"code", "other"}
    assert "--as needs one --collection" in command("copy", HERE, THERE, "--as", "x", status=2).stderr
    assert list((folder / "state").rglob("*.json")) == []


def test_export_and_import(folder: Path, stores: dict[str, MemoryStore]) -> None:
    fill(stores["here"])
    for file in ("it.parquet", "it.jsonl"):
        assert told("export", HERE, file)["ok"]
        assert "such a file already" in command("export", HERE, file, status=2).stderr
        command("export", HERE, file, "--overwrite")
        assert told("import", file, THERE, "--as", file)["ok"]
        assert len(stores["there"].collections[file].points) == 40
    (folder / "theirs.jsonl").write_text('{"k": "a", "e": [1, 2], "x": 1, "y": 2}\n')
    columns = ("--id", "k", "--vector", "e", "--field", "x", "--metric", "manhattan")
    command("import", "theirs.jsonl", THERE, *columns)
    assert stores["there"].collections["theirs"].points["a"].payload == {"x": 1}
    assert "row 1: there is no 'id'" in command("import", "theirs.jsonl", THERE, "--as", "x", status=2).stderr
    assert "none.jsonl" in command("import", "none.jsonl", THERE, status=2).stderr


def test_a_copy_that_is_not_the_same_ends_with_1(monkeypatch: pytest.MonkeyPatch, stores: Any) -> None:
    class Losing(MemoryBackend):
        async def upsert_batch(self, name: str, ids: Any, vectors: Any, payloads: Any = None) -> None:
            await super().upsert_batch(name, ids[1:], vectors[1:], payloads[1:])

    fill(stores["here"])
    given = iter([MemoryBackend(MemoryConfig(store=stores["here"])), Losing(MemoryConfig(store=stores["there"]))])
    monkeypatch.setattr(transferring, "open_quietly", lambda *_: next(given))
    found = told("copy", HERE, THERE, status=1)
    assert {one["name"] for one in found["collections"][0]["checks"] if one["outcome"] == "failed"} >= {"count", "ids"}


def test_a_disk_that_cannot_be_written_is_told(folder: Path, stores: dict[str, MemoryStore]) -> None:
    fill(stores["here"])
    (folder / "file").write_text("")
    done = command("copy", HERE, THERE, "--journal", folder / "file" / "journal", status=1)
    assert "error: " in done.stderr
    assert told("copy", HERE, "memory:timeout=9", "--journal", folder / "file" / "journal", status=1)["ok"] is False


def test_an_interruption_is_told(monkeypatch: pytest.MonkeyPatch, stores: Any) -> None:
    class Interrupted(MemoryBackend):
        async def upsert_batch(self, *args: Any, **kwargs: Any) -> None:
            raise KeyboardInterrupt

    fill(stores["here"])
    given = iter([MemoryBackend(MemoryConfig(store=stores["here"])), Interrupted(MemoryConfig(store=stores["there"]))])
    monkeypatch.setattr(transferring, "open_quietly", lambda *_: next(given))
    assert "the same command goes on from here" in command("copy", HERE, THERE, status=130).stderr


def test_interrupted_before_it_could_tell_the_same_command_tells(
    stores: dict[str, MemoryStore], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(MemoryBackend):
        async def aclose(self) -> None:
            raise KeyboardInterrupt

    fill(stores["here"])
    with monkeypatch.context() as context:
        ends = MemoryBackend(MemoryConfig(store=stores["here"])), Interrupted(MemoryConfig(store=stores["there"]))
        given = iter(ends)
        context.setattr(transferring, "open_quietly", lambda *_: next(given))
        command("copy", HERE, THERE, "--journal", folder / "journal", status=130)
    assert len(stores["there"].collections["code"].points) == 40
    report = told("copy", HERE, THERE, "--journal", folder / "journal")
    assert (report["ok"], report["collections"][0]["resumed_at"], report["collections"][0]["written"]) == (True, 40, 0)
    assert not (folder / "journal").exists()


def test_a_copy_that_ends_leaves_what_another_has_begun(
    stores: dict[str, MemoryStore], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are of the same pair, and so of one journal."""

    class Interrupted(MemoryBackend):
        async def search_vectors(self, *arguments: Any, **options: Any) -> Any:
            raise KeyboardInterrupt  # when all is written, and is being compared

    fill(stores["here"])
    stores["here"].collections["big"] = stores["here"].collections["code"]
    options = ("--journal", folder / "journal")
    with monkeypatch.context() as context:
        ends = MemoryBackend(MemoryConfig(store=stores["here"])), Interrupted(MemoryConfig(store=stores["there"]))
        given = iter(ends)
        context.setattr(transferring, "open_quietly", lambda *_: next(given))
        command("copy", HERE, THERE, "--collection", "big", *options, status=130)
    assert told("copy", HERE, THERE, "--collection", "code", *options)["ok"] is True
    assert told("copy", HERE, THERE, "--collection", "big", *options)["ok"] is True
    assert not (folder / "journal").exists()


# --- the head --------------------------------------------------------------------------------------------------------


def test_commands_of_other_distributions(monkeypatch: pytest.MonkeyPatch) -> None:
    made = typer.Typer()

    @made.command()
    def inner(word: str) -> None:
        """Say a word."""
        typer.echo(f"inner {word}")

    module = type(sys)("theirs")
    module.app, module.function = made, lambda: typer.echo("function")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "theirs", module)
    group = head.ENTRY_POINT_GROUP
    found = {
        "alone": EntryPoint("alone", "theirs:app", group),
        "plain": EntryPoint("plain", "theirs:function", group),
        "bad": EntryPoint("bad", "theirs:nothing", group),
        "list": EntryPoint("list", "theirs:function", group),
    }
    monkeypatch.setattr(head, "_contributed", lambda: found)
    overview = command("--help").stdout
    assert all(name in overview for name in ("alone", "plain", "bad", "list", "copy", "import"))
    assert command("alone", "x").stdout == "inner x\n"
    assert command("plain").stdout == "function\n"
    assert "function" not in command("list").stdout, "ours are not replaced"
    assert "the command 'bad' of an unknown distribution is broken: AttributeError" in command("bad", status=1).stderr


def test_every_subcommand_has_json() -> None:
    for name in ("list", "info", "check", "copy", "export", "import"):
        assert "--json" in command(name, "--help", columns=200).stdout


def test_without_its_extra_it_says_the_install_line(folder: Path) -> None:
    blocked = "import sys; sys.modules['typer'] = None; from codeweaver_backends.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: the command needs typer and rich: pip install 'codeweaver-backends[cli]'\n"


def test_no_colour_and_no_motion_without_a_terminal(folder: Path) -> None:
    for environment in ({}, {"NO_COLOR": "1", "FORCE_COLOR": ""}):
        done = subprocess.run(
            [sys.executable, "-m", "codeweaver_backends.cli", "check", "memory:"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **environment},
        )
        assert done.returncode == 0
        assert "\x1b" not in done.stdout + done.stderr
        assert done.stderr == ""


def test_listing_imports_no_client() -> None:
    code = "import sys; from codeweaver_backends.cli.app import app; app(['list'], standalone_mode=False); "
    code += "print([m for m in ('lancedb', 'qdrant_client', 'pyarrow', 'grpc', 'pytest') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


def test_a_fresh_factory_knows_the_commands_backends() -> None:
    assert "memory" in CodeWeaverFactory().list_backends()
