"""The contract, as the conformance kit tests it."""

from codeweaver_conformance import conformance_tests

globals().update(conformance_tests("lancedb"))
