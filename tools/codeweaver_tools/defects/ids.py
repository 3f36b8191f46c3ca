"""Ids: changed, confused, duplicated, left behind."""

from __future__ import annotations

import dataclasses
import unicodedata
import uuid
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from codeweaver_backends.errors import InvalidIdError
from codeweaver_backends.sdk.lifetime import operation
from codeweaver_backends.sdk.payloads import encode_payload
from codeweaver_backends.sdk.requests import Batch
from codeweaver_backends.sdk.validate import validate_ids
from codeweaver_backends.types import PointId, VectorPoint
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Collection, Rig


@plant("id-upsert-dup", "Upserting an existing id adds a second row.")
class _UpsertDup(Rig):
    def _write_all(self, collection: Collection, batch: Batch) -> None:
        points: dict[Any, Any] = collection.points
        for point_id in batch.ids:
            if point_id in points:
                points[object()] = points.pop(point_id)
        super()._write_all(collection, batch)


@plant("id-upsert-skip-existing", "Upserting an existing id is skipped; the old point stays.")
class _SkipExisting(Rig):
    def _write_all(self, collection: Collection, batch: Batch) -> None:
        new = [row for row, one in enumerate(batch.ids) if one not in collection.points]
        super()._write_all(collection, batch.take(new))


@plant("id-upsert-keeps-vector", "Upserting an existing id replaces its payload only.")
class _KeepsVector(Rig):
    def _write_all(self, collection: Collection, batch: Batch) -> None:
        old = {one: collection.points[one].vector for one in batch.ids if one in collection.points}
        super()._write_all(collection, batch)
        for point_id, vector in old.items():
            collection.points[point_id].vector = vector


@plant("id-upsert-merges", "Upserting an existing id merges the new payload into the old one.")
class _Merges(Rig):
    def _write_all(self, collection: Collection, batch: Batch) -> None:
        old = {one: collection.points[one].payload for one in batch.ids if one in collection.points}
        super()._write_all(collection, batch)
        for point_id, payload in old.items():
            point = collection.points[point_id]
            point.payload = payload | point.payload
            point.payload_json = encode_payload(point.payload, self.capabilities.limits)


@plant("id-content-derived", "The engine's id is derived from the content, so equal points overwrite each other.")
class _ContentDerived(Rig):
    def _write_all(self, collection: Collection, batch: Batch) -> None:
        super()._write_all(collection, batch)
        unique = {(one.vector.tobytes(), one.payload_json): one for one in collection.points.values()}
        collection.points = {one.id: one for one in unique.values()}


@plant("id-hash-unstable", "Engine ids carry a salt of the instance: another instance duplicates and misses.")
class _HashUnstable(Rig):
    def _write_all(self, collection: Collection, batch: Batch) -> None:
        rows: dict[Any, Any] = collection.points
        foreign = {key: one for key, one in rows.items() if key[0] is not self}
        collection.points = {one.id: one for key, one in rows.items() if key[0] is self}
        super()._write_all(collection, batch)
        salted: dict[Any, Any] = {(self, key): one for key, one in collection.points.items()}
        collection.points = foreign | salted

    @operation
    async def delete_vectors(self, collection_name: str, ids: Sequence[PointId]) -> None:
        rows: dict[Any, Any] = self._collection(collection_name).points
        for point_id in validate_ids(ids):
            rows.pop((self, point_id), None)


class _Page(Rig):
    page: ClassVar[int]

    @operation
    async def delete_vectors(self, collection_name: str, ids: Sequence[PointId]) -> None:
        validate_ids(ids)
        await super().delete_vectors(collection_name, list(ids)[: self.page])


@plant("id-delete-first-page", "A delete takes the first 1,000 ids only.", side="above")
class _DeleteFirstPage(_Page):
    page = 1_000


@plant("id-delete-one", "A delete takes the first id only.", side="above")
class _DeleteOne(_Page):
    page = 1


@plant("id-delete-unknown-aborts", "One unknown id in a delete raises, and the ids after it stay.")
class _UnknownAborts(Rig):
    @operation
    async def delete_vectors(self, collection_name: str, ids: Sequence[PointId]) -> None:
        collection = self._collection(collection_name)
        for point_id in validate_ids(ids):
            del collection.points[point_id]


@plant("id-delete-noop", "A delete reports success and does nothing.", side="above")
class _DeleteNoop(Rig):
    @operation
    async def delete_vectors(self, collection_name: str, ids: Sequence[PointId]) -> None:
        self._collection(collection_name)
        validate_ids(ids)


@plant("id-delete-malformed-partly", "A malformed id in a delete raises when the ids before it are gone.", side="above")
class _MalformedPartly(Rig):
    @operation
    async def delete_vectors(self, collection_name: str, ids: Sequence[PointId]) -> None:
        parts: list[Any] = [[one] for one in ids] if isinstance(ids, list) else [ids]
        for part in parts or [[]]:
            await super().delete_vectors(collection_name, part)


@plant("id-delete-malformed-ignored", "A malformed id in a delete is skipped without a word.", side="above")
class _MalformedIgnored(Rig):
    @operation
    async def delete_vectors(self, collection_name: str, ids: Sequence[PointId]) -> None:
        if isinstance(ids, list):
            ids = [one for one in ids if type(one) in (int, str) and one != "" and not (type(one) is int and one < 0)]
        await super().delete_vectors(collection_name, ids)


@plant("id-delete-wildcard", "A * in the id of a delete is a wildcard.")
class _DeleteWildcard(Rig):
    @operation
    async def delete_vectors(self, collection_name: str, ids: Sequence[PointId]) -> None:
        points = self._collection(collection_name).points
        wild = "*" in validate_ids(ids)
        await super().delete_vectors(collection_name, list(points) if wild else ids)


@plant("id-special-chars", "Ids with a quote, a backslash or a slash cannot be deleted.")
class _SpecialChars(Rig):
    @operation
    async def delete_vectors(self, collection_name: str, ids: Sequence[PointId]) -> None:
        plain = [one for one in validate_ids(ids) if not set(str(one)) & set("\"'\\/")]
        await super().delete_vectors(collection_name, plain)


@plant("id-batch-dup", "Of equal ids in one batch the first wins.", side="above")
class _FirstWins(Rig):
    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        if isinstance(vectors, list) and all(isinstance(one, VectorPoint) for one in vectors):
            seen: set[Any] = set()
            vectors = [one for one in vectors if one.id not in seen and not seen.add(one.id)]  # type: ignore[func-returns-value]
        await super().upsert_vectors(collection_name, vectors)


@plant("id-batch-dup-refused", "Equal ids in one batch are refused with the engine's own error.", side="above")
class _DupRefused(Rig):
    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        if isinstance(vectors, list):
            ids = [repr(getattr(one, "id", None)) for one in vectors]
            if len(set(ids)) < len(ids):
                raise InvalidIdError("the engine found an id twice")
        await super().upsert_vectors(collection_name, vectors)


# --- ids that the engine writes its own way ---------------------------------------------------------------------------


class _Spelt(Rig):
    """Ids are stored as ``spell`` gives them."""

    spell: ClassVar[staticmethod[[Any], Any]]

    def _write_all(self, collection: Collection, batch: Batch) -> None:
        ids = [self.spell(one) for one in batch.ids]
        last = {one: row for row, one in enumerate(ids)}
        super()._write_all(collection, dataclasses.replace(batch, ids=ids).take(list(last.values())))

    @operation
    async def delete_vectors(self, collection_name: str, ids: Sequence[PointId]) -> None:
        await super().delete_vectors(collection_name, [self.spell(one) for one in validate_ids(ids)])


def _as_uuid(one: PointId) -> PointId:
    try:
        return str(uuid.UUID(str(one)))
    except ValueError:
        return one


def _of_text(change: Callable[[str], str]) -> Callable[[Any], Any]:
    return lambda one: change(one) if isinstance(one, str) else one


@plant("id-as-text", "Ids become text: 1 and '1' are one point.")
class _AsText(_Spelt):
    spell = staticmethod(str)


@plant("id-digits-as-int", "Strings of digits become integers.")
class _DigitsAsInt(_Spelt):
    spell = staticmethod(lambda one: int(one) if isinstance(one, str) and one.isdecimal() else one)


@plant("id-int-as-double", "Integer ids pass through a double and lose their last digits.")
class _IntAsDouble(_Spelt):
    spell = staticmethod(lambda one: min(int(float(one)), 2**63 - 1) if isinstance(one, int) else one)


@plant("id-uuid-normalised", "Ids that look like a UUID come back in its canonical spelling.")
class _UuidNormalised(_Spelt):
    spell = staticmethod(_as_uuid)


@plant("id-folded", "Ids are told apart without case.")
class _Folded(_Spelt):
    spell = staticmethod(_of_text(str.lower))


@plant("id-composed", "Ids are stored in Unicode's composed form.")
class _Composed(_Spelt):
    spell = staticmethod(_of_text(lambda one: unicodedata.normalize("NFC", one)))


@plant("id-cut", "Ids are cut after 255 characters.")
class _Cut(_Spelt):
    spell = staticmethod(_of_text(lambda one: one[:255]))


@plant("id-nul-cut", "Ids end at the first NUL.")
class _NulCut(_Spelt):
    spell = staticmethod(_of_text(lambda one: one.partition("\0")[0] or "empty"))


@plant("id-trimmed", "Ids lose their blanks at both ends.")
class _Trimmed(_Spelt):
    spell = staticmethod(_of_text(lambda one: one.strip() or one))


# --- ids that should be refused ---------------------------------------------------------------------------------------


class _Coerced(Rig):
    """Ids are made to fit instead of being refused."""

    coerce: ClassVar[staticmethod[[Any], Any]]

    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        if isinstance(vectors, Sequence) and all(isinstance(one, VectorPoint) for one in vectors):
            vectors = [dataclasses.replace(one, id=self.coerce(one.id)) for one in vectors]
        await super().upsert_vectors(collection_name, vectors)


@plant("id-bool-accepted", "True is taken for 1.", side="above")
class _BoolAccepted(_Coerced):
    coerce = staticmethod(lambda one: int(one) if isinstance(one, bool) else one)


@plant("id-float-accepted", "1.0 is taken for 1.", side="above")
class _FloatAccepted(_Coerced):
    coerce = staticmethod(lambda one: int(one) if isinstance(one, float) else one)


@plant("id-uuid-accepted", "A UUID object is taken for its text.", side="above")
class _UuidAccepted(_Coerced):
    coerce = staticmethod(lambda one: str(one) if isinstance(one, uuid.UUID) else one)


@plant("id-negative-accepted", "A negative id is wrapped into an unsigned one.", side="above")
class _NegativeAccepted(_Coerced):
    coerce = staticmethod(lambda one: one % 2**63 if type(one) is int else one)


@plant("id-empty-generated", "An empty id is replaced by a generated one.", side="above")
class _EmptyGenerated(_Coerced):
    coerce = staticmethod(lambda one: uuid.uuid4().hex if one in ("", None) else one)


@plant("id-surrogate-replaced", "A lone surrogate in an id becomes a question mark.", side="above")
class _SurrogateReplaced(_Coerced):
    coerce = staticmethod(lambda one: one.encode(errors="replace").decode() if isinstance(one, str) else one)


@plant("id-long-accepted", "An id that is too long is cut to fit.", side="above")
class _LongAccepted(_Coerced):
    coerce = staticmethod(lambda one: one[:512] if isinstance(one, str) else one)
