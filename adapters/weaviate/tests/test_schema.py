"""Collections, points and results, there and back, without a server."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeweaver_backends.errors import UnsupportedError
from codeweaver_backends.metrics import scorer, scores
from codeweaver_backends.sdk import Batch, CollectionSettings, Projection, validate_points
from codeweaver_backends.types import DistanceMetric, VectorPoint
from codeweaver_conformance import strategies
from codeweaver_weaviate import WeaviateBackend, schema
from codeweaver_weaviate.client import BatchObject, FoundObject
from codeweaver_weaviate.dialect import EVERY
from codeweaver_weaviate.plugin import CAPABILITIES

SETTINGS = CollectionSettings("some name", 3, DistanceMetric.EUCLIDEAN, {"a.b": "keyword"})
ALL = Projection(payload=True, vectors=True)
COLLECTION = schema.new_collection(SETTINGS)
CLASS = re.compile(r"[A-Z][_0-9A-Za-z]{0,254}")
VECTOR = re.compile(r"[_A-Za-z][_0-9A-Za-z]{0,230}")
NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)


def batch_of(*points: VectorPoint, settings: CollectionSettings = SETTINGS) -> Batch:
    return validate_points(list(points), CAPABILITIES).on(settings)


def found(written: BatchObject, *, distance: float = 0.0, vectors: bool = True) -> FoundObject:
    """What the server answers for an object that was written."""
    result = FoundObject()
    result.metadata.id, result.metadata.distance = written.uuid, distance
    for name, value in written.properties.non_ref_properties.fields.items():
        if value.HasField("string_value"):
            result.properties.non_ref_props.fields[name].text_value = value.string_value
    if vectors:
        result.metadata.vectors.append(written.vectors[0])
    return result


@given(NAMES, NAMES)
def test_names_become_classes(one: str, other: str) -> None:
    """The server compares names of classes without regard to case."""
    assert CLASS.fullmatch(schema.class_name(one))
    assert (schema.class_name(one).lower() == schema.class_name(other).lower()) == (one == other)
    settings = CollectionSettings(one, 2, DistanceMetric.COSINE)
    definition = schema.class_definition(schema.new_collection(settings))
    assert schema.collection_name(definition) == one


@pytest.mark.parametrize("metric", list(DistanceMetric))
def test_a_collection_is_known_by_its_class(metric: DistanceMetric) -> None:
    """All that a fresh instance needs stands in the class."""
    collection = schema.new_collection(CollectionSettings("n", 7, metric, {"a": "integer"}))
    definition = orjson.loads(orjson.dumps(schema.class_definition(collection)))
    assert schema.collection_of("n", definition) == collection
    assert VECTOR.fullmatch(collection.vector)
    assert definition["vectorConfig"].keys() == {collection.vector}


def test_another_generation_has_other_vectors() -> None:
    """A call with outdated settings names a vector that is not there any more."""
    again = schema.new_collection(SETTINGS)
    assert COLLECTION.vector != again.vector


@pytest.mark.parametrize("description", [None, "", "made by hand", "[1]", "{}", '{"layout": null}'])
def test_what_others_made_is_left_alone(description: str | None) -> None:
    """Only a class that says so is a collection."""
    definition: dict[str, Any] = {"class": "Cw_x", "description": description}
    assert schema.collection_name(definition) is None
    assert schema.collection_of("x", definition) is None
    assert schema.collection_name(schema.class_definition(COLLECTION) | {"class": "Other"}) is None


def test_another_layout_is_listed_and_refused() -> None:
    """Check that nobody takes such a collection for absent, nor reads it wrongly."""
    definition = schema.class_definition(COLLECTION)
    other = definition | {"description": SETTINGS.to_json(schema.LAYOUT + 1, incarnation="x")}
    assert schema.collection_name(other) == "some name"
    with pytest.raises(UnsupportedError, match="newer"):
        schema.collection_of("some name", other)


@given(strategies.ids(), strategies.ids())
def test_points_have_uuids_of_their_own(one: str | int, other: str | int) -> None:
    """1 and "1" are two points."""
    assert (schema.point_uuid(one) == schema.point_uuid(other)) == ((type(one), one) == (type(other), other))
    assert schema.point_uuid(1) != schema.point_uuid("1")


@given(strategies.ids(), strategies.payloads(), strategies.vectors(3))
def test_points_come_back(point_id: str | int, payload: dict[str, Any], vector: list[float]) -> None:
    """Id, payload and vector, exactly."""
    [written] = schema.write_request(COLLECTION, batch_of(VectorPoint(point_id, vector, payload))).objects
    point = schema.vector_point(found(written), ALL)
    assert (type(point.id), point.id) == (type(point_id), point_id)
    assert orjson.dumps(point.payload) == orjson.dumps(payload or {})
    assert point.vector == np.array(vector, dtype=np.float32).tolist()
    shown = schema.vector_point(found(written, vectors=False), Projection(("lang",)))
    assert shown.vector is None
    assert shown.payload == {key: value for key, value in payload.items() if key == "lang"}


@pytest.mark.parametrize("length", [3e38, 1e25, 1.0, 1e-25, 1e-37])
def test_extreme_vectors_keep_their_direction(length: float) -> None:
    """Under cosine the square of a length must fit into float32; what was given comes back all the same."""
    cosine = schema.new_collection(CollectionSettings("n", 3, DistanceMetric.COSINE))
    given_vector = (np.array([1, -0.5, 0.25]) * length).astype(np.float32)
    batch = batch_of(VectorPoint("x", given_vector), VectorPoint("y", [1, 2, 3]), settings=cosine.settings)
    extreme, ordinary = schema.write_request(cosine, batch).objects
    for bytes_sent in (extreme.vectors[0].vector_bytes, schema.near(cosine, given_vector).vectors[0].vector_bytes):
        sent = np.frombuffer(bytes_sent, dtype=np.float32)
        assert 1e-25 < float(sent @ sent) < 1e25
    point = schema.vector_point(found(extreme), ALL)
    assert (point.id, point.vector) == ("x", given_vector.tolist())
    assert ordinary.vectors[0].vector_bytes == np.array([1, 2, 3], dtype=np.float32).tobytes()


def test_small_elements_of_an_extreme_vector_are_kept() -> None:
    """Check elements that a float32 cannot hold beside the greatest one, brought near 1."""
    cosine = schema.new_collection(CollectionSettings("n", 2, DistanceMetric.COSINE))
    vector = [2.0**100, 2.0**-60]
    [written] = schema.write_request(cosine, batch_of(VectorPoint("x", vector), settings=cosine.settings)).objects
    assert schema.vector_point(found(written), ALL).vector == vector


def test_an_object_is_guarded_and_stamped() -> None:
    """No two writes bear one stamp, and every object names the id's property twice."""
    batch = batch_of(VectorPoint("a", [1, 2, 3], {"x": 1}), VectorPoint("b", [1, 2, 3]))
    stamps = set()
    for _ in range(3):
        for written in schema.write_request(COLLECTION, batch).objects:
            [own] = written.vectors
            assert own.name == COLLECTION.vector
            fields = written.properties.non_ref_properties.fields
            stamps.add(str(fields[schema.STAMP].struct_value))
            assert fields[schema.GUARD].HasField("null_value")
            assert schema.GUARD.lower() == schema.ID
            [tokens] = written.properties.text_array_properties
            assert EVERY in tokens.values
    assert len(stamps) == 3


@given(st.lists(st.integers(0, 900_000), max_size=40), st.sampled_from([1, 3, 65_535]))
def test_parts_fit_into_messages(sizes: list[int], dimension: int) -> None:
    """Check that nothing is lost or doubled at the edges, and that neither payloads nor vectors pile up."""
    matrix = np.zeros((len(sizes), dimension), dtype=np.float32)
    batch = Batch(list(range(len(sizes))), matrix, [{}] * len(sizes), [b" " * size for size in sizes])
    one = WeaviateBackend
    parts = list(batch.split(one.part_points, one.part_bytes, json_weight=one.json_weight))
    assert [point_id for part in parts for point_id in part.ids] == batch.ids
    for part in parts:
        assert 0 < len(part) <= 1_000
        assert len(part) == 1 or sum(map(len, part.payload_json)) <= 2_000_000
        assert len(part) == 1 or part.vectors.nbytes <= 16_000_000


@given(strategies.vectors(3), strategies.vectors(3))
def test_scores_are_the_contracts(query: list[float], vector: list[float]) -> None:
    """From the distances that the server documents."""
    q, x = (np.array(one, dtype=np.float32).astype(np.float64) for one in (query, vector))
    distances = {
        DistanceMetric.COSINE: 1 - q @ x / (np.linalg.norm(q) * np.linalg.norm(x)),
        DistanceMetric.DOT_PRODUCT: -(q @ x),
        DistanceMetric.EUCLIDEAN: ((q - x) ** 2).sum(),
        DistanceMetric.MANHATTAN: np.abs(q - x).sum(),
    }
    for metric, distance in distances.items():
        [expected] = scores(metric, q.astype(np.float32), x[None].astype(np.float32))
        score = scorer(metric, dot="negative dot", squared=True)
        assert score(float(distance)) == pytest.approx(expected, rel=1e-6, abs=1e-9)
