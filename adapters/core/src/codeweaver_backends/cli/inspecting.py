"""``list``, ``info`` and ``check``."""

from __future__ import annotations

import asyncio
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.checking import CheckReport, check_backend, versions_of
from codeweaver_backends.cli.output import (
    FAILED,
    UNREACHABLE,
    AsJSON,
    ConfigFile,
    flat,
    print_json,
    print_table,
    say,
    say_warning,
    telling,
)
from codeweaver_backends.deployments import Deployment, get_deployment, list_deployments, open_deployment
from codeweaver_backends.errors import BackendError, InvalidOptionError, PluginError
from codeweaver_backends.factory import CodeWeaverFactory
from codeweaver_backends.plugins import find_plugins
from codeweaver_backends.sources import nearest, secret_fields

__all__ = ["check", "info", "list_", "open_quietly", "warn_of"]

_CLAIMS = {
    "supports_scan": "scan",
    "supports_columnar": "columnar",
    "supports_hybrid_search": "hybrid",
    "supports_streaming": "streaming",
    "supports_transactions": "transactions",
}
"""Claim → the profile it stands for."""


def warn_of(deployment: Deployment) -> None:
    """Say what is not wise about it."""
    for text in deployment.warnings:
        say_warning(text)


def open_quietly(where: str, config: Path | None) -> Any:
    """A backend, without warnings that ``warn_of`` has given already."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return open_deployment(where, config)


def list_(config: ConfigFile = None, as_json: AsJSON = False) -> None:
    """Show the deployments, and the backends that are installed. Nothing is connected to."""
    with telling(as_json):
        deployments = [_listed_deployment(name, config) for name in list_deployments(config)]
        default = None
        with suppress(BackendError):
            default = get_deployment(None, config).name
        backends = [_listed_backend(name) for name in sorted(find_plugins())]
        if as_json:
            print_json({"ok": True, "default": default, "deployments": deployments, "backends": backends})
            return
        if deployments:
            rows = [
                [
                    one["name"] + (" (default)" if one["name"] == default else ""),
                    one["backend"],
                    one["where"] or one["error"],
                ]
                for one in deployments
            ]
            print_table(
                ["deployment", "backend", "where"], rows, ["red" if one["error"] else "" for one in deployments]
            )
            say("")
        rows = [
            [
                one["name"],
                ", ".join(one["profiles"]),
                ", ".join(one["metrics"]),
                f"≤ {one['max_dimension']:,}",
                one["from"],
            ]
            for one in backends
            if not one["error"]
        ]
        print_table(["backend", "profiles", "metrics", "dimension", "from"], rows)
        for one in backends:
            if one["error"]:
                say(one["error"], "red")


def _listed_deployment(name: str, config: Path | None) -> dict[str, Any]:
    try:
        deployment = get_deployment(name, config)
    except BackendError as error:
        return {"name": name, "backend": "", "where": "", "error": error.message}
    shown = deployment.shown
    where = next((str(shown[key]) for key in ("url", "host", "path") if shown.get(key)), "the engine's default")
    return {"name": name, "backend": deployment.backend, "where": where, "error": ""}


def _listed_backend(name: str) -> dict[str, Any]:
    entry = find_plugins()[name]
    listed: dict[str, Any] = {
        "name": name,
        "from": entry.distribution,
        "profiles": [],
        "metrics": [],
        "max_dimension": None,
    }
    try:
        claims = entry.load().get_capabilities()
    except PluginError as error:
        return {**listed, "error": error.message}
    except Exception as error:  # noqa: BLE001 - another's broken plugin takes nothing else away
        return {**listed, "error": f"the plugin {name!r} is broken: {type(error).__name__}: {error}"}
    if not isinstance(claims, BackendCapabilities):
        return {**listed, "error": f"the plugin {name!r} states no capabilities of a vector backend"}
    return {
        **listed,
        "profiles": ["vector", *(profile for claim, profile in _CLAIMS.items() if getattr(claims, claim))],
        "metrics": [metric.value for metric in claims.supported_distance_metrics],
        "max_dimension": claims.max_vector_dimension,
        "error": "",
    }


def info(
    name: Annotated[str, typer.Argument(help="A deployment, or an installed backend.")],
    config: ConfigFile = None,
    as_json: AsJSON = False,
) -> None:
    """Tell what a deployment or a backend is: versions, claims, limits, settings. Nothing is connected to."""
    with telling(as_json):
        known = [*list_deployments(config), *find_plugins()]
        if name not in known and ":" not in name:
            raise InvalidOptionError(
                f"no deployment and no installed backend is named {name!r}; known are: {', '.join(known)}"
                f"{nearest(name, known) or ' (each engine has an adapter of its own, such as codeweaver-lancedb)'}"
            )
        deployment = None if name in find_plugins() else get_deployment(name, config)
        backend = deployment.backend if deployment else name
        registration = CodeWeaverFactory().get_registration(backend)
        claims = registration.capabilities
        told: dict[str, Any] = {
            "ok": True,
            "backend": backend,
            "description": registration.info.description,
            "versions": versions_of(backend),
            "claims": claims.model_dump(mode="json", exclude={"limits"}),
            "limits": claims.limits.model_dump(mode="json") if isinstance(claims, BackendCapabilities) else {},
            "settings": _settings(registration.config_class),
        }
        if deployment:
            secret = dict.fromkeys(sorted(deployment.secrets), "***")
            told["deployment"] = {
                "name": deployment.name,
                "settings": {**deployment.shown, **secret},
                "sources": dict(deployment.sources),
            }
            warn_of(deployment)
        if as_json:
            print_json(told)
            return
        say(f"{name}: {told['description']}", "bold")
        if deployment:
            say("")
            rows = [
                [key, flat(value), deployment.sources.get(key, "")]
                for key, value in told["deployment"]["settings"].items()
            ]
            print_table(["set", "value", "by"], [["backend", backend, deployment.sources.get("backend", "")], *rows])
        for title in ("versions", "claims", "limits"):
            say("")
            print_table([title, ""], [[key, _word(value)] for key, value in told[title].items()])
        say("")
        rows = [[one["name"], _word(one["default"]), one["description"]] for one in told["settings"]]
        print_table(["setting", "default", "meaning"], rows)


def _settings(config_class: Any) -> list[dict[str, Any]]:
    secret = secret_fields(config_class)
    return [
        {
            "name": name,
            "default": None if field.is_required() or field.default_factory else field.default,
            "is_required": field.is_required(),
            "is_secret": name in secret,
            "description": (field.description or "") + (" (a secret)" if name in secret else ""),
        }
        for name, field in (config_class.model_fields if config_class else {}).items()
    ]


def _word(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else "" if value is None else flat(value)


def check(
    deployment: Annotated[
        str | None, typer.Argument(help="A deployment, or backend:key=value,…; the default deployment if absent.")
    ] = None,
    config: ConfigFile = None,
    as_json: AsJSON = False,
) -> None:
    """Try a deployment: connect, create, write, read, search, delete, in a collection of its own.

    Exit status 0 if all went well, 1 if something did not, 3 if it could not be reached.
    """
    with telling(as_json, "interrupted; the check's own collection was removed"):
        found = get_deployment(deployment or None, config)
        warn_of(found)
        report = asyncio.run(_check(deployment or found.name, config))
        if as_json:
            print_json({**report.as_json(), "deployment": found.name})
        else:
            _show(found.name, report)
    if not report.ok:
        raise typer.Exit(FAILED if report.is_reachable else UNREACHABLE)


async def _check(where: str, config: Path | None) -> CheckReport:
    async with open_quietly(where, config) as backend:
        return await check_backend(backend)


def _show(name: str, report: CheckReport) -> None:
    say(name if name.startswith(f"{report.backend}:") else f"{name}: {report.backend}", "bold")
    colours = {"ok": "", "warning": "yellow", "error": "red", "not tried": "dim"}
    rows = [[step.name, step.outcome, step.detail] for step in report.steps]
    print_table(["step", "outcome", "detail"], rows, [colours[step.outcome] for step in report.steps])
    say("")
    say(", ".join(f"{package} {version}" for package, version in report.versions.items()), "dim")
