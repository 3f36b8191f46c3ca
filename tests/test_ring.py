"""The ring of copies, small, on the embedded engines; the large one is ``python -m codeweaver_tools.ring``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from codeweaver_tools.ring import Kept, differences, run

HERE = ("lancedb", "qdrant-edge")
NOTHING = {"lost": 0, "more": 0, "payloads": 0, "vectors": 0, "sparse vectors": 0}


def test_it_comes_back_the_same_also_when_it_is_interrupted() -> None:
    undisturbed = run(HERE, 1_200, 64)
    assert [hop.wrong for hop in undisturbed] == [NOTHING] * 2
    killed = run(HERE, 1_200, 64, 4, [hop.seconds for hop in undisturbed])
    assert [hop.wrong for hop in killed] == [NOTHING] * 2
    assert sum(len(hop.kills) for hop in killed) >= 1, "nothing was interrupted"


KEPT = Kept(np.asarray([1.0, 2.0], dtype=np.float32), '{"n": 1}', {7: 0.5})


@pytest.mark.parametrize(
    ("other", "kind"),
    [
        (None, "lost"),
        (replace(KEPT, payload='{"n": 1.0}'), "payloads"),
        (replace(KEPT, vector=np.asarray([1.0, 2.001], dtype=np.float32)), "vectors"),
        (replace(KEPT, sparse={7: 0.6}), "sparse vectors"),
        (replace(KEPT, sparse=None), "sparse vectors"),
    ],
)
def test_what_differs_is_seen(other: Kept | None, kind: str) -> None:
    second = {} if other is None else {("int", 1): other}
    assert differences({("int", 1): KEPT}, second, 1, with_sparse=True) == {**NOTHING, kind: 1}
    assert differences({("int", 1): KEPT}, {("str", "1"): KEPT}, 1, with_sparse=True)["more"] == 1
