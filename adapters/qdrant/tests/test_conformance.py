"""The contract, as the conformance kit tests it, on Edge. ``--cw-backend`` runs it on the other targets."""

from codeweaver_conformance import conformance_tests

globals().update(conformance_tests("qdrant-edge"))
