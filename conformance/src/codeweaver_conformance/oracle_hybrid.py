"""What a hybrid search should answer: the contract's profile ``hybrid`` read the plainest way, in plain Python.

As in ``oracle``, nothing of the core is imported but its nouns: tokenizer, weights and fusion are written a second
time, a character and a point at a time. The table of document counts is part of the contract and is read as data, from
the file that the core ships; its digest is stated here.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Final

from codeweaver_backends.types import (
    DistanceMetric,
    FilterLike,
    HybridStrategy,
    PointId,
    SearchResult,
    SparseVector,
    VectorPoint,
)
from codeweaver_conformance.oracle import Vector, matches, score

__all__ = [
    "TextIndex",
    "check_hybrid",
    "expected_scores",
    "fused",
    "index_of",
    "is_settled",
    "legs",
    "pool",
    "sparse_weights",
    "tokenize",
]

# --- terms -----------------------------------------------------------------------------------------------------------

_CJK: Final = (
    (0x1100, 0x11FF),  # hangul
    (0xA960, 0xA97F),
    (0xAC00, 0xD7FF),
    (0x3041, 0x3096),  # kana
    (0x309D, 0x309F),
    (0x30A1, 0x30FA),
    (0x30FC, 0x30FF),
    (0x31F0, 0x31FF),
    (0x1AFF0, 0x1B16F),
    (0x3005, 0x3007),  # Han
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFD),
)


@lru_cache(maxsize=4_096)
def tokenize(text: str) -> tuple[str, ...]:
    """The terms of a text: NFKC, words, bigrams of CJK, parts of identifiers and the whole of several."""
    runs: list[tuple[str, str]] = []
    last = ""
    for character in unicodedata.normalize("NFKC", text):
        kind = _kind(character)
        if kind and kind == last:
            runs[-1] = (kind, runs[-1][1] + character)
        elif kind:
            runs.append((kind, character))
        last = kind
    return tuple(term for kind, run in runs for term in (_bigrams(run) if kind == "cjk" else _identifier(run)))


def _kind(character: str) -> str:
    """``cjk``, ``word``, or nothing for what is in no word."""
    if any(first <= ord(character) <= last for first, last in _CJK):
        return "cjk"
    return "word" if character.isalnum() or character == "_" else ""


def _bigrams(run: str) -> list[str]:
    return [run[start : start + 2] for start in range(len(run) - 1)] or [run]


def _identifier(word: str) -> list[str]:
    found = [""]
    for place, character in enumerate(word):
        before = word[place - 1] if place else ""
        after = word[place + 1] if place + 1 < len(word) else ""
        if character == "_":
            found.append("")
            continue
        follows_small = before.islower() or before.isdecimal()
        is_last_capital = before.isupper() and after.islower()
        if character.isupper() and (follows_small or is_last_capital):
            found.append("")
        found[-1] += character
    names = [part.lower() for part in found if part]
    return [*names, word.strip("_").lower()] if len(names) > 1 else names


def index_of(term: str | int) -> int:
    """The index that stands for a term: what nine digits without leading zeros spell, else its hash below 10^9."""
    if isinstance(term, int):
        return term
    digits = set(term) <= set("0123456789")
    if term and digits and len(term) <= 9 and (term == "0" or term[0] != "0"):
        return int(term)
    return int(hashlib.blake2b(term.encode(), digest_size=8).hexdigest(), 16) % 10**9


# --- weights ---------------------------------------------------------------------------------------------------------

_TABLE_DIGEST: Final = "a85c0702d3430a5d1ba046e88eea3273920f9e6ebc6d7d2ee7728b8c36fa84a8"


@cache
def _built_in_table() -> tuple[int, int, dict[str, int]]:
    """N, the count of a term that is not listed, and the counts."""
    data = (files("codeweaver_backends") / "sdk/hybrid/term_statistics/code.json").read_bytes()
    if hashlib.sha256(data).hexdigest() != _TABLE_DIGEST:
        raise ValueError("the table of document counts is not the contract's")
    table = json.loads(data)
    return table["documents"], table["other"], table["counts"]


@dataclass(frozen=True, slots=True)
class TextIndex:
    """The arguments of ``create_sparse_index``."""

    fields: Sequence[str | tuple[str, ...]]
    index_type: str = "bm25"
    average_length: float = 64.0
    documents: int | None = None
    """N of a table of one's own, with ``counts`` and ``other``; ``None`` for the contract's table."""
    counts: Mapping[str, int] = field(default_factory=dict)
    other: int = 0

    @property
    def options(self) -> dict[str, Any]:
        """What ``create_sparse_index`` is given beside fields and type."""
        options: dict[str, Any] = {} if self.average_length == 64.0 else {"average_length": self.average_length}
        if self.documents is not None:
            table = {"documents": self.documents, "counts": dict(self.counts), "other": self.other}
            options["term_statistics"] = table
        return options

    def document(self, payload: Mapping[str, Any] | None) -> dict[int, float]:
        """Index → weight of a payload's text."""
        strings = [text for path in dict.fromkeys(map(_path, self.fields)) for text in _strings(payload or {}, path)]
        if self.index_type == "keyword":
            return {index_of(text): 1.0 for text in strings if text}
        counts = Counter(index_of(term) for text in strings for term in tokenize(text))
        if self.index_type == "text":
            return dict.fromkeys(counts, 1.0)
        length = sum(counts.values())
        share = 0.25 + 0.75 * length / self.average_length
        return {index: _float32(tf * 2.2 / (tf + 1.2 * share)) for index, tf in counts.items()}

    def query(self, text: str) -> dict[int, float]:
        """Index → weight of a text query."""
        if self.index_type == "keyword":
            return {index_of(text): 1.0} if text else {}
        terms = tokenize(text)
        if self.index_type == "text":
            return {index_of(term): 1.0 for term in terms}
        table = (self.documents, self.other, self.counts)
        documents, other, known = _built_in_table() if table[0] is None else table
        weights: dict[int, float] = {}
        for term in terms:
            df = known.get(term, other)
            idf = math.log(1 + (documents - df + 0.5) / (df + 0.5))  # type: ignore[operator]
            weights[index_of(term)] = weights.get(index_of(term), 0.0) + idf
        return {index: _float32(weight) for index, weight in weights.items()}


def sparse_weights(vector: SparseVector | None) -> dict[int, float]:
    """Index → weight of a sparse vector as a caller gives it."""
    weights: dict[int, float] = {}
    for term, weight in (vector or {}).items():
        weights[index_of(term)] = weights.get(index_of(term), 0.0) + float(weight)
    return {index: _float32(weight) for index, weight in weights.items() if weight >= 1e-15}


def _path(name: str | tuple[str, ...]) -> tuple[str, ...]:
    return name if isinstance(name, tuple) else tuple(name.split("."))


def _strings(payload: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    value: Any = payload
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return []
        value = value[key]
    values = value if isinstance(value, list | tuple) else [value]
    return [one for one in values if isinstance(one, str)]


def _float32(number: float) -> float:
    return float(struct.unpack("f", struct.pack("f", number))[0])


# --- legs and pools --------------------------------------------------------------------------------------------------

Scores = dict[PointId, float]


def legs(
    points: Iterable[VectorPoint],
    dense: Vector,
    sparse: SparseVector | str,
    metric: DistanceMetric,
    index: TextIndex | None,
    search_filter: FilterLike | None = None,
) -> tuple[Scores, Scores]:
    """The scores of every point of each leg: the filter binds both, the sparse one has who shares a term."""
    stored: Callable[[VectorPoint], dict[int, float]]
    if not isinstance(sparse, str):
        asked, stored = sparse_weights(sparse), lambda point: sparse_weights(point.sparse_vector)
    elif index is not None:
        asked, stored = index.query(sparse), lambda point: index.document(point.payload)
    else:
        raise ValueError("the contract refuses a text query where there is no sparse index")
    query = list(dense)
    near: Scores = {}
    sharing: Scores = {}
    for point in points:
        if not matches(search_filter, point.payload):
            continue
        near[point.id] = score(metric, query, point.vector)
        weights = stored(point)
        if asked.keys() & weights.keys():
            sharing[point.id] = math.fsum(weight * weights.get(term, 0.0) for term, weight in asked.items())
    return near, sharing


def _tie(value: float) -> float:
    return 1e-6 * max(1.0, abs(value))


def _id_order(point_id: PointId) -> tuple[int, PointId]:
    return (0 if isinstance(point_id, int) else 1), point_id


def pool(leg: Scores, candidates: int) -> Scores:
    """The best of a leg by score and id; who is within τ of the one at the cut is tied there, and goes by id."""
    by_score = sorted(leg, key=lambda one: -leg[one])
    if len(by_score) <= candidates:
        return dict(leg)
    cut = leg[by_score[candidates - 1]]
    above = [one for one in by_score if leg[one] > cut + _tie(cut)]
    tied = [one for one in by_score if abs(leg[one] - cut) <= _tie(cut)]
    return {one: leg[one] for one in above + sorted(tied, key=_id_order)[: candidates - len(above)]}


def is_settled(leg: Scores, candidates: int, noise: float = 3e-7) -> bool:
    """Whether no two scores that count are τ apart, give or take ``noise``: engines could rank such two differently.

    Scores that count are those of the pool and what could be at its cut. Generated cases avoid what is not settled.
    """
    ordered = sorted(leg.values(), reverse=True)
    if len(ordered) > candidates:
        cut = ordered[candidates - 1]
        ordered = [value for value in ordered if value >= cut - 2 * _tie(cut)]
    for place, high in enumerate(ordered):
        for low in ordered[place + 1 :]:
            slack = noise * max(1.0, abs(high), abs(low))
            if high - low > _tie(high) + slack:
                break
            if abs(high - low - _tie(low)) <= slack or abs(high - low - _tie(high)) <= slack:
                return False
    return True


# --- fusion ----------------------------------------------------------------------------------------------------------


def fused(dense: Scores, sparse: Scores, strategy: HybridStrategy, alpha: float) -> Scores:
    """The fused score of every point of two pools; who is missing from one has 0 of it."""
    parts = ((alpha, _normalised(dense, strategy)), (1.0 - alpha, _normalised(sparse, strategy)))
    return {
        point_id: math.fsum(weight * part.get(point_id, 0.0) for weight, part in parts)
        for point_id in dense.keys() | sparse.keys()
    }


def _normalised(leg: Scores, strategy: HybridStrategy) -> Scores:
    values = list(leg.values())
    if not values:
        return {}
    largest = _tie(max(abs(value) for value in values))
    if strategy is HybridStrategy.RRF:
        return {one: 2.0 / (60 + _rank(value, values)) for one, value in leg.items()}
    if strategy is HybridStrategy.LINEAR:
        return leg
    if strategy is HybridStrategy.CONVEX:
        low, high = min(values), max(values)
        return {one: 1.0 if high - low <= largest else (value - low) / (high - low) for one, value in leg.items()}
    mean, sigma = math.fsum(values) / len(values), _deviation(values)
    if sigma <= largest:
        return dict.fromkeys(leg, 0.5)
    return {one: min(1.0, max(0.0, (value - (mean - 3 * sigma)) / (6 * sigma))) for one, value in leg.items()}


def _rank(value: float, values: Sequence[float]) -> int:
    return 1 + sum(other > value + _tie(value) for other in values)


def _deviation(values: Sequence[float]) -> float:
    if len(values) == 1:
        return 0.0
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _spread(leg: Scores, strategy: HybridStrategy) -> float:
    """What a leg's scores are divided by, where that is below 1: the tolerance of its parts is divided by it too."""
    values = list(leg.values())
    if strategy is HybridStrategy.CONVEX and values:
        spread = max(values) - min(values)
    elif strategy is HybridStrategy.DBSF and values:
        spread = 6 * _deviation(values)
    else:
        return 1.0
    return min(1.0, spread) if spread > _tie(max(map(abs, values))) else 1.0


def expected_scores(
    points: Iterable[VectorPoint],
    dense: Vector,
    sparse: SparseVector | str,
    metric: DistanceMetric,
    *,
    index: TextIndex | None = None,
    limit: int = 10,
    strategy: HybridStrategy = HybridStrategy.RRF,
    alpha: float = 0.5,
    search_filter: FilterLike | None = None,
    candidates: int | None = None,
) -> tuple[Scores, float]:
    """The fused score of every point of the two pools, and by how much of ``max(1, |s|)`` each may be off.

    That is 1e-5, divided by the pools' spread where the strategy divides by it. RRF is made of integers: no engine's
    rounding is in it.
    """
    near, sharing = legs(points, dense, sparse, metric, index, search_filter)
    size = max(100, limit) if candidates is None else candidates
    near = pool(near, size) if alpha > 0 else {}
    sharing = pool(sharing, size) if alpha < 1 else {}
    is_exact = strategy is HybridStrategy.RRF
    slack = 1e-9 if is_exact else 1e-5 / min(_spread(near, strategy), _spread(sharing, strategy))
    return fused(near, sharing, strategy, alpha), slack


def check_hybrid(
    got: Sequence[SearchResult],
    points: Iterable[VectorPoint],
    dense: Vector,
    sparse: SparseVector | str,
    metric: DistanceMetric,
    *,
    limit: int = 10,
    strategy: HybridStrategy = HybridStrategy.RRF,
    **options: Any,
) -> str | None:
    """``None`` if ``got`` is a right answer to this hybrid search over ``points``, else the disagreement in words.

    The arguments are those of ``expected_scores``. Points whose scores are nearer to each other than they may be off
    may change places, and stand for each other at the cut.
    """
    expected, slack = expected_scores(points, dense, sparse, metric, limit=limit, strategy=strategy, **options)
    seen: set[PointId] = set()
    for place, hit in enumerate(got):
        hit_is = f"result {place + 1} is {hit.id!r}"
        if type(hit.id) not in (int, str) or hit.id not in expected:
            return f"{hit_is}, which is in neither pool"
        if hit.id in seen:
            return f"{hit_is}, which came before"
        allowed = slack * max(1.0, abs(expected[hit.id]))
        if not abs(hit.score - expected[hit.id]) <= allowed:
            return f"{hit_is} with the score {hit.score!r}; expected {expected[hit.id]:.9g} ± {allowed:.1g}"
        if place and hit.score > got[place - 1].score:
            return f"{hit_is} with the score {hit.score!r}, after one with {got[place - 1].score!r}: not best first"
        seen.add(hit.id)
    return _omitted(seen, expected, limit, 1e-12 if strategy is HybridStrategy.RRF else slack)


def _omitted(seen: set[PointId], expected: Scores, limit: int, slack: float) -> str | None:
    if len(seen) != min(limit, len(expected)):
        return f"{len(seen)} results came back; {min(limit, len(expected))} are due"
    missing = [one for one in expected if one not in seen]
    if not missing or not seen:
        return None
    best, worst = max(missing, key=expected.__getitem__), min(seen, key=expected.__getitem__)
    if expected[best] > expected[worst] + 2 * slack * max(1.0, abs(expected[best])):
        return (
            f"{best!r} ({expected[best]:.9g}) is missing, while the worse {worst!r} ({expected[worst]:.9g}) came back"
        )
    return None
