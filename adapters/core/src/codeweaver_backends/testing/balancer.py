"""The process of ``codeweaver_backends.testing.cluster.balanced``: ``PORT=TARGET,TARGET,…`` for each port it takes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from itertools import count
from typing import Final

_BYTES: Final = 1 << 16


class _Balancer:
    def __init__(self, targets: Sequence[int]) -> None:
        self._targets = targets
        self._turns = count()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection, to its end."""
        turn = next(self._turns)
        for place in range(len(self._targets)):
            try:
                port = self._targets[(turn + place) % len(self._targets)]
                there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                continue
            await asyncio.gather(_carry(reader, there_writer), _carry(there_reader, writer))
            return
        writer.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_BYTES):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # one end is gone: the other one is told below
    finally:
        writer.close()


async def _serve(routes: Sequence[str]) -> None:
    for route in routes:
        port, _, targets = route.partition("=")
        balancer = _Balancer([int(target) for target in targets.split(",")])
        await asyncio.start_server(balancer.take, "127.0.0.1", int(port))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1:]))
