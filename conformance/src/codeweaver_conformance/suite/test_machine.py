"""The state machine: any calls in any order."""

from __future__ import annotations

from codeweaver_conformance import machine
from codeweaver_conformance.clause import clause
from codeweaver_conformance.session import Conformance


@clause("state.machine")
def test_any_sequence_of_calls_leaves_what_the_contract_says(cw: Conformance) -> None:
    """Check calls of two instances and in transactions, at sizes where engines change their ways, beside a model."""
    machine.check(cw)
