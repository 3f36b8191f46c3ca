"""Capabilities, plugin and configuration: what a backend says of itself, and whether it is so."""

from __future__ import annotations

import itertools
from typing import Any

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import BackendError, InvalidInputError, UnsupportedError
from codeweaver_backends.protocols import PROFILES, VectorBackend, has_method, implements
from codeweaver_backends.types import (
    BaseComponentInfo,
    ComponentType,
    DistanceMetric,
    FilterCondition,
    SearchFilter,
    ValidationResult,
    VectorPoint,
)
from codeweaver_conformance import oracle
from codeweaver_conformance.clause import clause
from codeweaver_conformance.session import Conformance, point
from codeweaver_conformance.suite.calls import A, B, profile_calls


@clause("capabilities.typed")
async def test_capabilities_are_of_the_type(cw: Conformance) -> None:
    """Check what the plugin states."""
    stated = cw.subject.registration.capabilities
    cw.true(isinstance(stated, BackendCapabilities), "BackendCapabilities", type(stated).__name__)


@clause("capabilities.typed")
async def test_an_instance_claims_no_more_than_its_plugin(cw: Conformance) -> None:
    """Check the claims of a connected instance, where it makes any."""
    stated = cw.subject.registration.capabilities
    get = getattr(cw.backend.wrapped, "get_capabilities", None)
    if get is None:
        cw.not_applicable("an instance has no get_capabilities()")
    actual = await get()
    cw.true(isinstance(actual, BackendCapabilities), "BackendCapabilities of the instance", type(actual).__name__)
    claims = [name for name in type(actual).model_fields if name.startswith("supports_")]
    more = [name for name in claims if getattr(actual, name) and not getattr(stated, name)]
    cw.equal(more, [], "claimed by the instance and not by its plugin")


@clause("capabilities.honest")
async def test_claims_have_methods(cw: Conformance) -> None:
    """Check for methods inherited from a protocol, or missing, behind a claim."""
    for profile in PROFILES.values():
        if getattr(cw.capabilities, profile.claim):
            missing = [method for method in profile.methods if not has_method(cw.backend.wrapped, method)]
            cw.equal(missing, [], f"{profile.claim} is claimed, and these methods are missing or the protocol's own")
    metrics = cw.metrics
    cw.true(metrics and all(isinstance(one, DistanceMetric) for one in metrics), "a list of DistanceMetric", metrics)
    for metric in metrics:
        name = await cw.collection([point(A, [1, 0])], metric=metric)
        cw.equal(await cw.ids(name), {A}, f"{metric.name} is claimed")


@clause("capabilities.honest")
async def test_the_largest_dimension_is_taken(cw: Conformance) -> None:
    """Check max_vector_dimension against the engine, with a vector of that size."""
    size = cw.capabilities.max_vector_dimension
    name = await cw.collection(dimension=size)
    vector = [1.0] * (size - 1) + [2.0]
    await cw.backend.upsert_vectors(name, [point(A, vector)])
    [hit] = await cw.backend.search_vectors(name, vector)
    cw.true(hit.id == A and abs(hit.score - 1) < 1e-5, "the point, with score 1", hit)


@clause("capabilities.honest")
async def test_payload_indexes_do_not_change_answers(cw: Conformance) -> None:
    """Check each claimed type: a declared field is filtered as an undeclared one is."""
    if not cw.capabilities.supports_payload_indexes:
        cw.not_applicable("supports_payload_indexes")
    values: dict[str, list[Any]] = {
        "keyword": ["a", "b", "A", ""],
        "integer": [1, 2, -5, 2**53 + 1],
        "float": [1.5, -2.25, 0.1, 1e300],
        "bool": [True, False, True, False],
        "datetime": [
            "2024-05-01T12:00:00Z",
            "2024-05-01T14:00:00.5+02:00",
            "2024-05-01T12:00:00.4",
            "2024-05-02",
        ],
    }
    kinds = [kind for kind in cw.capabilities.payload_index_types if kind in values]
    cw.true(kinds, "payload_index_types named: supports_payload_indexes is claimed", kinds)
    declared = {f"f_{kind}": kind for kind in kinds} | {"deep.field": kinds[0]}
    points = [point(n, [1, n], {f"f_{kind}": values[kind][n] for kind in kinds}) for n in range(4)]
    points += [point(4, [1, 4], {"other": 1}), point(5, [1, 5], {f"f_{kind}": None for kind in kinds})]
    name = await cw.collection(points, payload_indexes=declared)
    info = await cw.backend.get_collection_info(name)
    cw.equal(info.payload_indexes, declared, "get_collection_info tells the declared fields")
    for kind in kinds:
        field, value = f"f_{kind}", values[kind][1]
        expected = {n for n in range(4) if values[kind][n] == value and type(values[kind][n]) is type(value)}
        cw.equal(
            await cw.ids(name, SearchFilter(must=[FilterCondition(field, "eq", value)])), expected, f"eq on {kind}"
        )
        cw.equal(
            await cw.ids(name, SearchFilter(must=[FilterCondition(field, "ne", value)])),
            set(range(6)) - expected,
            f"ne on {kind}",
        )
        cw.equal(await cw.ids(name, SearchFilter(must=[FilterCondition(field, "is_null")])), {5}, f"is_null on {kind}")
        if kind in ("integer", "float"):
            above = {n for n in range(4) if values[kind][n] > value}
            cw.equal(
                await cw.ids(name, SearchFilter(must=[FilterCondition(field, "gt", value)])), above, f"gt on {kind}"
            )
        if kind == "datetime" and cw.claims("supports_datetime_ranges"):
            for order, operand in itertools.product(("gt", "ge", "lt", "le"), (*values[kind], "2024-05-01")):
                one = SearchFilter(must=[FilterCondition(field, order, operand)])
                cw.equal(await cw.ids(name, one), set(oracle.selected(points, one)), f"{order} {operand}")


def _filtered(cw: Conformance, name: str, condition: FilterCondition) -> dict[str, Any]:
    """Every claimed call that takes a filter."""
    one = SearchFilter(must=[condition])
    calls: dict[str, Any] = {"search": lambda: cw.ids(name, one)}
    if cw.claims("supports_scan"):
        calls["count"] = lambda: cw.backend.count_vectors(name, one)
        calls["scroll"] = lambda: cw.backend.scroll_vectors(name, search_filter=one)
        calls["delete by filter"] = lambda: cw.backend.delete_by_filter(name, one)
    if cw.claims("supports_hybrid_search"):
        calls["hybrid search"] = lambda: cw.backend.hybrid_search(name, [1, 0], {"term": 1.0}, search_filter=one)
    return calls


@clause("capabilities.unclaimed")
async def test_what_is_not_claimed_is_refused_or_absent(cw: Conformance) -> None:
    """Check operators, options and sparse vectors."""
    capabilities = cw.capabilities
    name = await cw.collection([point(A, [1, 0], {"t": "text"})])
    refused: list[tuple[str, Any]] = []
    operators = {
        "supports_regex": FilterCondition("t", "regex", "t"),
        "supports_contains": FilterCondition("t", "contains", "t"),
        "supports_datetime_ranges": FilterCondition("t", "gt", "2024-01-01T00:00:00Z"),
    }
    for claim, condition in operators.items():
        if not getattr(capabilities, claim):
            refused += [(f"{claim}, in a {call}", made) for call, made in _filtered(cw, name, condition).items()]
    if not capabilities.supports_payload_indexes:
        refused.append(
            (
                "supports_payload_indexes",
                lambda: cw.backend.create_collection(cw.new_name(), 2, payload_indexes={"a": "keyword"}),
            )
        )
    if not capabilities.supports_hybrid_search:
        sparse = VectorPoint(B, [1, 0], {}, {"term": 1.0})
        refused.append(("supports_hybrid_search", lambda: cw.backend.upsert_vectors(name, [sparse])))
    for claim, call in refused:
        with cw.raises(UnsupportedError, InvalidInputError, why=f"{claim} is not claimed"):
            await call()
    await cw.unchanged(name, {A: {"t": "text"}})


@clause("capabilities.unclaimed")
async def test_calls_of_an_unclaimed_profile_are_absent_or_refused(cw: Conformance) -> None:
    """Check each method for one that works, that fails in another way, or that is refused when it has been done."""
    name = await cw.collection([point(A, [1, 0], {"t": "text"})])
    unclaimed = [profile for profile in PROFILES.values() if not getattr(cw.capabilities, profile.claim)]
    if not unclaimed:
        cw.not_applicable("every profile is claimed")
    for profile in unclaimed:
        for method in profile.methods:
            if has_method(cw.backend.wrapped, method):
                with cw.raises(UnsupportedError, why=f"{method} is there, and {profile.claim} is not claimed"):
                    await profile_calls(cw.backend, name)[method]()
    await cw.unchanged(name, {A: {"t": "text"}})


@clause("capabilities.base")
async def test_the_base_cannot_be_denied(cw: Conformance) -> None:
    """Check that filters and cosine are claimed: without them there is no base profile."""
    cw.true(cw.capabilities.supports_filtering, "supports_filtering", False)
    cw.true(DistanceMetric.COSINE in cw.metrics, "COSINE among the metrics", cw.metrics)


# --- plugin ----------------------------------------------------------------------------------------------------------


@clause("plugin.surface")
async def test_the_plugin_says_what_it_is(cw: Conformance) -> None:
    """Check the types of everything a host asks a plugin."""
    plugin = cw.subject.plugin
    if plugin is None:
        cw.not_verified("the backend was registered without a plugin class")
    cw.true(isinstance(plugin.get_plugin_name(), str) and plugin.get_plugin_name(), "a name", plugin.get_plugin_name())
    cw.equal(plugin.get_component_type().name, ComponentType.BACKEND.name)
    cw.true(
        isinstance(plugin.get_component_info(), BaseComponentInfo), "BaseComponentInfo", plugin.get_component_info()
    )
    dependencies = plugin.get_dependencies()
    cw.true(
        isinstance(dependencies, list) and all(isinstance(one, str) for one in dependencies),
        "a list of names",
        dependencies,
    )
    cw.true(isinstance(plugin.get_backend_class(), type), "a class", plugin.get_backend_class())


@clause("plugin.protocol")
async def test_the_backend_implements_the_protocol(cw: Conformance) -> None:
    """Check for methods that are merely the protocol's own."""
    cw.true(isinstance(cw.backend.wrapped, VectorBackend), "every method of VectorBackend", type(cw.backend.wrapped))
    cw.true(implements(cw.backend.wrapped, VectorBackend), "every method of VectorBackend its own", "inherited ones")


@clause("plugin.stable-name")
async def test_names_agree(cw: Conformance) -> None:
    """Check that what a host lists is what it creates."""
    registration, plugin = cw.subject.registration, cw.subject.plugin
    if plugin is not None:
        cw.equal(plugin.get_plugin_name(), registration.name)
        cw.true(
            isinstance(cw.backend.wrapped, plugin.get_backend_class()),
            "an instance of the plugin's class",
            type(cw.backend.wrapped),
        )
    cw.equal(registration.info.name, registration.name, "component info")
    cw.equal(registration.info.component_type.name, ComponentType.BACKEND.name)


# --- config ----------------------------------------------------------------------------------------------------------


@clause("config.validate")
async def test_configurations_are_judged(cw: Conformance) -> None:
    """Check the configuration in use, and one with a wrong value."""
    plugin, config_class = cw.subject.plugin, cw.subject.registration.config_class
    if plugin is None:
        cw.not_verified("the backend was registered without a plugin class")
    assert config_class is not None, "the clause is denied without one"
    result = plugin.validate_config(config_class(**cw.subject.settings))
    cw.true(isinstance(result, ValidationResult), "a ValidationResult", result)
    cw.true(result.is_valid and not result.errors, "the configuration in use is valid", result)
    fields = config_class.model_fields
    setting = "timeout" if "timeout" in fields else next(iter(fields))
    with cw.raises(BackendError, ValueError, why=f"{setting!r} of the wrong type"):
        cw.subject.create(**{setting: object()})
    try:
        wrong = plugin.validate_config({**cw.subject.settings, setting: object()})
    except Exception:  # noqa: BLE001, S110 - one that takes objects only: its model has refused the wrong value above
        pass
    else:
        cw.true(not wrong.is_valid and wrong.errors, f"an error that {setting!r} is of the wrong type", wrong)
