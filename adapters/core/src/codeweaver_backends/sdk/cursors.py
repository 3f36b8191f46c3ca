"""Cursors of pages that go by the order of ids. An engine that goes by something else spells its own."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import orjson

from codeweaver_backends.errors import InvalidIdError, InvalidOptionError
from codeweaver_backends.sdk.validate import FOREIGN_CURSOR, validate_ids
from codeweaver_backends.types import PointId

__all__ = ["FOREIGN_CURSOR", "cursor_after", "position_of"]

_CURSOR: Final = "after:"


def cursor_after(point_id: PointId) -> str:
    """The cursor of a page that ended with this point, for an engine that gives points in the order of their ids."""
    return _CURSOR + orjson.dumps(point_id).decode()


def position_of(cursor: str | None) -> PointId | None:
    """The id that ``cursor_after`` was given. Raises ``InvalidOptionError`` for what it never made."""
    if cursor is None:
        return None
    with suppress(ValueError, InvalidIdError):
        [point_id] = validate_ids([orjson.loads(cursor.removeprefix(_CURSOR))])
        if cursor_after(point_id) == cursor:
            return point_id
    raise InvalidOptionError(FOREIGN_CURSOR)
