"""Where the data may be said to be."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from codeweaver_lancedb import LanceDBConfig

SECRET = "very-secret"  # noqa: S105


@pytest.mark.parametrize(
    "path",
    [
        "db://cloud",
        "db:cloud",
        "http://host",
        "",
        "file://host/folder",
        f"s3://KEY:{SECRET}@bucket/prefix",
        f"s3://KEY:a/{SECRET}@bucket",
        f"s3:/KEY:{SECRET}@bucket",
        "s3:bucket",
        "s3://",
        f"az://container/prefix?sig={SECRET}",
        "gs://bucket/prefix#part",
        "memory://shared",
    ],
)
def test_other_places_are_refused(path: str) -> None:
    with pytest.raises(ValidationError) as refused:
        LanceDBConfig(path=path)
    assert [error["loc"] for error in refused.value.errors()] == [("path",)]
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("path", ["s3://bucket/pre fix", "gs://bucket", "az://container", "memory://"])
def test_object_stores_have_no_folder(path: str) -> None:
    config = LanceDBConfig(path=path, storage_options={"aws_secret_access_key": f"{SECRET}\n"})
    assert config.folder is None
    assert config.path == path
    assert SECRET not in repr(config)
    assert config.storage_options["aws_secret_access_key"].get_secret_value() == SECRET


@pytest.mark.parametrize("key", [f"{SECRET}\n{SECRET}", f"{SECRET}\u00e9", f"\x00{SECRET}"])
def test_a_key_that_no_header_can_carry_is_refused(key: str) -> None:
    with pytest.raises(ValidationError, match="aws_session_token must be printable ASCII") as refused:
        LanceDBConfig(path="s3://bucket", storage_options={"aws_session_token": key})
    assert SECRET not in str(refused.value)
    document = {"google_service_account_key": f'{{\n "private_key": "{key}"\n}}'}
    assert LanceDBConfig(path="gs://bucket", storage_options=document).storage_options


def test_folders_are_absolute_from_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    there = tmp_path / "the data"
    meant = {
        "db data": tmp_path / "db data",
        "~/data": tmp_path / "home" / "data",
        f"file://{tmp_path}/the%20data": there,
    }
    found = {path: LanceDBConfig(path=path) for path in (*meant, str(there))}
    monkeypatch.chdir("/")
    assert {path: config.folder for path, config in found.items()} == {**meant, str(there): there}
    assert LanceDBConfig(path=there).path == str(there)
