"""What calls tell of themselves: OpenTelemetry spans and metrics, and a line in the log for a slow or failed one.

It is off until ``enable`` is called, or ``CODEWEAVER_TELEMETRY=on`` stands in the environment (then with
``CODEWEAVER_SLOW_CALL``, in seconds; 1 if unset). The API of OpenTelemetry is used and no more (the extra
``telemetry``): where spans go is the program's to say, and without an SDK, or without the package, there are none.

Names follow the semantic conventions of databases. A span is named ``search_vectors docs``, of the kind CLIENT, and is
the current one while the call runs, so that those of an engine's client stand below it. The metric is
``db.client.operation.duration``. Both have ``db.system.name`` (the backend's name), ``db.operation.name``,
``db.collection.name``, ``server.address`` and ``server.port`` where there is a server, and ``error.type``, the class of
the error; a span has the number of points that were given or came back, too.

The log line is a JSON object with the same names, on the logger ``codeweaver_backends.calls``. Payloads, vectors,
filters, ids, secrets and messages of errors are told nowhere: what a message says may be somebody's data.
"""

from __future__ import annotations

import contextvars
import json
import logging
import os
import time
from collections.abc import Sized
from typing import Any, Final
from urllib.parse import urlsplit

from codeweaver_backends.errors import InvalidOptionError

__all__ = ["Observer", "disable", "enable", "observer"]

SLOW_CALL: Final = 1.0
"""Seconds from which on a call is slow, unless somebody says otherwise."""
_SCHEMA: Final = "https://opentelemetry.io/schemas/1.33.0"
_NAME: Final = "codeweaver_backends"
_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
"""Of the histogram, as the conventions ask for."""
_LOGGER: Final = logging.getLogger("codeweaver_backends.calls")

observer: Observer | None = None
"""Who is told of calls. ``None``, as it is by default, costs each call one look at this name."""


def enable(*, slow_call: float = SLOW_CALL, tracer_provider: Any = None, meter_provider: Any = None) -> None:
    """Tell of every call from now on; a call of at least ``slow_call`` seconds is logged.

    The providers are OpenTelemetry's; without them its global ones are used. Raises ``InvalidOptionError`` for a
    ``slow_call`` that is no number of seconds.
    """
    global observer  # noqa: PLW0603 - one for the process, as OpenTelemetry's own
    if not slow_call >= 0:
        raise InvalidOptionError("slow_call must be seconds, 0 or more")
    observer = Observer(slow_call, tracer_provider, meter_provider)


def disable() -> None:
    """Tell nothing any more."""
    global observer  # noqa: PLW0603 - as above
    observer = None


class Observer:
    """Makes spans, metrics and log lines of calls."""

    def __init__(self, slow_call: float, tracer_provider: Any, meter_provider: Any) -> None:
        self.slow_call = slow_call
        self.tracer: Any = None
        self.duration: Any = None
        try:
            from opentelemetry import metrics, trace
        except ModuleNotFoundError:  # then there is the log
            return
        self.trace = trace
        self.tracer = trace.get_tracer(_NAME, tracer_provider=tracer_provider, schema_url=_SCHEMA)
        self.duration = metrics.get_meter(_NAME, meter_provider=meter_provider, schema_url=_SCHEMA).create_histogram(
            "db.client.operation.duration",
            unit="s",
            description="Duration of database client operations.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )

    def begin(self, backend: Any, operation: str, collection: str | None, given: object) -> Observed:
        """A call begins; ``end`` of what is returned must be called when it is over."""
        return Observed(self, backend, operation.lstrip("_"), collection, given)


class Observed:
    """One call that is under way."""

    __slots__ = ("_attributes", "_observer", "_span", "_started", "_token")

    def __init__(self, observer: Observer, backend: Any, operation: str, collection: str | None, given: object) -> None:
        self._observer = observer
        self._attributes: dict[str, Any] = {"db.system.name": backend.name, "db.operation.name": operation}
        if collection is not None:
            self._attributes["db.collection.name"] = collection
        self._attributes.update(_address(backend.config))
        self._span: Any = None
        self._token: contextvars.Token[Any] | None = None
        if observer.tracer is not None:
            from opentelemetry import context

            name = f"{operation} {collection}" if collection is not None else operation
            self._span = observer.tracer.start_span(
                name, kind=observer.trace.SpanKind.CLIENT, attributes=self._attributes
            )
            self._token = context.attach(observer.trace.set_span_in_context(self._span))
            if isinstance(given, Sized) and not isinstance(given, str | bytes):
                self._span.set_attribute("db.operation.batch.size", len(given))
        self._started = time.perf_counter()

    def end(self, answer: object, error: BaseException | None) -> None:
        """It is over: with an answer, or with the error that the caller is told."""
        seconds = time.perf_counter() - self._started
        if error is not None:
            self._attributes["error.type"] = type(error).__name__
        if self._span is not None:
            self._close_span(answer, error)
            self._observer.duration.record(seconds, self._attributes)
        if error is not None or seconds >= self._observer.slow_call:
            event = "call failed" if error is not None else "slow call"
            _LOGGER.warning(json.dumps({"event": event, "duration": round(seconds, 6), **self._attributes}))

    def _close_span(self, answer: object, error: BaseException | None) -> None:
        from opentelemetry import context

        trace = self._observer.trace
        if isinstance(answer, list):
            self._span.set_attribute("db.response.returned_rows", len(answer))
        if error is not None:
            self._span.set_attribute("error.type", type(error).__name__)
            self._span.set_status(trace.Status(trace.StatusCode.ERROR))
        self._span.end()
        if self._token is not None:
            context.detach(self._token)


def _address(config: Any) -> dict[str, Any]:
    """Where the server is, of a configuration that says it."""
    try:
        parts = urlsplit(str(config.address))
        host, port = parts.hostname, parts.port
    except (AttributeError, ValueError):
        return {}
    if not host or getattr(config, "path", None):
        return {}
    return {"server.address": host, **({"server.port": port} if port else {})}


def _from_environment() -> None:
    """Enable it where the environment says so."""
    if os.environ.get("CODEWEAVER_TELEMETRY", "").lower() not in ("1", "on", "true", "yes"):
        return
    given = os.environ.get("CODEWEAVER_SLOW_CALL", "")
    try:
        enable(slow_call=float(given) if given else SLOW_CALL)
    except ValueError:
        raise InvalidOptionError("CODEWEAVER_SLOW_CALL must be seconds, 0 or more") from None


_from_environment()
