"""A library that does not survive a fork is refused in a child of its user, and there alone."""

from __future__ import annotations

import os

import pytest

from codeweaver_backends.errors import UnsupportedError
from codeweaver_backends.sdk.forks import use_without_forks


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_of_a_user_is_refused() -> None:
    use_without_forks("used")
    use_without_forks("used")
    child = os.fork()
    if not child:
        code = 1
        try:
            use_without_forks("used in the child alone")
            use_without_forks("used")
        except UnsupportedError as error:
            code = 7 if "used does not survive a fork" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    use_without_forks("used in the child alone")
