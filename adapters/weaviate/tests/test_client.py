"""The wire, without a server: a loopback double on the client's own stubs. It certifies nothing."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from codeweaver_backends.errors import (
    BackendAuthenticationError,
    BackendConnectionError,
    BackendError,
    BackendTimeoutError,
    CollectionNotFoundError,
    RateLimitError,
    UnsupportedError,
)
from codeweaver_backends.sdk import CollectionSettings, encode_id
from codeweaver_backends.types import DistanceMetric, FilterCondition, VectorPoint
from codeweaver_weaviate import WeaviateBackend, WeaviateConfig, client, schema
from codeweaver_weaviate.client import SearchReply, aggregate_pb2, batch_delete_pb2, batch_pb2, weaviate_pb2_grpc

POINTS = [VectorPoint(n, [1.0, n], {"n": n}) for n in range(5)]
Handler = Callable[[Any, grpc.aio.ServicerContext[Any, Any]], Awaitable[Any]]


class Double(weaviate_pb2_grpc.WeaviateServicer):  # type: ignore[misc]
    """Answers what a test puts into ``answers``, and notes every call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.answers: dict[str, Handler] = {}
        self.collection = schema.new_collection(CollectionSettings("c", 2, DistanceMetric.COSINE))
        self.version = "1.39.0"
        self.status = 200
        self.missing = b""
        """The body of a 404: Weaviate has none for a class that is not there."""
        self.delay = 0.0
        self.shards: list[dict[str, str]] = []
        self.nodes: list[Any] = []
        self.trial = ""
        """What a class that cannot be created is refused with."""

    def called(self, name: str) -> list[Any]:
        return [request for called, request in self.calls if called == name]

    async def _answer(self, name: str, request: Any, context: Any, default: Any) -> Any:
        self.calls.append((name, request))
        handler = self.answers.get(name)
        return default if handler is None else await handler(request, context)

    async def Search(self, request: Any, context: Any) -> Any:  # noqa: N802 - the service's names
        return await self._answer("Search", request, context, SearchReply())

    async def BatchObjects(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self._answer("BatchObjects", request, context, batch_pb2.BatchObjectsReply())

    async def BatchDelete(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self._answer("BatchDelete", request, context, batch_delete_pb2.BatchDeleteReply())

    async def Aggregate(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self._answer("Aggregate", request, context, aggregate_pb2.AggregateReply())

    async def rest(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request by REST, one answer."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path, _ = head.split(" ", 2)
        self.calls.append((f"{method} {path}", head))
        await asyncio.sleep(self.delay)
        body: Any = {"version": self.version}
        status = self.status
        if path == "/v1/nodes":
            body = {"nodes": self.nodes}
        elif method == "POST":
            status, body = 422, {"error": [{"message": self.trial}]}
        elif path.endswith("/shards"):
            body = self.shards
        elif path.startswith("/v1/schema"):
            body = schema.class_definition(self.collection)
        content = json.dumps(body).encode() if self.status != 404 else self.missing
        writer.write(f"HTTP/1.1 {status} -\r\nconnection: close\r\ncontent-length: {len(content)}\r\n\r\n".encode())
        writer.write(content)
        await writer.drain()
        writer.close()


async def _healthy(_request: bytes, _context: Any) -> bytes:
    return b"\x08\x01"  # SERVING


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[tuple[WeaviateBackend, Double]]:
    """A backend, and the double it talks to."""
    double = Double()
    rest = await asyncio.start_server(double.rest, "127.0.0.1", 0)
    server = grpc.aio.server()
    weaviate_pb2_grpc.add_WeaviateServicer_to_server(double, server)
    health = {"Check": grpc.unary_unary_rpc_method_handler(_healthy)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", health),))
    grpc_port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    port = rest.sockets[0].getsockname()[1]
    config = WeaviateConfig(port=port, grpc_port=grpc_port, **{"timeout": 3, **settings})
    try:
        async with WeaviateBackend(config) as backend:
            yield backend, double
    finally:
        await server.stop(None)
        rest.close()


def run(test: Callable[[WeaviateBackend, Double], Awaitable[None]], **settings: Any) -> None:
    async def main() -> None:
        async with serving(**settings) as (backend, double):
            await test(backend, double)

    asyncio.run(main())


def aborting(code: grpc.StatusCode, details: str) -> Handler:
    async def abort(_request: Any, context: Any) -> None:
        await context.abort(code, details)

    return abort


async def _hang(_request: Any, _context: Any) -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ("http://127.0.0.1:8080", "127.0.0.1:50051", False)),
        ({"host": "::1", "port": 1, "grpc_port": 2}, ("http://[::1]:1", "[::1]:2", False)),
        (
            {"url": "https://rest.example", "grpc_host": "grpc.example"},
            ("https://rest.example:443", "grpc.example:443", True),
        ),
        ({"url": "http://there:81/", "grpc_port": 82}, ("http://there:81", "there:82", False)),
        ({"host": "there", "tls": True}, ("https://there:443", "there:443", True)),
    ],
)
def test_addresses(settings: dict[str, Any], expected: tuple[str, str, bool]) -> None:
    """Check the two ports, from a url and from parts."""
    config = WeaviateConfig(**settings)
    assert (config.address, config.grpc_address, config.is_encrypted) == expected


@pytest.mark.parametrize("url", ["there:8080", "ftp://there", "http://", "http://there/path", "http://me:pass@there"])
def test_other_urls_are_refused(url: str) -> None:
    """Check that nothing of a url is ignored, and that no error shows it."""
    with pytest.raises(ValueError, match="url") as caught:
        WeaviateConfig(url=url)
    assert "pass@" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "rest", "grpc_too"),
    [
        ({"host": "there"}, True, True),
        ({}, False, False),
        ({"url": "http://localhost:1"}, False, False),
        ({"host": "there", "grpc_host": "127.0.0.1"}, True, False),
        ({"url": "http://localhost:1", "grpc_host": "there"}, False, True),
        ({"host": "there", "proxy": False}, False, False),
    ],
)
def test_a_proxy_is_used_where_it_is_meant(settings: dict[str, Any], rest: bool, grpc_too: bool) -> None:
    """Check each port by its own host: the environment's proxy is never asked for this machine."""
    config = WeaviateConfig(**settings)
    assert (config.uses_proxy, config.grpc_uses_proxy) == (rest, grpc_too)


def test_the_host_of_grpc_is_judged_as_the_other() -> None:
    with pytest.raises(ValueError, match="grpc_host"):
        WeaviateConfig(grpc_host="there:50051")


# --- writing ---------------------------------------------------------------------------------------------------------


def test_a_write_is_flushed_before_it_is_acknowledged() -> None:
    """Check the last call: a deletion of nothing, which makes the server write its buffers."""

    async def test(backend: WeaviateBackend, double: Double) -> None:
        await backend.upsert_vectors("c", [VectorPoint(n, [1.0, n]) for n in range(2_500)])
        written = [len(request.objects) for request in double.called("BatchObjects")]
        assert written == [500] * 5
        name, flush = double.calls[-1]
        assert (name, flush.dry_run) == ("BatchDelete", True)

    run(test)


@pytest.mark.parametrize(
    ("told", "named", "unknown"),
    [
        ({1: "no space", 3: "no space"}, {1, 3}, True),
        ({0: "store is read-only due to: disk"}, {0, 1, 2, 3, 4}, False),
    ],
)
def test_a_partial_failure_names_its_points(told: dict[int, str], named: set[int], unknown: bool) -> None:
    """Check single refusals, and a shard that is read-only, which tells of its first object only."""

    async def test(backend: WeaviateBackend, double: Double) -> None:
        async def refuse(_request: Any, _context: Any) -> Any:
            errors = [batch_pb2.BatchObjectsReply.BatchError(index=index, error=text) for index, text in told.items()]
            return batch_pb2.BatchObjectsReply(errors=errors)

        double.answers["BatchObjects"] = refuse
        with pytest.raises(BackendConnectionError, match=next(iter(told.values()))) as caught:
            await backend.upsert_vectors("c", POINTS)
        assert (set(caught.value.ids), caught.value.state_unknown) == (named, unknown)

    run(test)


def test_who_may_not_write_is_told_so() -> None:
    """Check that a refusal for lack of permission, which comes per point, is one of the credentials."""

    async def test(backend: WeaviateBackend, double: Double) -> None:
        async def refuse(request: Any, _context: Any) -> Any:
            error = "rbac: authorization, forbidden action: user 'r' has insufficient permissions to U []"
            errors = [batch_pb2.BatchObjectsReply.BatchError(index=n, error=error) for n in range(len(request.objects))]
            return batch_pb2.BatchObjectsReply(errors=errors)

        double.answers["BatchObjects"] = refuse
        with pytest.raises(BackendAuthenticationError) as caught:
            await backend.upsert_vectors("c", POINTS)
        assert (set(caught.value.ids), caught.value.state_unknown) == ({0, 1, 2, 3, 4}, False)

    run(test)


def test_a_partial_failure_that_is_not_flushed_leaves_more_open() -> None:
    """Check that of a batch which was refused in part, the rest is acknowledged only if it was flushed."""

    async def test(backend: WeaviateBackend, double: Double) -> None:
        async def refuse(_request: Any, _context: Any) -> Any:
            return batch_pb2.BatchObjectsReply(errors=[batch_pb2.BatchObjectsReply.BatchError(index=1, error="no")])

        double.answers |= {"BatchObjects": refuse, "BatchDelete": aborting(grpc.StatusCode.INTERNAL, "no")}
        with pytest.raises(BackendConnectionError) as caught:
            await backend.upsert_vectors("c", POINTS)
        assert set(caught.value.ids) == {0, 1, 2, 3, 4}

    run(test)


@pytest.mark.parametrize(("lost", "first"), [(1, 0), (2, 0), (3, 10)])
def test_a_lost_write_is_tried_once_and_names_what_is_open(
    lost: int, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check that no retry hides a restart, that later parts are not sent, and that the collection is looked over.

    The part before the lost one is open as well: only the next part, or a flush, has all of it written.
    """

    async def test(backend: WeaviateBackend, double: Double) -> None:
        async def lose(request: Any, context: Any) -> Any:
            if len(double.called("BatchObjects")) == lost:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "socket closed")
            return batch_pb2.BatchObjectsReply()

        double.answers["BatchObjects"] = lose
        with pytest.raises(BackendConnectionError) as caught:
            await backend.upsert_vectors("c", [VectorPoint(n, [1.0, n]) for n in range(25)])
        assert len(double.called("BatchObjects")) == lost
        assert set(caught.value.ids) == set(range(first, 25))
        assert caught.value.state_unknown
        double.calls.clear()
        await backend.search_vectors("c", [1, 0])
        names = [name for name, _ in double.calls]
        sent = range(first, min(10 * lost, 25))
        assert {name for name in names if name.startswith("PATCH")} >= {
            f"PATCH /v1/objects/Cw_c/{schema.point_uuid(n)}" for n in sent
        }
        assert names.index("Aggregate") < names.index("Search")

    monkeypatch.setattr(WeaviateBackend, "part_points", 10)
    run(test, timeout=20)


@pytest.mark.parametrize(("status", "unknown"), [("READONLY", False), ("READY", True)])
def test_a_deletion_that_failed_says_whether_it_can_have_begun(status: str, unknown: bool) -> None:
    """Check that a full disk, which the server does not tell of here, is asked for."""

    async def test(backend: WeaviateBackend, double: Double) -> None:
        async def fail(_request: Any, _context: Any) -> Any:
            return batch_delete_pb2.BatchDeleteReply(matches=2, failed=1)

        await backend.count_vectors("c")
        double.answers["BatchDelete"] = fail
        double.shards = [{"name": "one", "status": status}]
        with pytest.raises(BackendConnectionError, match="read-only" if not unknown else "no reason") as caught:
            await backend.delete_vectors("c", [1, 2])
        assert (set(caught.value.ids), caught.value.state_unknown) == ({1, 2}, unknown)

    run(test)


def test_a_lost_flush_leaves_the_last_points_open() -> None:
    """Check that what is not flushed is not acknowledged."""

    async def test(backend: WeaviateBackend, double: Double) -> None:
        double.answers["BatchDelete"] = aborting(grpc.StatusCode.INTERNAL, "no")
        with pytest.raises(BackendConnectionError) as caught:
            await backend.upsert_vectors("c", POINTS)
        assert set(caught.value.ids) == {0, 1, 2, 3, 4}

    run(test)


def test_deleting_goes_on_beyond_the_servers_maximum() -> None:
    """Check that matches and deletions are told apart."""

    async def test(backend: WeaviateBackend, double: Double) -> None:
        left = [12_000]

        async def delete(_request: Any, _context: Any) -> Any:
            matches, left[0] = left[0], max(0, left[0] - 10_000)
            return batch_delete_pb2.BatchDeleteReply(matches=matches, successful=matches - left[0])

        double.answers["BatchDelete"] = delete
        assert await backend.delete_by_filter("c", FilterCondition("n", "ge", 0)) == 12_000
        assert len(double.called("BatchDelete")) == 2

    run(test)


# --- reading ---------------------------------------------------------------------------------------------------------


def test_reads_are_tried_again_as_often_as_configured() -> None:
    """Check the number of tries, and that they end."""

    async def test(backend: WeaviateBackend, double: Double) -> None:
        double.answers["Search"] = aborting(grpc.StatusCode.UNAVAILABLE, "restarting")
        with pytest.raises(BackendConnectionError):
            await backend.search_vectors("c", [1, 0])
        assert len(double.called("Search")) == 3

    run(test, retries=2)


def test_too_large_an_answer_comes_in_pieces() -> None:
    """Check that the ranking is kept when the content is fetched apart from it."""

    async def test(backend: WeaviateBackend, double: Double) -> None:
        every = {schema.point_uuid(point.id): point for point in POINTS}

        async def search(request: Any, context: Any) -> Any:
            wanted = list(request.filters.value_text_array.values) or list(every)
            content = request.HasField("properties")
            if content and len(wanted) > 2:
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "trying to send message larger than max")
            reply = SearchReply()
            for uuid in wanted if content else sorted(every, key=lambda one: -int(every[one].id)):
                result = reply.results.add()
                result.metadata.id, result.metadata.distance = uuid, 0.1 * (5 - int(every[uuid].id))
                if content:
                    fields = result.properties.non_ref_props.fields
                    fields[schema.ID].text_value = encode_id(every[uuid].id)
                    fields[schema.PAYLOAD].text_value = json.dumps(every[uuid].payload)
            return reply

        double.answers["Search"] = search
        hits = await backend.search_vectors("c", [1, 0], limit=5)
        assert [(hit.id, hit.payload) for hit in hits] == [(n, {"n": n}) for n in (4, 3, 2, 1, 0)]
        assert [hit.score for hit in hits] == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5], abs=1e-6)
        assert [point.id for point in await backend.get_vectors("c", [3, 0, 2])] == [3, 0, 2]

    run(test)


def test_a_collection_made_again_is_looked_up_again() -> None:
    """Check that settings which are outdated are not believed: the vector's name of old is refused."""

    async def test(backend: WeaviateBackend, double: Double) -> None:
        async def search(request: Any, context: Any) -> Any:
            if list(request.near_vector.targets.target_vectors) != [double.collection.vector]:
                await context.abort(grpc.StatusCode.UNKNOWN, "class Cw_c does not have named vector v")
            return SearchReply()

        double.answers["Search"] = search
        await backend.search_vectors("c", [1, 0])
        double.collection = schema.new_collection(CollectionSettings("c", 3, DistanceMetric.COSINE))
        assert await backend.search_vectors("c", [1, 0, 0]) == []
        double.collection = schema.new_collection(CollectionSettings("c", 3, DistanceMetric.COSINE))
        assert await backend.search_vectors("c", [1, 0, 0]) == []

    run(test)


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("is_gone", [True, False])
def test_a_collection_that_is_being_deleted_is_looked_up(is_known: bool, is_gone: bool) -> None:
    """Check that words which do not tell a deletion from a server that stops are not believed."""

    async def test(backend: WeaviateBackend, double: Double) -> None:
        async def search(_request: Any, context: Any) -> Any:
            double.status = 404 if is_gone else 200
            await context.abort(
                grpc.StatusCode.UNKNOWN, 'search index cw_c: local shard "one": already shut or dropped'
            )

        if is_known:
            await backend.count_vectors("c")
        double.answers["Search"] = search
        with pytest.raises(CollectionNotFoundError if is_gone else BackendConnectionError):
            await backend.search_vectors("c", [1, 0])

    run(test)


@pytest.mark.parametrize(
    ("code", "details"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, "viewer"),
        (grpc.StatusCode.UNAVAILABLE, "read-only mode is enabled"),
        (grpc.StatusCode.UNKNOWN, "store is read-only due to: disk"),
        (grpc.StatusCode.UNKNOWN, "write proplengths.tmp: no space left on device"),
    ],
)
def test_who_may_only_read_can_count(code: grpc.StatusCode, details: str) -> None:
    """Check that counting, which asks what a deletion would delete, does without."""

    async def test(backend: WeaviateBackend, double: Double) -> None:
        async def count(_request: Any, _context: Any) -> Any:
            reply = aggregate_pb2.AggregateReply()
            reply.single_result.objects_count = 7
            return reply

        await backend.count_vectors("c")
        double.answers |= {"BatchDelete": aborting(code, details), "Aggregate": count}
        assert await backend.count_vectors("c", FilterCondition("n", "ge", 0)) == 7

    run(test, retries=0)


@pytest.mark.parametrize(("indexed", "identified", "found"), [(3, 3, 2), (2, 3, 3), (4, 3, 3), (3, 2, 3)])
def test_what_a_crash_left_is_stamped_anew(indexed: int, identified: int, found: int) -> None:
    """Check that objects which are missing in any index are repaired when a collection is opened, and their batch."""

    async def test(backend: WeaviateBackend, double: Double) -> None:
        batches = {"a": 10_000, "b": 10_500, "c": 20_000}  # "a" is in no index, "b" was written beside it

        async def count(request: Any, _context: Any) -> Any:
            reply = aggregate_pb2.AggregateReply()
            near, filtered = request.HasField("near_vector"), request.HasField("filters")
            reply.single_result.objects_count = found if near else indexed if filtered else 3
            return reply

        async def match(_request: Any, _context: Any) -> Any:
            return batch_delete_pb2.BatchDeleteReply(matches=identified)

        async def search(request: Any, _context: Any) -> Any:
            reply = SearchReply()
            for uuid, written in batches.items():
                if not request.HasField("near_vector") or uuid != "a":
                    result = reply.results.add()
                    result.metadata.id, result.metadata.last_update_time_unix = uuid, written
            return reply

        double.answers |= {"Aggregate": count, "BatchDelete": match, "Search": search}
        await backend.get_collection_info("c")
        stamped = sorted(name for name, _ in double.calls if name.startswith("PATCH"))
        assert stamped == ["PATCH /v1/objects/Cw_c/a", "PATCH /v1/objects/Cw_c/b"]

    run(test)


def test_a_long_repair_goes_on_in_the_background() -> None:
    """Check that reads wait for it a while and then go on with what is whole, that writes do not wait, and its end."""

    async def test(backend: WeaviateBackend, double: Double) -> None:
        double.answers["BatchObjects"] = aborting(grpc.StatusCode.UNAVAILABLE, "socket closed")
        with pytest.raises(BackendConnectionError):
            await backend.upsert_vectors("c", [VectorPoint(n, [1.0, n]) for n in range(80)])
        del double.answers["BatchObjects"]
        double.calls.clear()
        double.delay = 0.1
        begin = time.monotonic()
        for _ in range(3):
            await backend.search_vectors("c", [1, 0])
        assert 0.3 < time.monotonic() - begin < 0.7  # one of three has waited for half of the timeout
        begin = time.monotonic()
        await backend.upsert_vectors("c", POINTS)
        assert time.monotonic() - begin < 0.3
        assert not backend._repairs.is_whole("c")
        async with asyncio.timeout(5):
            while not backend._repairs.is_whole("c"):  # noqa: ASYNC110 - nothing tells of its end
                await asyncio.sleep(0.05)
        stamped = [name for name, _ in double.calls if name.startswith("PATCH")]
        assert sorted(stamped) == sorted(f"PATCH /v1/objects/Cw_c/{schema.point_uuid(n)}" for n in range(80))

    run(test, timeout=0.7)


def test_a_repair_that_fails_is_begun_again() -> None:
    """Check that a server which is away for a moment ends no repair for good, and fails no read beside it."""

    async def test(backend: WeaviateBackend, double: Double) -> None:
        double.answers["BatchObjects"] = aborting(grpc.StatusCode.UNAVAILABLE, "socket closed")
        with pytest.raises(BackendConnectionError):
            await backend.upsert_vectors("c", POINTS)
        double.status = 503
        assert await backend.search_vectors("c", [1, 0]) == []
        assert not backend._repairs.is_whole("c")
        double.status = 200
        async with asyncio.timeout(5):
            while not backend._repairs.is_whole("c"):
                await asyncio.sleep(0.05)
                await backend.search_vectors("c", [1, 0])

    run(test)


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "details", "expected"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, "no", BackendAuthenticationError),
        (grpc.StatusCode.PERMISSION_DENIED, "no", BackendAuthenticationError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "slow down", RateLimitError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "late", BackendTimeoutError),
        (grpc.StatusCode.UNKNOWN, "could not find class Cw_c in schema", CollectionNotFoundError),
        (grpc.StatusCode.INTERNAL, "broken", BackendConnectionError),
    ],
)
def test_errors_are_the_contracts(code: grpc.StatusCode, details: str, expected: type[BackendError]) -> None:
    """Check the table; the call's own exception is the cause."""

    async def test(backend: WeaviateBackend, double: Double) -> None:
        double.answers["Search"] = aborting(code, details)
        with pytest.raises(expected) as caught:
            await backend.search_vectors("c", [1, 0])
        assert isinstance(caught.value.__cause__, grpc.aio.AioRpcError)
        assert (caught.value.backend, caught.value.collection) == ("weaviate", "c")

    run(test)


@pytest.mark.parametrize("call", ["Search", "BatchObjects"])
def test_a_silent_server_is_given_up(call: str) -> None:
    """Check that every call ends with the configured timeout."""

    async def test(backend: WeaviateBackend, double: Double) -> None:
        double.answers[call] = _hang
        async with asyncio.timeout(2.5):
            with pytest.raises(BackendTimeoutError):
                await (backend.search_vectors("c", [1, 0]) if call == "Search" else backend.upsert_vectors("c", POINTS))

    run(test, timeout=0.7)


def test_the_key_is_sent_on_both_ports_and_shown_nowhere() -> None:
    """Check REST's header and gRPC's metadata, and what is printed of backend, configuration and errors."""
    seen: list[Any] = []

    async def test(backend: WeaviateBackend, double: Double) -> None:
        async def search(_request: Any, context: Any) -> Any:
            seen.append(dict(context.invocation_metadata()).get("authorization"))
            await context.abort(grpc.StatusCode.INTERNAL, "broken")

        double.answers["Search"] = search
        with pytest.raises(BackendConnectionError) as caught:
            await backend.search_vectors("c", [1, 0])
        assert set(seen) == {"Bearer s3cret-key"}
        assert "Bearer s3cret-key" in double.called("GET /v1/meta")[0]
        assert "s3cret" not in f"{caught.value} {caught.value.__cause__} {backend.config!r} {backend!r}"

    run(test, api_key="s3cret-key")


@pytest.mark.parametrize("body", [b"", b"<html>not found</html>"])
def test_a_server_that_is_no_weaviate_is_told_so(body: bytes) -> None:
    """Check that its 404 is not taken for a collection that does not exist, neither at once nor later."""

    async def test(backend: WeaviateBackend, double: Double) -> None:
        double.status, double.missing = 404, body
        with pytest.raises(BackendConnectionError, match="no Weaviate"):
            await backend.count_vectors("c")
        double.status = 200
        await backend.count_vectors("c")
        if body:
            double.status = 404
            with pytest.raises(BackendConnectionError, match="404"):
                await backend.get_collection_info("c")

    run(test, retries=0)


@pytest.mark.parametrize(
    ("nodes", "trial", "is_refused"),
    [
        ([{"batchStats": {"queueLength": 0}}], "", False),
        ([{"batchStats": {"queueLength": 0}}, {"batchStats": {"ratePerSecond": 0}}], "not enough nodes", True),
        ([{"batchStats": {"ratePerSecond": 0}}], "only created when async indexing is enabled", False),
        ([{}], "", False),
    ],
)
def test_a_server_that_indexes_later_is_refused(nodes: list[Any], trial: str, is_refused: bool) -> None:
    """Check what is asked of a server to tell, and that one which tells otherwise is not suspected."""

    async def test(backend: WeaviateBackend, double: Double) -> None:
        double.nodes, double.trial = nodes, trial
        if is_refused:
            with pytest.raises(UnsupportedError, match="ASYNC_INDEXING"):
                await backend.list_collections()
        else:
            assert await backend.health_check()

    run(test)


def test_the_messages_are_those_of_the_client() -> None:
    """Check every field that is written or read: the client keeps these modules to itself, and may change them."""
    fields = {
        client.BatchObject: "uuid collection properties vectors",
        client.BatchObject.Properties: "non_ref_properties text_array_properties",
        client.BatchObjectsRequest: "objects",
        client.BatchDeleteRequest: "collection filters dry_run",
        batch_delete_pb2.BatchDeleteReply: "failed matches successful",
        client.SearchRequest: "collection limit after filters near_vector metadata properties"
        " uses_123_api uses_125_api uses_127_api",
        client.MetadataRequest: "uuid distance vectors last_update_time_unix",
        client.PropertiesRequest: "non_ref_properties",
        client.NearVector: "targets vectors",
        client.Vectors: "name vector_bytes type",
        client.Filters: "operator target value_text value_text_array filters",
        client.AggregateRequest: "collection objects_count object_limit filters near_vector",
        client.FoundObject: "metadata properties",
    }
    for message, names in fields.items():
        assert set(names.split()) <= set(message.DESCRIPTOR.fields_by_name), message.DESCRIPTOR.name
    calls = weaviate_pb2_grpc.WeaviateServicer
    assert all(hasattr(calls, name) for name in ("Search", "BatchObjects", "BatchDelete", "Aggregate"))


def test_an_old_server_is_refused() -> None:
    """Check the version before the first call: filters need a server that knows ``Not``."""

    async def test(backend: WeaviateBackend, double: Double) -> None:
        double.version = "1.32.4"
        with pytest.raises(UnsupportedError, match=r"1\.33"):
            await backend.list_collections()
        assert await backend.health_check() is False

    run(test)


def test_health_tells_of_both_ports(capsys: pytest.CaptureFixture[str]) -> None:
    """Check that one port alone is not health, and that nothing is printed."""

    async def test(backend: WeaviateBackend, double: Double) -> None:
        assert await backend.health_check() is True
        for missing in ({"grpc_port": 1}, {"port": 1}):
            async with WeaviateBackend(WeaviateConfig(**{**backend.config.model_dump(), **missing})) as other:
                assert await other.health_check() is False
        double.status = 503
        assert await backend.health_check() is False
        double.status = 200
        assert await backend.health_check() is True

    run(test, timeout=2)
    assert capsys.readouterr() == ("", "")
