"""Lite or a server: which of the two the settings say, and what is refused before anything connects."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from codeweaver_milvus import MilvusConfig, MilvusPlugin


def test_a_path_by_keyword_beats_a_server_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CODEWEAVER_MILVUS_URL", "https://milvus.example.org:19530")
    assert MilvusConfig(path=tmp_path / "a.db").url is None
    monkeypatch.setenv("CODEWEAVER_MILVUS_PATH", str(tmp_path / "b.db"))
    assert MilvusConfig(host="milvus.example.org").path is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"path": "index"}, "must end in .db"),
        ({"path": "index.db", "url": "http://localhost:19530"}, "only one of path and url"),
        ({"path": "index.db", "host": "milvus.example.org"}, "only one of path and host"),
        ({"path": "index.db", "tls": True}, "only one of path and tls"),
        ({"url": "http://localhost:19530/database"}, "no path"),
        ({"api_key": "user:pass\nword"}, "printable ASCII"),
        ({"api_key": "user:p\u00e4ssword"}, "printable ASCII"),
        ({"url": "http://user:secret@localhost:19530"}, "credentials"),
    ],
)
def test_what_cannot_be_meant_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told) as refused:
        MilvusConfig(**given)
    assert "word" not in str(refused.value)
    assert "secret" not in str(refused.value)


def test_the_address_of_a_server() -> None:
    assert MilvusConfig().address == "http://127.0.0.1:19530"
    assert MilvusConfig(host="::1", tls=True, port=443).address == "https://[::1]:443"


def test_a_key_in_the_clear_is_warned_of() -> None:
    told = MilvusPlugin.validate_config({"host": "milvus.example.org", "api_key": "user:password"})
    assert "unencrypted" in " ".join(told.warnings)
    told = MilvusPlugin.validate_config({"path": "index.db", "api_key": "user:password"})
    assert "ignored" in " ".join(told.warnings)


def test_a_server_is_used_without_milvus_lite() -> None:
    program = """
import sys
sys.modules["milvus_lite"] = None
from codeweaver_backends import PluginError, create_backend
create_backend("milvus", url="http://127.0.0.1:1")
try:
    create_backend("milvus", path="here.db")
except PluginError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'codeweaver-milvus[lite]'" in run.stdout
