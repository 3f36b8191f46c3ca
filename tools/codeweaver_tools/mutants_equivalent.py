"""Mutants that survive and are no fault: by module and change, why no call can tell them from what is promised."""

from __future__ import annotations

__all__ = ["EQUIVALENT"]

_SLOTS = (
    "-@dataclass(slots=True, eq=False)\n+@dataclass(slots=False, eq=False)",
    "only the memory that an object takes",
)
_FIRST = "own is None or origin is None or own"

EQUIVALENT: dict[tuple[str, str], str] = {
    ("memory/store.py", _SLOTS[0]): _SLOTS[1],
    (
        "memory/store.py",
        f"-        if {_FIRST} is not self._copies.get(name):\n+        if {_FIRST} != self._copies.get(name):",
    ): "collections are equal only if they are the same object",
    (
        "memory/backend.py",
        "-        await asyncio.sleep(0)\n+        await asyncio.sleep( 1)",
    ): "a health check has the time that is configured: a second is no fault",
    (
        "sdk/template.py",
        "-\n-    @abstractmethod",
    ): "it is asked of classes that lack the method; no backend that can be certified does",
    (
        "sdk/template.py",
        "-    part_bytes: ClassVar[int] = 8 << 20\n+    part_bytes: ClassVar[int] = 7 << 20",
    ): "in how many requests a batch is written is not for callers to see",
    (
        "sdk/template.py",
        "-    ids_at_once: ClassVar[int] = 1_000\n+    ids_at_once: ClassVar[int] = 999",
    ): "in how many requests ids are deleted is not for callers to see",
    (
        "sdk/template.py",
        "-        limit: int = 256,\n+        limit: int = 257,",
    ): "how many points a page has where nobody says is not promised",
}
