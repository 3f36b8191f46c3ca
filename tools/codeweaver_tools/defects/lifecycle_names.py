"""Collections: names and dimensions that are changed instead of being kept or refused."""

from __future__ import annotations

import unicodedata
from typing import Any, ClassVar

from codeweaver_backends.sdk.lifetime import operation
from codeweaver_backends.sdk.validate import validate_name
from codeweaver_backends.types import DistanceMetric
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Collection, Rig

_COSINE = DistanceMetric.COSINE


class _Named(Rig):
    """Collections are kept under another name."""

    spell: ClassVar[staticmethod[[Any], Any]]

    def _collection(self, name: str) -> Collection:
        return super()._collection(self.spell(validate_name(name)))

    @operation
    async def create_collection(
        self, name: str, dimension: int, distance_metric: DistanceMetric = _COSINE, **kwargs: Any
    ) -> None:
        name = self.spell(validate_name(name))
        await super().create_collection(name, dimension, distance_metric, **kwargs)

    @operation
    async def delete_collection(self, name: str) -> None:
        await super().delete_collection(self.spell(validate_name(name)))


@plant("lif-name-folded", "Names are lower-cased.")
class _NameFolded(_Named):
    spell = staticmethod(str.lower)


@plant("lif-name-sanitised", "Characters that the engine does not allow in names become underscores.")
class _NameSanitised(_Named):
    spell = staticmethod(lambda name: "".join(one if one.isalnum() or one in "-_" else "_" for one in name))


@plant("lif-name-composed", "Names are kept in Unicode's composed form.")
class _NameComposed(_Named):
    spell = staticmethod(lambda name: unicodedata.normalize("NFC", name))


@plant("lif-name-cut", "Names are cut after 63 bytes.")
class _NameCut(_Named):
    spell = staticmethod(lambda name: name.encode()[:63].decode(errors="ignore"))


class _Widened(Rig):
    """Names that should be refused are made to fit."""

    fit: ClassVar[staticmethod[[Any], Any]]

    @operation
    async def create_collection(
        self, name: str, dimension: int, distance_metric: DistanceMetric = _COSINE, **kwargs: Any
    ) -> None:
        await super().create_collection(self.fit(name), dimension, distance_metric, **kwargs)


@plant("lif-name-long", "A name that is too long is cut to fit.", side="above")
class _NameLong(_Widened):
    fit = staticmethod(lambda name: name[:40] if isinstance(name, str) else name)


@plant("lif-name-control", "Control characters in a name are dropped.", side="above")
class _NameControl(_Widened):
    fit = staticmethod(
        lambda name: "".join(one for one in name if one.isprintable()) or name if isinstance(name, str) else name
    )


@plant("lif-name-empty", "An empty name is the default collection.", side="above")
class _NameEmpty(_Widened):
    fit = staticmethod(lambda name: name or "default")


@plant("lif-name-dot", "'.' and '..' are names.", side="above")
class _NameDot(_Widened):
    fit = staticmethod(lambda name: f"dot{len(name)}" if name in (".", "..") else name)


class _Sized(Rig):
    fit: ClassVar[staticmethod[[Any], Any]]

    @operation
    async def create_collection(
        self, name: str, dimension: Any, distance_metric: DistanceMetric = _COSINE, **kwargs: Any
    ) -> None:
        await super().create_collection(name, self.fit(dimension), distance_metric, **kwargs)


@plant("lif-dimension-coerced", "A dimension of 2.0, '2' or True is taken for an integer.", side="above")
class _DimensionCoerced(_Sized):
    fit = staticmethod(lambda dimension: int(dimension) if isinstance(dimension, bool | float | str) else dimension)


@plant("lif-dimension-zero", "A dimension of 0 is read from the first vector.", side="above")
class _DimensionZero(_Sized):
    fit = staticmethod(lambda dimension: dimension or 2)


@plant("lif-dimension-unchecked", "A dimension above the declared maximum is taken.", side="above")
class _DimensionUnchecked(_Sized):
    fit = staticmethod(lambda dimension: min(dimension, 65_536) if type(dimension) is int else dimension)
