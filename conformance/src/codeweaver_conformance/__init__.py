"""The conformance kit: it proves that a vector backend keeps the contract."""

from codeweaver_conformance.collect import conformance_tests
from codeweaver_conformance.version import __version__

__all__ = ["__version__", "conformance_tests"]
