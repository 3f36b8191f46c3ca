"""Graphs that a crash left without their list of ids: seen before Chroma opens the folder, and mended.

Chroma writes a graph (``header.bin``, ``data_level0.bin`` and two more) and then, over the old one, the list that says
which row each of its labels is (``index_metadata.pickle``). A process that is killed in between leaves an empty or cut
list, and no call can use the collection again. Its rows are whole in the SQLite database, which Chroma commits before
it touches the graph; rows and labels are numbered in the same order. So the list can be made again.
"""

from __future__ import annotations

import os
import pickle
import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
import numpy.typing as npt

__all__ = ["DATABASE_FILE", "mend"]

DATABASE_FILE: Final = "chroma.sqlite3"
_IDS: Final = "index_metadata.pickle"
_HEADER: Final = struct.Struct("=i5Q")
"""Of ``header.bin``: version, then offset of the links, capacity, count, bytes of an element, offset of its label."""
_DELETED: Final = 1
_SEGMENTS: Final = """
    select vector.id, rows.id, vector.collection from segments as vector join segments as rows
    on rows.collection = vector.collection and rows.scope = 'METADATA'
    where vector.scope = 'VECTOR' and vector.type like '%hnsw-local-persisted'
"""


class _Plain(pickle.Unpickler):
    """Reads texts, numbers and containers of them; a list of ids holds nothing else."""

    def find_class(self, module_name: str, global_name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"{module_name}.{global_name} has no place here")


def mend(folder: Path) -> dict[str, str]:
    """Make the missing lists again; Chroma's ids of the collections where that cannot be done, and what to do.

    The folder must not be open.
    """
    damaged: dict[str, str] = {}
    if not (folder / DATABASE_FILE).exists():
        return damaged
    with closing(sqlite3.connect(folder / DATABASE_FILE)) as database:
        try:
            segments = database.execute(_SEGMENTS).fetchall()
        except sqlite3.OperationalError:  # of a database that Chroma has yet to set up
            return damaged
        for graph, rows, collection in segments:
            ids = folder / graph / _IDS
            if not ids.exists() or _is_readable(ids):
                continue
            if not _is_mended(database, folder / graph, graph, rows):
                damaged[collection] = (
                    f"a crash damaged the graph of the collection with Chroma's id {collection}, and its vectors"
                    " cannot be told apart; delete the collection and write its points again"
                )
        database.commit()
    return damaged


def _is_readable(ids: Path) -> bool:
    with ids.open("rb") as stream:
        try:
            return isinstance(_Plain(stream).load(), dict)
        except Exception:  # noqa: BLE001 - a cut pickle may raise anything
            return False


def _is_mended(database: sqlite3.Connection, folder: Path, graph: str, rows: str) -> bool:
    known = dict(
        database.execute("select segment_id, seq_id from max_seq_id where segment_id in (?, ?)", (graph, rows))
    )
    if graph not in known:
        # It was the first list: Chroma's log still has every row, and makes the graph again.
        (folder / _IDS).unlink()
        return True
    labels, last = _labels(folder)
    keys = database.execute("select embedding_id from embeddings where segment_id = ? order by id", (rows,)).fetchall()
    if len(keys) != len(labels) or len(set(labels)) != len(labels):
        return False
    _write(folder / _IDS, [key for (key,) in keys], labels, last)
    # The graph was written whole, with all that the rows have: the log holds nothing new for it.
    database.execute("update max_seq_id set seq_id = ? where segment_id = ?", (known[rows], graph))
    return True


def _labels(folder: Path) -> tuple[list[int], int]:
    """The labels of the elements that are not deleted, in their order, and the last one that was ever given."""
    _, links, _, count, size, offset = _HEADER.unpack_from((folder / "header.bin").read_bytes())
    data = np.fromfile(folder / "data_level0.bin", np.uint8, count * size)
    elements = data[: len(data) // size * size].reshape(-1, size)
    labels: npt.NDArray[Any] = elements[:, offset : offset + 8].copy().view("<u8")[:, 0]
    is_deleted = elements[:, links + 2] & _DELETED
    return np.sort(labels[is_deleted == 0]).tolist(), int(labels.max(initial=0))


def _write(file: Path, keys: list[str], labels: list[int], last: int) -> None:
    known = {
        "dimensionality": None,
        "total_elements_added": last,
        "max_seq_id": None,
        "id_to_label": dict(zip(keys, labels, strict=True)),
        "label_to_id": dict(zip(labels, keys, strict=True)),
        "id_to_seq_id": {},
    }
    made = file.with_suffix(".made")
    made.write_bytes(pickle.dumps(known))
    os.replace(made, file)
