from codeweaver_conformance import conformance_tests

globals().update(conformance_tests("pgvector"))
