"""Health checks that lie, raise, hang or do harm."""

from __future__ import annotations

import asyncio
import contextlib

from codeweaver_backends.errors import BackendError
from codeweaver_tools.defects.network import NetworkBackend
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Rig


@plant("hea-lies", "health_check is True without asking anybody.")
class _Lies(NetworkBackend):
    async def health_check(self) -> bool:
        return True


@plant("hea-no", "health_check is always False.")
class _No(Rig):
    async def health_check(self) -> bool:
        return False


@plant("hea-object-exists", "health_check is True once there was a client, and never asks again.")
class _ObjectExists(NetworkBackend):
    async def health_check(self) -> bool:
        with contextlib.suppress(BackendError):
            await self._ready()
        return self._is_open


@plant("hea-connects-only", "health_check is True if a connection opens; it asks nothing.")
class _ConnectsOnly(NetworkBackend):
    async def _ping(self) -> None:
        _, writer = await asyncio.open_connection(*self.address)
        writer.close()
        await self.closed(writer)


@plant("hea-key-unchecked", "health_check is True although the server refuses the key.")
class _KeyUnchecked(NetworkBackend):
    async def _ping(self) -> None:
        with contextlib.suppress(BackendError):
            await self.ask("ping")
            return
        await _ConnectsOnly._ping(self)  # type: ignore[arg-type]


@plant("hea-closed-true", "health_check is True after aclose.")
class _ClosedTrue(Rig):
    async def health_check(self) -> bool:
        await self._ping()
        return True


@plant("hea-raises", "health_check raises where nobody answers.")
class _Raises(NetworkBackend):
    async def health_check(self) -> bool:
        await self._checked()
        return True


@plant("hea-raises-closed", "health_check raises after aclose.")
class _RaisesClosed(Rig):
    async def health_check(self) -> bool:
        await self._checked()
        return True


@plant("hea-cancelled", "health_check is cancelled by its own client where nobody answers.")
class _Cancelled(NetworkBackend):
    async def health_check(self) -> bool:
        if not await super().health_check() and not self._is_closed:
            raise asyncio.CancelledError
        return not self._is_closed


@plant("hea-fault", "With a short timeout health_check dies of an AttributeError, and is False without asking.")
class _Fault(NetworkBackend):
    async def _ping(self) -> None:
        if self.config.timeout < 2:
            self.config.seconds  # type: ignore[attr-defined] # noqa: B018 - there is no such setting
        await super()._ping()


@plant("hea-hangs", "health_check waits for a silent server without end.")
class _Hangs(NetworkBackend):
    async def health_check(self) -> bool:
        try:
            await self.exchange("ping")
        except (OSError, BackendError):
            return False
        return True


@plant("hea-slow", "health_check tries ten times before it gives up.")
class _Slow(NetworkBackend):
    async def health_check(self) -> bool:
        for _ in range(10):
            if await super().health_check():
                return True
            await asyncio.sleep(1)
        return False


@plant("hea-closes-client", "health_check closes the client it used.")
class _ClosesClient(Rig):
    async def health_check(self) -> bool:
        try:
            return await super().health_check()
        finally:
            await self.aclose()


@plant("hea-writes", "health_check creates a collection to see whether it can.")
class _Writes(Rig):
    async def health_check(self) -> bool:
        with contextlib.suppress(BackendError):
            await self.create_collection("health", 2)
        return await super().health_check()


@plant("hea-text", "health_check returns the text 'ok'.")
class _Text(Rig):
    async def health_check(self) -> bool:
        await super().health_check()
        return "ok"  # type: ignore[return-value]
