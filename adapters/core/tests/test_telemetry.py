"""What calls tell of themselves: spans and metrics by the conventions, a line for a failed or slow call, no payload."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from codeweaver_backends import (
    CollectionNotFoundError,
    InvalidOptionError,
    MemoryBackend,
    MemoryConfig,
    VectorPoint,
    telemetry,
)

otel = pytest.importorskip("opentelemetry.sdk.trace", reason="THE SPANS ARE NOT TESTED: opentelemetry-sdk is missing")
SECRET = "tr0ub4dor"  # noqa: S105


@pytest.fixture
def told() -> Iterator[Any]:
    """Spans and metrics of everything that is called in a test."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracer_provider = otel.TracerProvider()
    tracer_provider.add_span_processor(SimpleSpanProcessor(spans))
    meter_provider = MeterProvider([reader])
    telemetry.enable(tracer_provider=tracer_provider, meter_provider=meter_provider)
    yield SimpleNamespace(spans=spans, reader=reader, tracer=tracer_provider.get_tracer("test"))
    telemetry.disable()
    meter_provider.shutdown()
    tracer_provider.shutdown()


async def _work() -> None:
    backend = MemoryBackend(MemoryConfig())
    await backend.create_collection("docs", 2)
    await backend.upsert_vectors(
        "docs", [VectorPoint(f"id-{SECRET}", [1.0, 0.0], {"text": SECRET}), VectorPoint(2, [0, 1])]
    )
    await backend.search_vectors("docs", [1.0, 0.0], 5, {"field": "text", "operator": "eq", "value": SECRET})
    with pytest.raises(CollectionNotFoundError):
        await backend.search_vectors("nowhere", [1.0, 0.0])


def test_a_call_is_a_span(told: Any) -> None:
    asyncio.run(_work())
    spans = told.spans.get_finished_spans()
    assert [span.name for span in spans] == [
        "create_collection docs", "upsert_vectors docs", "search_vectors docs", "search_vectors nowhere",
    ]  # fmt: skip
    assert {span.kind.name for span in spans} == {"CLIENT"}
    _, written, found, failed = (dict(span.attributes) for span in spans)
    assert written == {
        "db.system.name": "memory",
        "db.operation.name": "upsert_vectors",
        "db.collection.name": "docs",
        "db.operation.batch.size": 2,
    }
    assert found["db.response.returned_rows"] == 1
    assert failed["error.type"] == "CollectionNotFoundError"
    assert spans[3].status.status_code.name == "ERROR"
    assert SECRET not in "".join(span.to_json() for span in spans)


def test_a_call_is_measured(told: Any) -> None:
    asyncio.run(_work())
    [scope] = told.reader.get_metrics_data().resource_metrics[0].scope_metrics
    [metric] = scope.metrics
    assert (metric.name, metric.unit) == ("db.client.operation.duration", "s")
    points = {
        (one.attributes["db.operation.name"], one.attributes.get("error.type")): one for one in metric.data.data_points
    }
    assert set(points) == {
        ("create_collection", None),
        ("upsert_vectors", None),
        ("search_vectors", None),
        ("search_vectors", "CollectionNotFoundError"),
    }
    assert all(one.count == 1 and one.sum > 0 for one in points.values())
    assert points["search_vectors", None].explicit_bounds[0] == 0.001
    assert SECRET not in str([dict(one.attributes) for one in points.values()])


def test_what_a_call_does_stands_below_it(told: Any) -> None:
    class Asking(MemoryBackend):
        async def _names(self) -> list[str]:
            with told.tracer.start_as_current_span("of the client"):
                return await super()._names()

    async def work() -> None:
        with told.tracer.start_as_current_span("of the program"):
            await Asking(MemoryConfig()).list_collections()

    asyncio.run(work())
    inner, call, outer = told.spans.get_finished_spans()
    assert (inner.name, call.name, outer.name) == ("of the client", "list_collections", "of the program")
    assert inner.parent.span_id == call.context.span_id
    assert call.parent.span_id == outer.context.span_id


def test_where_the_server_is(told: Any) -> None:
    backend = MemoryBackend(MemoryConfig())
    backend.config = SimpleNamespace(address="https://vectors.example.org:6333", timeout=1, retries=0)  # type: ignore[assignment]
    asyncio.run(backend.list_collections())
    [span] = told.spans.get_finished_spans()
    assert (span.attributes["server.address"], span.attributes["server.port"]) == ("vectors.example.org", 6333)


def test_an_interrupted_call_ends_its_span(told: Any) -> None:
    class Stuck(MemoryBackend):
        async def _names(self) -> list[str]:
            await asyncio.sleep(60)
            return []

    async def work() -> None:
        task = asyncio.create_task(Stuck(MemoryConfig()).list_collections())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(work())
    [span] = told.spans.get_finished_spans()
    assert span.attributes["error.type"] == "CancelledError"


def test_a_failed_and_a_slow_call_have_a_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "codeweaver_backends.calls")
    telemetry.enable(slow_call=3_600)
    try:
        asyncio.run(_work())
        [line] = caplog.records
        found = json.loads(line.getMessage())
        assert found.pop("duration") >= 0
        assert found == {
            "event": "call failed",
            "db.system.name": "memory",
            "db.operation.name": "search_vectors",
            "db.collection.name": "nowhere",
            "error.type": "CollectionNotFoundError",
        }
        caplog.clear()
        telemetry.enable(slow_call=0)
        asyncio.run(_work())
        events = [json.loads(record.getMessage())["event"] for record in caplog.records]
        assert events == ["slow call"] * 3 + ["call failed"]
        assert SECRET not in caplog.text
    finally:
        telemetry.disable()
    with pytest.raises(InvalidOptionError):
        telemetry.enable(slow_call=-1)
    assert telemetry.observer is None


@pytest.mark.parametrize(
    ("given", "slow_call"),
    [
        ({}, None),
        ({"CODEWEAVER_TELEMETRY": "on"}, 1.0),
        ({"CODEWEAVER_TELEMETRY": "1", "CODEWEAVER_SLOW_CALL": "2"}, 2.0),
    ],
)
def test_the_environment_enables_it(given: dict[str, str], slow_call: float | None) -> None:
    shown = "from codeweaver_backends import telemetry; print(telemetry.observer and telemetry.observer.slow_call)"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CODEWEAVER_")}
    done = subprocess.run(
        [sys.executable, "-c", shown], env={**clean, **given}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(slow_call)


def test_without_opentelemetry_there_is_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    telemetry.enable()
    try:
        asyncio.run(_work())
    finally:
        telemetry.disable()
    assert "CollectionNotFoundError" in caplog.text


def test_off_it_makes_nothing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(telemetry.Observed, "__init__", None)
    assert telemetry.observer is None
    asyncio.run(_work())
    assert caplog.text == ""
