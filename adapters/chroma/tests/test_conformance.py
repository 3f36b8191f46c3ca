"""The contract, as the conformance kit tests it, on embedded Chroma."""

from codeweaver_conformance import conformance_tests

globals().update(conformance_tests("chroma"))
