"""Searches by an identifier's words: dense, sparse and hybrid side by side, by what they find and what they cost.

Who looks for ``parse_url`` asks for "parse url", and one definition is right: the mean of 1 / its rank (MRR@10) says
how good a ranking is. Sparse is BM25 over names, modules and tags.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from codeweaver_backends import HybridStrategy
from codeweaver_conformance.compare.corpus import Chunk, words
from codeweaver_conformance.compare.dataset import Identifiers
from codeweaver_conformance.compare.latency import Latency
from codeweaver_conformance.compare.workload import LIMIT

__all__ = ["RANKINGS", "Ranking", "rank_identifiers", "spoken_names"]

RANKINGS: Final = {"dense": 1.0, "sparse": 0.0, "hybrid": 0.3}
"""With the weight of the dense leg, of CONVEX."""
_FIELDS: Final = ("name", "module", "tags")
_ASKED: Final = 50


@dataclass(frozen=True, slots=True)
class Ranking:
    """One way to search."""

    latency: Latency
    mrr: float


def spoken_names(chunks: Sequence[Chunk]) -> dict[str, str]:
    """The words of names that only one definition has → its id; a few, evenly spread."""
    spoken = [words(chunk.name.rpartition(".")[2]).lower() for chunk in chunks]
    counts = Counter(spoken)
    found = {
        query: chunk.id for query, chunk in zip(spoken, chunks, strict=True) if counts[query] == 1 and " " in query
    }
    kept = list(found)[:: max(1, len(found) // _ASKED)][:_ASKED]
    return {query: found[query] for query in kept}


async def rank_identifiers(
    backend: Any, collection: str, identifiers: Identifiers, tick: Callable[[], object]
) -> tuple[float, dict[str, Ranking]]:
    """Make the sparse index, and ask: the seconds it took, and each ranking's outcome."""
    begun = time.perf_counter()
    await backend.create_sparse_index(collection, list(_FIELDS))
    seconds, rankings = time.perf_counter() - begun, {}
    for name, alpha in RANKINGS.items():
        took, ranks = [], []
        asked = zip(identifiers.queries, identifiers.vectors.tolist(), identifiers.ids, strict=True)
        for query, vector, wanted in asked:
            begun = time.perf_counter()
            hits = await backend.hybrid_search(collection, vector, query, LIMIT, HybridStrategy.CONVEX, alpha)
            took.append(time.perf_counter() - begun)
            ranks.append(next((place for place, hit in enumerate(hits, 1) if hit.id == wanted), None))
        tick()
        rankings[name] = Ranking(Latency.of(took), sum(1 / rank for rank in ranks if rank) / len(ranks))
    return seconds, rankings
