"""Vector databases behind one protocol that means the same everywhere.

Everything public of the core is importable from here. Engines live in distributions of their own and are found as
plugins; see ``CodeWeaverFactory``.
"""

from codeweaver_backends import (
    adapter,
    capabilities,
    config,
    contract,
    errors,
    factory,
    filters,
    memory,
    metrics,
    plugins,
    protocols,
    template,
    transactions,
    types,
    validate,
)
from codeweaver_backends.adapter import *  # noqa: F403
from codeweaver_backends.capabilities import *  # noqa: F403
from codeweaver_backends.config import *  # noqa: F403
from codeweaver_backends.contract import *  # noqa: F403
from codeweaver_backends.errors import *  # noqa: F403
from codeweaver_backends.factory import *  # noqa: F403
from codeweaver_backends.filters import *  # noqa: F403
from codeweaver_backends.memory import *  # noqa: F403
from codeweaver_backends.metrics import *  # noqa: F403
from codeweaver_backends.plugins import *  # noqa: F403
from codeweaver_backends.protocols import *  # noqa: F403
from codeweaver_backends.template import *  # noqa: F403
from codeweaver_backends.transactions import *  # noqa: F403
from codeweaver_backends.types import *  # noqa: F403
from codeweaver_backends.validate import *  # noqa: F403
from codeweaver_backends.version import __version__

_PUBLIC = (
    adapter,
    capabilities,
    config,
    contract,
    errors,
    factory,
    filters,
    memory,
    metrics,
    plugins,
    protocols,
    template,
    transactions,
    types,
    validate,
)

__all__ = ["__version__", *(name for module in _PUBLIC for name in module.__all__)]  # noqa: PLE0604
