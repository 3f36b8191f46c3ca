"""Several processes load files into one collection, as the page shows: no point twice, none lost."""

from __future__ import annotations

import asyncio
import importlib
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codeweaver_backends import CodeWeaverFactory
from codeweaver_backends.testing import find_targets

PAGE = Path(__file__).parents[1] / "docs/bulk-load.md"
FILES, EACH, DIMENSION = 6, 2_500, 16
COUNT = FILES * EACH
SHARED = EACH // 5
"""So many ids of each file are those of the file after it too."""


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The page's code as a module that other processes can import."""
    [block] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "shown_bulk_load.py").write_text(block, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "shown_bulk_load", raising=False)
    return importlib.import_module("shown_bulk_load")


@pytest.mark.parametrize("name", ["lancedb", "pgvector"])
def test_no_point_twice_and_none_lost(shown: Any, tmp_path: Path, name: str, record_testsuite_property: Any) -> None:
    vectors = np.random.default_rng(8).normal(size=(COUNT + SHARED, DIMENSION)).astype(np.float32)
    files = [tmp_path / f"part-{number}.npz" for number in range(FILES)]
    for number, file in enumerate(files):
        ids = np.arange(number * EACH, number * EACH + EACH + SHARED)
        np.savez(file, ids=ids, vectors=vectors[ids], part=np.full(len(ids), number))

    async def content(settings: dict[str, Any]) -> dict[Any, Any]:
        async with CodeWeaverFactory().create_backend(name, **settings) as backend:
            assert (await backend.get_collection_info("code")).vector_count == COUNT + SHARED
            return {point.id: point async for point in backend.scan("code", with_vectors=True)}

    with find_targets()[name].provide() as settings:
        asyncio.run(shown.create("code", DIMENSION, name, settings))
        started = time.perf_counter()
        written = shown.load_all([*files, files[0]], "code", name, settings, processes=3)  # one of them twice
        seconds = time.perf_counter() - started
        assert written == (FILES + 1) * (EACH + SHARED)
        found = asyncio.run(content(settings))
    assert sorted(found) == list(range(COUNT + SHARED))
    for point_id, point in found.items():
        assert np.allclose(point.vector, vectors[point_id], atol=1e-6)
        assert point.payload["part"] in (point_id // EACH, point_id // EACH - 1)
    record_testsuite_property(f"points a second, {name}, 3 processes", round(written / seconds))
