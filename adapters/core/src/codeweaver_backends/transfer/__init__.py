"""Points from one place to another: between any two backends, and to and from files.

``copy`` streams collections from backend to backend, ``export_points`` writes one to a file, ``import_points`` reads
one back, or what others have written. All of them hold a bounded number of points in memory, compare afterwards what
was written with what was read, and give a report. They use the calls of the protocol and nothing else.
"""

from codeweaver_backends.readers.layout import Columns
from codeweaver_backends.transfer.copying import copy, import_points
from codeweaver_backends.transfer.exporting import export_points
from codeweaver_backends.transfer.report import (
    Check,
    CollectionReport,
    Progress,
    TransferError,
    TransferRefusedError,
    TransferReport,
)

__all__ = [
    "Check",
    "CollectionReport",
    "Columns",
    "Progress",
    "TransferError",
    "TransferRefusedError",
    "TransferReport",
    "copy",
    "export_points",
    "import_points",
]
