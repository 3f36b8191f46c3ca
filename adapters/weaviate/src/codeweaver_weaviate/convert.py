"""Collections, points and results in Weaviate's terms.

A collection is a class. Its name is coded (classes are told apart without regard to case), its settings are the class's
description. The name of its vector is drawn by lot, so that a call with the settings of a class that was deleted and
made again fails instead of being answered wrongly.

A point is an object of four properties: its id and its payload as JSON, the facts that filters look at, and a stamp,
which is different in every write. The server indexes an object anew only where a vector or a geographical coordinate
has changed, also if a crash kept it out of the index: so the stamp is a coordinate, and a second write heals the first.

Every object also names the property of the id a second time, in capitals and with null. The server takes both for one
and drops the null; but it cannot create a class with both, as it otherwise would for objects of a class that is gone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from random import SystemRandom
from typing import Any, Final
from uuid import UUID, uuid5

import numpy as np
import numpy.typing as npt
import orjson

from codeweaver_backends.metrics import clamp_cosine, score_of_distance
from codeweaver_backends.sdk.names import decode_name, encode_name
from codeweaver_backends.sdk.payloads import decode_payload, project
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, WithPayload
from codeweaver_backends.types import DistanceMetric, FloatMatrix, Payload, PointId, SearchResult, VectorPoint
from codeweaver_weaviate.client import (
    BatchObject,
    BatchObjectsRequest,
    MetadataRequest,
    NearVector,
    PropertiesRequest,
    Targets,
    TextArrayProperties,
    Vectors,
)
from codeweaver_weaviate.client import SearchResult as Found
from codeweaver_weaviate.facts import payload_tokens
from codeweaver_weaviate.filters import FACTS

__all__ = [
    "CHUNK_POINTS",
    "Collection",
    "chunks",
    "class_definition",
    "class_name",
    "collection_name",
    "collection_of",
    "metadata_request",
    "near",
    "point_uuid",
    "properties_request",
    "search_result",
    "vector_point",
    "write_request",
]

ID: Final = "ref"
DOCUMENT: Final = "doc"
GUARD: Final = "Ref"
"""``ID`` as the server does not distinguish it."""
STAMP: Final = "stamp"

_PREFIX: Final = "Cw_"
_FORMAT: Final = 1
_NAMESPACE: Final = UUID("6f1ff8f5-6d0f-5d3a-9c53-0a3c6f6f7c11")
CHUNK_POINTS: Final = 1_000
_CHUNK_BYTES: Final = 2_000_000
"""Of payload. Tokens can be forty times as long, and the server takes messages of 100 MB."""
_CHUNK_VECTOR_BYTES: Final = 16_000_000
_DISTANCES: Final = {
    DistanceMetric.COSINE: "cosine",
    DistanceMetric.EUCLIDEAN: "l2-squared",
    DistanceMetric.DOT_PRODUCT: "dot",
    DistanceMetric.MANHATTAN: "manhattan",
}
_EXTREME: Final = 40
"""Powers of two within which the square of a length is an ordinary float32, whatever the dimension."""
_CHANCE: Final = SystemRandom()
_SINGLE: Final = Vectors.VECTOR_TYPE_SINGLE_FP32


# --- collections -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Collection:
    """A class that this adapter made."""

    settings: CollectionSettings
    class_name: str
    generation: str
    """Drawn by lot when the class was created."""

    @property
    def vector(self) -> str:
        """The name of the points' vector."""
        return f"v{self.generation}"


def class_name(name: str) -> str:
    """The class of a collection."""
    return encode_name(name, _PREFIX)


def new_collection(settings: CollectionSettings) -> Collection:
    """A collection that is about to be created."""
    return Collection(settings, class_name(settings.name), os.urandom(6).hex())


def class_definition(collection: Collection) -> dict[str, Any]:
    """What creates the class."""
    settings = collection.settings
    description = {
        "codeweaver": _FORMAT,
        "generation": collection.generation,
        "dimension": settings.dimension,
        "metric": settings.metric.value,
        "payload_indexes": dict(settings.payload_indexes),
    }
    return {
        "class": collection.class_name,
        "description": orjson.dumps(description).decode(),
        "invertedIndexConfig": {"stopwords": {"preset": "none"}},
        "vectorConfig": {
            # A flat index is exact at every size. A quantizer that the server may have as its default would not be.
            collection.vector: {
                "vectorizer": {"none": {}},
                "vectorIndexType": "flat",
                "vectorIndexConfig": {"distance": _DISTANCES[settings.metric], "skipDefaultQuantization": True},
            },
        },
        "properties": [
            _property(ID, "text"),
            _property(DOCUMENT, "text"),
            _property(FACTS, "text[]", tokenization="field", indexFilterable=True),
            _property(STAMP, "geoCoordinates"),
        ],
    }


def _property(name: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "dataType": [kind], "indexFilterable": False, "indexSearchable": False, **more}


def collection_name(definition: Mapping[str, Any]) -> str | None:
    """The name of the collection that a class holds, or ``None`` for a class that others made."""
    name = decode_name(definition["class"], _PREFIX)
    return name if name is not None and _described(definition) else None


def collection_of(name: str, definition: Mapping[str, Any]) -> Collection | None:
    """The collection that a class holds, or ``None`` for a class that others made."""
    described = _described(definition)
    if described is None:
        return None
    metric = DistanceMetric(described["metric"])
    settings = CollectionSettings(name, described["dimension"], metric, described["payload_indexes"])
    return Collection(settings, definition["class"], described["generation"])


def _described(definition: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        described = orjson.loads(definition.get("description") or "")
    except orjson.JSONDecodeError:
        return None
    return described if isinstance(described, dict) and described.get("codeweaver") == _FORMAT else None


# --- points to objects -----------------------------------------------------------------------------------------------


def point_uuid(point_id: PointId) -> str:
    """The UUID of a point's object. Objects have UUIDs only; the id itself, type and all, stands in the object."""
    return str(uuid5(_NAMESPACE, f"s:{point_id}" if isinstance(point_id, str) else f"i:{point_id}"))


def chunks(batch: Batch) -> Iterator[Batch]:
    """A batch in pieces that fit into one message."""
    most = max(1, min(CHUNK_POINTS, _CHUNK_VECTOR_BYTES // max(1, batch.vectors[:1].nbytes)))
    edges, size = [0], 0
    for position, document in enumerate(batch.documents):
        size += len(document)
        if position > edges[-1] and (size > _CHUNK_BYTES or position - edges[-1] >= most):
            edges.append(position)
            size = len(document)
    edges.append(len(batch))
    for start, end in pairwise(edges):
        part = slice(start, end)
        yield Batch(batch.ids[part], batch.vectors[part], batch.payloads[part], batch.documents[part])


def write_request(collection: Collection, batch: Batch) -> BatchObjectsRequest:
    """What writes a batch, with a stamp of its own."""
    stamp = new_stamp()
    powers = _powers(collection.settings.metric, batch.vectors)
    rows = np.ldexp(batch.vectors, -powers[:, None]) if powers.any() else batch.vectors
    columns = (batch.ids, rows, powers.tolist(), batch.payloads, batch.documents)
    objects = []
    for point_id, row, power, payload, document in zip(*columns, strict=True):
        uuid = point_uuid(point_id)
        tokens = TextArrayProperties(prop_name=FACTS, values=payload_tokens(payload, uuid))
        properties = BatchObject.Properties(text_array_properties=(tokens,))
        fields = properties.non_ref_properties.fields
        fields[GUARD].null_value = 0
        fields[ID].string_value = orjson.dumps([point_id, power] if power else point_id).decode()
        fields[DOCUMENT].string_value = document.decode()
        for name, value in stamp.items():
            fields[STAMP].struct_value.fields[name].number_value = value
        vector = Vectors(name=collection.vector, vector_bytes=row.tobytes(), type=_SINGLE)
        objects.append(
            BatchObject(uuid=uuid, collection=collection.class_name, properties=properties, vectors=(vector,))
        )
    return BatchObjectsRequest(objects=objects)


def _powers(metric: DistanceMetric, vectors: FloatMatrix) -> npt.NDArray[np.int32]:
    """The powers of two by which vectors are smaller in the index than they were given: 0 for all but extreme ones.

    Under cosine the server squares a length in float32, while only directions matter to it.
    """
    powers: npt.NDArray[np.int32] = np.frexp(np.abs(vectors).max(axis=-1))[1]
    return np.where((np.abs(powers) > _EXTREME) & (metric is DistanceMetric.COSINE), powers, 0)


def new_stamp() -> dict[str, float]:
    """A stamp that an object does not bear yet."""
    return {"latitude": _CHANCE.uniform(-80.0, 80.0), "longitude": _CHANCE.uniform(-180.0, 180.0)}


# --- questions -------------------------------------------------------------------------------------------------------


def near(collection: Collection, vector: FloatMatrix) -> NearVector:
    """The search by a vector."""
    scaled = np.ldexp(vector, -_powers(collection.settings.metric, vector))
    own = Vectors(name=collection.vector, vector_bytes=scaled.tobytes(), type=_SINGLE)
    return NearVector(targets=Targets(target_vectors=(collection.vector,)), vectors=(own,))


def probe(collection: Collection) -> FloatMatrix:
    """Some vector to search by where only being found matters."""
    vector = np.zeros(collection.settings.dimension, dtype=np.float32)
    vector[0] = 1.0
    return vector


def metadata_request(collection: Collection, *, with_vectors: bool, distance: bool = False) -> MetadataRequest:
    """Which facts about a found object are wanted."""
    return MetadataRequest(uuid=True, distance=distance, vectors=(collection.vector,) if with_vectors else ())


def properties_request(with_payload: WithPayload) -> PropertiesRequest:
    """Which properties of a found object are wanted."""
    wanted = (ID,) if with_payload is False else (ID, DOCUMENT)
    return PropertiesRequest(non_ref_properties=wanted)


# --- objects to points -----------------------------------------------------------------------------------------------


def search_result(found: Found, distance: float, metric: DistanceMetric, with_payload: WithPayload) -> SearchResult:
    """A hit."""
    point_id, payload, vector = _content(found, with_payload)
    return SearchResult(point_id, score(metric, distance), payload, vector or None)


def vector_point(found: Found, with_payload: WithPayload) -> VectorPoint:
    """A point."""
    point_id, payload, vector = _content(found, with_payload)
    return VectorPoint(point_id, vector, payload)


def _content(found: Found, with_payload: WithPayload) -> tuple[PointId, Payload, list[float]]:
    """Id, payload and vector, the latter two as far as they were asked for."""
    fields = found.properties.non_ref_props.fields
    point_id, power = orjson.loads(fields[ID].text_value), 0
    if isinstance(point_id, list):
        point_id, power = point_id
    payload = {} if with_payload is False else project(decode_payload(fields[DOCUMENT].text_value), with_payload)
    vector: list[float] = []
    for stored in found.metadata.vectors:
        vector = np.ldexp(np.frombuffer(stored.vector_bytes, dtype="<f4"), power).tolist()
    return point_id, payload, vector


def score(metric: DistanceMetric, distance: float) -> float:
    """The contract's score of the server's distance."""
    match metric:
        case DistanceMetric.COSINE:
            return clamp_cosine(1.0 - distance)
        case DistanceMetric.DOT_PRODUCT:
            return 0.0 - distance
        case DistanceMetric.EUCLIDEAN:
            return score_of_distance(sqrt(max(0.0, distance)))
        case DistanceMetric.MANHATTAN:
            return score_of_distance(distance)
