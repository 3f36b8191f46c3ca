"""A server that is killed: what was acknowledged is there afterwards, what was not committed is not."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable

import pytest

from codeweaver_backends import BackendConnectionError, BackendError, TransactionError, VectorPoint
from codeweaver_backends.testing import NotProvisioned, free_ports
from codeweaver_pgvector import PgvectorBackend, PgvectorConfig
from codeweaver_pgvector.testing import cluster, find_binaries, settings_at

BATCH = 100


async def written_until_killed(backend: PgvectorBackend, kill: Callable[[], None]) -> int:
    """Kill the server beside writes and amid a transaction; tell how many batches it had acknowledged."""
    acknowledged = 0
    await backend.create_collection("kept", 2)
    await backend.upsert_vectors("kept", [VectorPoint("old", [1.0, 1.0], {"v": 1})])

    async def write() -> None:
        nonlocal acknowledged
        while True:
            points = [VectorPoint(acknowledged * BATCH + n, [1.0, 1.0]) for n in range(BATCH)]
            await backend.upsert_vectors("kept", points)
            acknowledged += 1

    transaction = await backend.begin_transaction()
    await backend.upsert_vectors("kept", [VectorPoint("old", [1.0, 1.0], {"v": 2}), VectorPoint("new", [1.0, 1.0])])
    await backend.create_collection("unborn", 2)
    # From here on outside of the transaction: the task has a context of its own.
    writer = asyncio.create_task(write(), context=contextvars.Context())
    await asyncio.sleep(0.5)
    kill()
    with pytest.raises(BackendError):
        await writer
    with pytest.raises(TransactionError, match="lost"):
        await backend.count_vectors("kept")
    await backend.rollback_transaction(transaction)
    return acknowledged


async def judge(backend: PgvectorBackend, acknowledged: int) -> None:
    """The same backend goes on, and finds what there has to be."""
    assert await backend.list_collections() == ["kept"]
    found = {point.id: point.payload for point in (await backend.scroll_vectors("kept", limit=1_000_000)).points}
    assert found.pop("old") == {"v": 1}
    # The batch whose answer was lost is there as a whole, or not at all.
    assert len(found) in (acknowledged * BATCH, (acknowledged + 1) * BATCH)
    assert found.keys() == set(range(len(found)))
    assert len(await backend.search_vectors("kept", [1.0, 1.0], limit=1_000_000)) == len(found) + 1
    await backend.upsert_vectors("kept", [VectorPoint("new", [1.0, 1.0])])
    await backend.aclose()


def test_a_kill_leaves_what_was_acknowledged_and_nothing_else() -> None:
    try:
        find_binaries()
    except NotProvisioned as reason:
        pytest.skip(str(reason))
    [port] = free_ports(1)
    with cluster(port) as server, asyncio.Runner() as runner:
        backend = PgvectorBackend(PgvectorConfig(**settings_at(port), timeout=5.0))
        acknowledged = runner.run(written_until_killed(backend, server.kill))
        assert acknowledged > 0
        with pytest.raises(BackendConnectionError):
            runner.run(backend.list_collections())
        assert not runner.run(backend.health_check())
        server.restart(30)
        runner.run(judge(backend, acknowledged))
