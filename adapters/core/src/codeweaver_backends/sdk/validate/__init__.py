"""The door of every backend: arguments in, judged once, in the form an adapter uses as it is.

A batch becomes ids, one float32 matrix and JSON documents; a search becomes a ``Query`` with a filter tree.
Everything the contract forbids raises here, before an engine is touched, with an error that names the argument, the
kind of the value and what is allowed. Values themselves are not shown: they may be secret, and they may be long.
"""

from codeweaver_backends.sdk.validate.collections import validate_create, validate_name
from codeweaver_backends.sdk.validate.options import validate_batch_size, validate_limit, validate_options
from codeweaver_backends.sdk.validate.points import (
    MAX_ID_LENGTH,
    PointsDraft,
    validate_columns,
    validate_ids,
    validate_points,
    validate_sparse,
    validate_vector,
)
from codeweaver_backends.sdk.validate.searches import (
    FOREIGN_CURSOR,
    QueryDraft,
    validate_page,
    validate_projection,
    validate_query,
)

__all__ = [
    "FOREIGN_CURSOR",
    "MAX_ID_LENGTH",
    "PointsDraft",
    "QueryDraft",
    "validate_batch_size",
    "validate_columns",
    "validate_create",
    "validate_ids",
    "validate_limit",
    "validate_name",
    "validate_options",
    "validate_page",
    "validate_points",
    "validate_projection",
    "validate_query",
    "validate_sparse",
    "validate_vector",
]
