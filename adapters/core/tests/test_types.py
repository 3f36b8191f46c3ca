"""The nouns of the protocol: metrics that equal their strings, points that compare."""

from __future__ import annotations

import numpy as np
import pytest

from codeweaver_backends.types import ComponentType, DistanceMetric, HybridStrategy, VectorPoint


def test_choices_equal_their_strings() -> None:
    assert [*DistanceMetric] == ["cosine", "euclidean", "dot_product", "manhattan"]
    assert DistanceMetric("cosine") is DistanceMetric.COSINE
    assert f"{DistanceMetric.COSINE}" == "cosine"
    assert [*HybridStrategy] == ["rrf", "dbsf", "linear", "convex"]
    assert HybridStrategy.WEIGHTED is HybridStrategy.LINEAR
    assert ComponentType.BACKEND == "backend"


EQUAL = [
    (VectorPoint(1, [1.0, 2.0]), VectorPoint(1, [1.0, 2.0])),
    (VectorPoint(1, np.array([1.0, 2.0])), VectorPoint(1, np.array([1.0, 2.0]))),
    (VectorPoint(1, np.array([1, 2], np.float32)), VectorPoint(1, (1, 2))),
    (VectorPoint("a", None, {"b": [1]}, {"c": 0.5}), VectorPoint("a", None, {"b": [1]}, {"c": 0.5})),
    (VectorPoint("a", []), VectorPoint("a", np.array([]))),
]
DIFFERENT = [
    (VectorPoint(1, [1.0]), VectorPoint("1", [1.0])),
    (VectorPoint(1, [1.0]), VectorPoint(True, [1.0])),
    (VectorPoint(1, np.array([1.0, 2.0])), VectorPoint(1, np.array([1.0, 2.5]))),
    (VectorPoint(1, np.array([1.0, 2.0])), VectorPoint(1, [1.0])),
    (VectorPoint(1, [1.0]), VectorPoint(1, None)),
    (VectorPoint(1, []), VectorPoint(1, None)),
    (VectorPoint(1, [float("nan")]), VectorPoint(1, [float("nan")])),
    (VectorPoint(1, [1.0]), VectorPoint(1, [[1.0], [2.0, 3.0]])),  # type: ignore[list-item]
    (VectorPoint(1, [1.0], {}), VectorPoint(1, [1.0])),
    (VectorPoint(1, [1.0], None, {"a": 1.0}), VectorPoint(1, [1.0], None, {"a": 2.0})),
    (VectorPoint(1, [1.0]), (1, [1.0], None, None)),
]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_equal_points(one: VectorPoint, other: VectorPoint) -> None:
    assert one == other
    assert (one != other) is False
    assert [one] == [other]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_points(one: VectorPoint, other: object) -> None:
    assert one != other
    assert (one == other) is False


def test_points_can_be_changed_and_so_not_hashed() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(VectorPoint(1, [1.0]))
