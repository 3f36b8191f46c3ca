"""The contract, as the conformance kit tests it, on Milvus Lite."""

from codeweaver_conformance import conformance_tests

globals().update(conformance_tests("milvus-lite"))
