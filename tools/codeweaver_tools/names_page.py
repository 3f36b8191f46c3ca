"""What an application imports, as tables that can be read without a site: names, signatures, first sentences.

The modules are those that the page lists for the site's own reference, in that order.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

__all__ = ["lists"]

_MODULE: Final = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)


def lists(page: Path) -> list[str]:
    """The lines: per module its sentence, then an item for each public name, and for each method of a class."""
    lines: list[str] = []
    for name in _MODULE.findall(page.read_text(encoding="utf-8")):
        module = importlib.import_module(name)
        lines += [f"**`{name}`**: {_sentence(module)}", ""]
        lines += [line for public in module.__all__ for line in _items(public, getattr(module, public))]
        lines.append("")
    return lines[:-1]


def _items(name: str, value: Any) -> Iterator[str]:
    if inspect.isroutine(value):
        yield _item(f"{name}{_signature(value)}", value)
    elif inspect.isclass(value):
        yield _item(f"{name}{_fields(value)}", value)
        if not issubclass(value, BaseException):
            for method, function in vars(value).items():
                is_method = inspect.isfunction(function) or isinstance(function, classmethod | staticmethod)
                if not method.startswith("_") and is_method and function.__doc__ and not _is_anothers(function, value):
                    yield f"    {_item(f'{method}{_signature(function)}', function)}"
    else:
        yield f"- `{name}`"


def _is_anothers(function: Any, kind: type) -> bool:
    """Whether it wraps the method of another class, which is listed there."""
    wrapped = getattr(function, "__wrapped__", None)
    return wrapped is not None and wrapped.__qualname__.partition(".")[0] != kind.__name__


def _item(code: str, value: Any) -> str:
    return f"- `{code}`: {_sentence(value)}" if value.__doc__ else f"- `{code}`"


def _sentence(value: Any) -> str:
    """The first paragraph of the documentation, on one line."""
    text = " ".join((inspect.getdoc(value) or "").partition("\n\n")[0].split())
    return text.replace("``", "`").rstrip(":")


def _signature(function: Any) -> str:
    """Parameters with defaults, and what is returned; types of parameters are the reference's business."""
    try:
        signature = inspect.signature(inspect.unwrap(getattr(function, "__func__", function)))
    except ValueError:
        return "(…)"
    parameters = [
        one.replace(annotation=one.empty, default=_shown(one.default))
        for one in signature.parameters.values()
        if one.name not in ("self", "cls")
    ]
    text = str(inspect.Signature(parameters))
    returned = signature.return_annotation
    told = returned if isinstance(returned, str) else getattr(returned, "__name__", str(returned))
    return f"{text} → {told}" if returned is not inspect.Signature.empty and told not in ("None", "NoneType") else text


class _Shown(str):
    """A text that stands for itself in a signature."""

    __slots__ = ()
    __repr__ = str.__str__


def _shown(default: Any) -> Any:
    if isinstance(default, enum.Enum):
        return _Shown(f"{type(default).__name__}.{default.name}")
    return _Shown("…") if callable(default) and default is not inspect.Parameter.empty else default


def _fields(kind: type) -> str:
    """The fields of a record, the members of an enumeration."""
    if dataclasses.is_dataclass(kind):
        names = [one.name for one in dataclasses.fields(kind) if one.init and not one.name.startswith("_")]
    elif issubclass(kind, BaseModel):
        names = list(kind.model_fields)
    elif issubclass(kind, enum.Enum):
        names = [one.name for one in kind]
    else:
        return ""
    return f"({', '.join(names)})"
