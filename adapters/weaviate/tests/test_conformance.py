"""The whole contract, against a live server where one can be had."""

from codeweaver_conformance import conformance_tests

globals().update(conformance_tests("weaviate"))
