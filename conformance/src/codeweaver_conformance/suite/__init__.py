"""The suite: one module per area of the contract. ``pytest --pyargs codeweaver_conformance.suite --cw-backend=…``."""
