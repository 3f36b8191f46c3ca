"""The calls of the protocol, with arguments that are valid, and with arguments that are not."""

from __future__ import annotations

import inspect
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np

from codeweaver_backends.protocols import PROFILES
from codeweaver_backends.types import FilterCondition, SearchFilter, SearchResult, VectorPoint
from codeweaver_conformance.network import Relay, relayed
from codeweaver_conformance.session import Conformance, point

__all__ = [
    "A",
    "B",
    "Call",
    "answered",
    "behind_a_relay",
    "claimed_calls",
    "every_call",
    "profile_calls",
    "wrong_calls",
]

Call: TypeAlias = Callable[[], Awaitable[Any]]

A, B = 100, 101
"""Ids in the calls: integers, so that a fault of string ids fails its own tests and no others."""


@contextmanager
def behind_a_relay(
    cw: Conformance, context: ssl.SSLContext | None = None, **settings: Any
) -> Iterator[tuple[Relay, Any]]:
    """A backend whose way to the engine can be cut; with a ``context`` it is encrypted. Other settings may be given."""
    address = cw.subject.address
    if address is None:
        cw.not_verified("the settings do not tell the engine's host and port")
    host, port = address
    others = cw.subject.other_ports
    with relayed(host, port, *others.values(), tls=context) as (relay, (first, *rest)):
        yield relay, cw.at_port(first, **dict(zip(others, rest, strict=True)), **settings)


def every_call(backend: Any, name: str) -> dict[str, Call]:
    """The base protocol's calls, with valid arguments."""
    return {
        "list_collections": backend.list_collections,
        "create_collection": lambda: backend.create_collection(name, 2),
        "get_collection_info": lambda: backend.get_collection_info(name),
        "upsert_vectors": lambda: backend.upsert_vectors(name, [point(A, [1, 0])]),
        "search_vectors": lambda: backend.search_vectors(name, [1, 0]),
        "delete_vectors": lambda: backend.delete_vectors(name, [A]),
        "delete_collection": lambda: backend.delete_collection(name),
    }


def profile_calls(backend: Any, name: str) -> dict[str, Call]:
    """The calls of the optional profiles by method, with arguments that are valid for a collection that holds A."""

    async def stream(*items: Any) -> AsyncIterator[Any]:
        for item in items:
            yield item

    async def begin() -> Any:
        return await backend.begin_transaction()

    everything = SearchFilter(must=[FilterCondition("t", "eq", "text")])
    sparse = VectorPoint(A, [1.0, 0.0], {"t": "text"}, {"term": 1.0})
    return {
        "get_vectors": lambda: backend.get_vectors(name, [A]),
        "scroll_vectors": lambda: backend.scroll_vectors(name),
        "count_vectors": lambda: backend.count_vectors(name),
        "delete_by_filter": lambda: backend.delete_by_filter(name, everything),
        "upsert_batch": lambda: backend.upsert_batch(name, [B], np.array([[1.0, 0.0]], dtype=np.float32), [{}]),
        "optimize_collection": lambda: backend.optimize_collection(name),
        "create_sparse_index": lambda: backend.create_sparse_index(name, ["t"]),
        "hybrid_search": lambda: backend.hybrid_search(name, [1.0, 0.0], {"term": 1.0}),
        "update_sparse_vectors": lambda: backend.update_sparse_vectors(name, [sparse]),
        "stream_upsert_vectors": lambda: backend.stream_upsert_vectors(name, stream([point(B, [1, 0])])),
        "stream_search_vectors": lambda: answered(backend, name, stream([1.0, 0.0])),
        "begin_transaction": begin,
        "commit_transaction": lambda: backend.commit_transaction("none"),
        "rollback_transaction": lambda: backend.rollback_transaction("none"),
    }


def claimed_calls(cw: Conformance, backend: Any, name: str) -> dict[str, Call]:
    """The calls of the base and of every claimed profile, with valid arguments; but what ends a transaction."""
    calls = profile_calls(backend, name)
    ends = ("commit_transaction", "rollback_transaction")
    claimed = [one for one in PROFILES.values() if getattr(cw.capabilities, one.claim)]
    return every_call(backend, name) | {
        method: calls[method] for profile in claimed for method in profile.methods if method not in ends
    }


async def answered(
    backend: Any, name: str, queries: Any, limit: Any = 10, answers: list[Any] | None = None
) -> list[list[SearchResult]]:
    """The answers to a stream of queries, put to ``answers`` as they come.

    ``stream_search_vectors`` may be an asynchronous generator, or a coroutine that gives an asynchronous iterator.
    """
    answers = [] if answers is None else answers
    found = backend.stream_search_vectors(name, queries, limit)
    async for hits in await found if inspect.isawaitable(found) else found:
        answers.append(hits)
    return answers


def wrong_calls(cw: Conformance, name: str) -> dict[str, Call]:
    """Calls that each have one thing to refuse, whatever the collection is."""
    backend, claims = cw.backend, cw.capabilities
    operator = SearchFilter(must=[FilterCondition("a", "like", 1)])
    operand = SearchFilter(must=[FilterCondition("a", "eq", [])])
    calls: dict[str, Call] = {
        "search: limit -1": lambda: backend.search_vectors(name, [1, 0], limit=-1),
        "search: limit '3'": lambda: backend.search_vectors(name, [1, 0], limit="3"),
        "search: an unknown operator": lambda: backend.search_vectors(name, [1, 0], search_filter=operator),
        "search: a list for a scalar": lambda: backend.search_vectors(name, [1, 0], search_filter=operand),
        "search: an unknown option": lambda: backend.search_vectors(name, [1, 0], filters=operand),
        "search: with_payload 5": lambda: backend.search_vectors(name, [1, 0], with_payload=5),
        "search: a threshold of text": lambda: backend.search_vectors(name, [1, 0], score_threshold="0.5"),
        "delete: a negative id": lambda: backend.delete_vectors(name, [-1]),
        "delete: a text for ids": lambda: backend.delete_vectors(name, "text"),
        "upsert: a text for points": lambda: backend.upsert_vectors(name, "text"),
        "upsert: a negative id": lambda: backend.upsert_vectors(name, [point(-1, [1, 0])]),
        "upsert: bytes in a payload": lambda: backend.upsert_vectors(name, [point(A, [1, 0], {"a": b"x"})]),
    }
    if claims.supports_scan:
        calls |= {
            "get: a negative id": lambda: backend.get_vectors(name, [-1]),
            "get: with_vectors 'yes'": lambda: backend.get_vectors(name, [A], with_vectors="yes"),
            "scroll: limit 0": lambda: backend.scroll_vectors(name, limit=0),
            "scroll: an unknown operator": lambda: backend.scroll_vectors(name, search_filter=operator),
            "count: an unknown operator": lambda: backend.count_vectors(name, operator),
            "delete_by_filter: a list for a scalar": lambda: backend.delete_by_filter(name, operand),
        }
    if claims.supports_columnar:
        matrix = np.zeros((1, 2), dtype=np.float32) + 1
        calls["upsert_batch: two ids, one row"] = lambda: backend.upsert_batch(name, [A, B], matrix)
        calls["upsert_batch: a negative id"] = lambda: backend.upsert_batch(name, [-1], matrix)
    if claims.supports_streaming:

        async def nothing() -> AsyncIterator[Any]:
            return
            yield

        calls["stream_upsert: batch_size 0"] = lambda: backend.stream_upsert_vectors(name, nothing(), 0)
        calls["stream_search: limit -1"] = lambda: answered(backend, name, nothing(), -1)
    if not claims.supports_regex:
        regex = SearchFilter(must=[FilterCondition("a", "regex", "x")])
        calls["search: regex, not claimed"] = lambda: backend.search_vectors(name, [1, 0], search_filter=regex)
    if not claims.supports_hybrid_search:
        sparse = VectorPoint(A, [1, 0], {}, {"term": 1.0})
        calls["upsert: a sparse vector, not claimed"] = lambda: backend.upsert_vectors(name, [sparse])
    return calls
