"""What Weaviate stores of a collection: a class, and its points as objects of that class.

The class's name is coded (classes are told apart without regard to case); the settings are its description. The name of
its vector is drawn by lot, so that a call with the handle of a class that was deleted and made again fails instead of
being answered wrongly. Of which type its index is, is settled when the class is created.

============  =========================================================================================
``ref``       the id
``payload``   the payload's JSON
``kept``      what ``restored`` needs to give the vector back, where it needs anything
``terms``     what filters look up, see ``dialect``
``stamp``     different in every write
============  =========================================================================================

The server indexes an object anew only where a vector or a geographical coordinate has changed, also if a crash kept it
out of the index: so the stamp is a coordinate, and a second write heals the first.

Every object also names the property of the id a second time, in capitals and with null. The server takes both for one
and drops the null; but it cannot create a class with both, as it otherwise would for objects of a class that is gone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from random import SystemRandom
from typing import Any, Final
from uuid import UUID, uuid5

import numpy as np

from codeweaver_backends.errors import InvalidOptionError, UnsupportedError
from codeweaver_backends.sdk import (
    Batch,
    CollectionSettings,
    FloatMatrix,
    Projection,
    decode_id,
    decode_name,
    encode_id,
    encode_name,
    power_scaled,
    restored,
    scaled_vectors,
    wants_index,
)
from codeweaver_backends.sdk.plan import LOOKED_AT
from codeweaver_backends.types import DistanceMetric, Payload, PointId, SearchResult, VectorPoint
from codeweaver_weaviate.client import (
    BatchObject,
    BatchObjectsRequest,
    FoundObject,
    MetadataRequest,
    NearVector,
    PropertiesRequest,
    Targets,
    TextArrayProperties,
    Vectors,
)
from codeweaver_weaviate.dialect import TERMS, terms_of

__all__ = [
    "GUARD",
    "ID",
    "KEPT",
    "LAYOUT",
    "LEAST",
    "MOST",
    "PAYLOAD",
    "STAMP",
    "Collection",
    "class_definition",
    "class_name",
    "collection_name",
    "collection_of",
    "metadata_request",
    "near",
    "new_collection",
    "new_stamp",
    "point_uuid",
    "probe",
    "properties_request",
    "search_result",
    "vector_point",
    "write_request",
]

LAYOUT: Final = 3
"""Counts the changes of what is stored."""
ID: Final = "ref"
GUARD: Final = "Ref"
"""``ID`` as the server does not distinguish it."""
PAYLOAD: Final = "payload"
KEPT: Final = "kept"
STAMP: Final = "stamp"

MOST: Final = 10_000
"""What the server returns at most, as it is shipped."""
LEAST: Final = 256
"""Points that a search by the graph looks at, at least (the engine's ``ef``)."""

_PREFIX: Final = "Cw_"
_NAMESPACE: Final = UUID("6f1ff8f5-6d0f-5d3a-9c53-0a3c6f6f7c11")
_DISTANCES: Final = {
    DistanceMetric.COSINE: "cosine",
    DistanceMetric.EUCLIDEAN: "l2-squared",
    DistanceMetric.DOT_PRODUCT: "dot",
    DistanceMetric.MANHATTAN: "manhattan",
}
_FACTOR: Final = "replicationConfig.factor"
_LINKS: Final = 4
"""The fewest that a point of a graph may have."""
_CHANCE: Final = SystemRandom()
_SINGLE: Final = Vectors.VECTOR_TYPE_SINGLE_FP32


# --- collections -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Collection:
    """A handle: a class that this adapter made."""

    settings: CollectionSettings
    incarnation: str
    """Drawn by lot when the class was created."""
    has_graph: bool
    """Whether a graph indexes its vectors. Else all that match are read, which is exact."""
    is_replicated: bool = False
    """Whether each point is on several nodes."""

    @property
    def engine_name(self) -> str:
        """The name of the class."""
        return class_name(self.settings.name)

    @property
    def vector(self) -> str:
        """The name of the points' vector."""
        return f"v{self.incarnation}"


def class_name(name: str) -> str:
    """The class of a collection."""
    return encode_name(name, _PREFIX)


def new_collection(settings: CollectionSettings) -> Collection:
    """A collection that is about to be created."""
    factor = settings.engine_options.get(_FACTOR, 1)
    return Collection(settings, os.urandom(6).hex(), wants_index(settings), factor > 1)


def class_definition(collection: Collection) -> dict[str, Any]:
    """What creates the class."""
    settings = collection.settings
    own: dict[str, dict[str, Any]] = {}
    for name, value in settings.engine_options.items():
        part, key = name.split(".")
        own.setdefault(part, {})[key] = value
    if collection.is_replicated:  # a node that was away is brought up to date, also of what was deleted meanwhile
        own["replicationConfig"] |= {"asyncEnabled": True, "deletionStrategy": "TimeBasedResolution"}
    return {
        **own,
        "class": collection.engine_name,
        "description": settings.to_json(LAYOUT, incarnation=collection.incarnation),
        "invertedIndexConfig": {"stopwords": {"preset": "none"}},
        "vectorConfig": {
            collection.vector: {
                "vectorizer": {"none": {}},
                "vectorIndexType": "hnsw" if collection.has_graph else "flat",
                "vectorIndexConfig": {
                    "distance": _DISTANCES[settings.metric],
                    "skipDefaultQuantization": True,  # with the server's default scores would not be exact
                    **(_graph(settings) if collection.has_graph else {}),
                },
            },
        },
        "properties": [
            _property(ID, "text"),
            _property(PAYLOAD, "text"),
            _property(KEPT, "text"),
            _property(TERMS, "text[]", tokenization="field", indexFilterable=True),
            _property(STAMP, "geoCoordinates"),
        ],
    }


def _graph(settings: CollectionSettings) -> dict[str, int]:
    """A graph that looks at as many points as the limit of a search says, and that answers no search with a filter."""
    numbers = settings.vector_index.numbers if settings.vector_index else {}
    if numbers.get("m", _LINKS) < _LINKS:
        raise InvalidOptionError(f"m of vector_index must be at least {_LINKS} on this engine")
    named = {"m": "maxConnections", "ef_construction": "efConstruction"}
    return {
        "ef": -1,
        "dynamicEfFactor": LOOKED_AT,
        "dynamicEfMin": LEAST,
        "dynamicEfMax": LOOKED_AT * MOST,
        "flatSearchCutoff": 2**31 - 1,
        **{named[name]: number for name, number in numbers.items()},
    }


def _property(name: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "dataType": [kind], "indexFilterable": False, "indexSearchable": False, **more}


def collection_name(definition: Mapping[str, Any]) -> str | None:
    """The name of the collection that a class holds, of whatever layout; ``None`` for a class that others made."""
    name = decode_name(definition["class"], _PREFIX)
    if name is None:
        return None
    try:
        return None if collection_of(name, definition) is None else name
    except UnsupportedError:
        return name


def collection_of(name: str, definition: Mapping[str, Any]) -> Collection | None:
    """The collection that a class holds; ``None`` for a class that others made.

    Raises ``UnsupportedError`` for another layout than this adapter's.
    """
    found = CollectionSettings.from_json(name, definition.get("description"), LAYOUT)
    if found is None:
        return None
    types = {vector["vectorIndexType"] for vector in definition["vectorConfig"].values()}
    factor = (definition.get("replicationConfig") or {}).get("factor", 1)
    return Collection(found[0], found[1]["incarnation"], types == {"hnsw"}, factor > 1)


# --- points to objects -----------------------------------------------------------------------------------------------


def point_uuid(point_id: PointId) -> str:
    """The UUID of a point's object. Objects have UUIDs only; the id itself stands in the object."""
    return str(uuid5(_NAMESPACE, encode_id(point_id)))


def write_request(collection: Collection, part: Batch) -> BatchObjectsRequest:
    """What writes some points, with a stamp of its own."""
    stamp = new_stamp()
    vectors, kept = part.vectors, [""] * len(part)
    if collection.settings.metric is DistanceMetric.COSINE:  # the server squares a length in float32
        vectors, kept = scaled_vectors(vectors)
    uuids = list(map(point_uuid, part.ids))
    columns = (part.ids, uuids, vectors, kept, terms_of(part.payloads, uuids), part.payload_json)
    name, vector_name, objects = collection.engine_name, collection.vector, []
    for point_id, uuid, row, rest, terms, payload_json in zip(*columns, strict=True):
        own = TextArrayProperties(prop_name=TERMS, values=terms)
        properties = BatchObject.Properties(text_array_properties=(own,))
        fields = properties.non_ref_properties.fields
        fields[GUARD].null_value = 0
        fields[ID].string_value = encode_id(point_id)
        fields[PAYLOAD].string_value = payload_json.decode()
        if rest:
            fields[KEPT].string_value = rest
        for axis, value in stamp.items():
            fields[STAMP].struct_value.fields[axis].number_value = value
        vector = Vectors(name=vector_name, vector_bytes=row.tobytes(), type=_SINGLE)
        objects.append(BatchObject(uuid=uuid, collection=name, properties=properties, vectors=(vector,)))
    return BatchObjectsRequest(objects=objects)


def new_stamp() -> dict[str, float]:
    """A stamp that an object does not bear yet."""
    return {"latitude": _CHANCE.uniform(-80.0, 80.0), "longitude": _CHANCE.uniform(-180.0, 180.0)}


# --- questions -------------------------------------------------------------------------------------------------------


def near(collection: Collection, vector: FloatMatrix) -> NearVector:
    """The search by a vector."""
    if collection.settings.metric is DistanceMetric.COSINE:
        vector = power_scaled(vector)[0]
    own = Vectors(name=collection.vector, vector_bytes=vector.tobytes(), type=_SINGLE)
    return NearVector(targets=Targets(target_vectors=(collection.vector,)), vectors=(own,))


def probe(collection: Collection) -> FloatMatrix:
    """Some vector to search by where only being found matters."""
    vector = np.zeros(collection.settings.dimension, dtype=np.float32)
    vector[0] = 1.0
    return vector


def metadata_request(collection: Collection, *, with_vectors: bool) -> MetadataRequest:
    """The UUID of a found object, and its vector where that is wanted."""
    return MetadataRequest(uuid=True, vectors=(collection.vector,) if with_vectors else ())


def properties_request(projection: Projection) -> PropertiesRequest:
    """Which properties of a found object are wanted."""
    wanted = [ID]
    if projection.payload is not False:
        wanted.append(PAYLOAD)
    if projection.vectors:
        wanted.append(KEPT)
    return PropertiesRequest(non_ref_properties=wanted)


# --- objects to points -----------------------------------------------------------------------------------------------


def search_result(found: FoundObject, score: float, projection: Projection) -> SearchResult:
    """The hit of an object."""
    return SearchResult(_id(found), score, _payload(found, projection), _vector(found))


def vector_point(found: FoundObject, projection: Projection) -> VectorPoint:
    """The point of an object."""
    return VectorPoint(_id(found), _vector(found), _payload(found, projection))


def _id(found: FoundObject) -> PointId:
    return decode_id(found.properties.non_ref_props.fields[ID].text_value)


def _payload(found: FoundObject, projection: Projection) -> Payload | None:
    if projection.payload is False:
        return None
    return projection.payload_of(found.properties.non_ref_props.fields[PAYLOAD].text_value)


def _vector(found: FoundObject) -> list[float] | None:
    for stored in found.metadata.vectors:  # there is one if it was asked for
        kept = found.properties.non_ref_props.fields[KEPT].text_value
        return restored(np.frombuffer(stored.vector_bytes, dtype="<f4"), kept)
    return None
