"""The corpus: a folder's functions, methods and classes, found with ``ast``, or the paragraphs of its texts."""

from __future__ import annotations

import ast
import os
import re
import sysconfig
import tokenize
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

__all__ = ["Chunk", "Corpus", "python_files", "read_corpus", "stdlib_folder", "text_files", "words"]

Definition: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

_ALWAYS_SKIPPED: Final = frozenset({"__pycache__", "site-packages", "dist-packages", "node_modules"})
_TESTS: Final = frozenset({"test", "tests", "idle_test"})
_SUMMARY_LENGTH: Final = 400
_TEXTS: Final = (".md", ".rst", ".txt")
_PARAGRAPH: Final = 1_000
"""Characters of a text after which a chunk ends with its paragraph."""
_LETTER: Final = re.compile(r"[^\W_]")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NOT_A_WORD = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Chunk:
    """One definition, or a few paragraphs. All but ``summary`` is its payload."""

    path: str
    """Relative to the corpus's folder, with ``/``."""
    module: str
    name: str
    """Qualified: ``Class.method``."""
    kind: str
    """``class``, ``function``, ``method`` or ``text``."""
    line: int
    lines: int
    has_doc: bool
    tags: tuple[str, ...]
    """``async``, ``private``, ``dunder`` and the names of its decorators; of a text its file's ending."""
    summary: str
    """The first paragraph of its docstring, or nothing; of a text all of it."""

    @property
    def id(self) -> str:
        """Where it stands: no two definitions start on one line of one file."""
        return f"{self.path}:{self.line}"

    @property
    def text(self) -> str:
        """What is embedded: its names as words, and what it says of itself."""
        return f"{words(self.module)} {words(self.name)} {self.summary}"

    @property
    def payload(self) -> dict[str, Any]:
        """What is stored beside the vector."""
        payload = asdict(self)
        del payload["summary"]
        return {**payload, "tags": list(self.tags)}


@dataclass(frozen=True, slots=True)
class Corpus:
    """What was read."""

    folder: Path
    chunks: list[Chunk]
    files: int
    unreadable: int
    """Files that this Python cannot parse; they are left out."""


def stdlib_folder() -> Path:
    """The standard library of the running interpreter."""
    return Path(sysconfig.get_path("stdlib"))


def python_files(folder: Path, *, with_tests: bool = True) -> list[Path]:
    """The Python files below a folder, in a fixed order, without caches, environments and installed packages."""
    return _files(folder, (".py",), _ALWAYS_SKIPPED if with_tests else _ALWAYS_SKIPPED | _TESTS)


def text_files(folder: Path) -> list[Path]:
    """The texts (Markdown, reStructuredText, plain) below a folder, as ``python_files`` finds its own."""
    return _files(folder, _TEXTS, _ALWAYS_SKIPPED)


def _files(folder: Path, endings: tuple[str, ...], skipped: frozenset[str]) -> list[Path]:
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if name not in skipped and not name.startswith(".") and not Path(parent, name, "pyvenv.cfg").exists()
        )
        found += [Path(parent, name) for name in sorted(files) if name.endswith(endings)]
    return found


def read_corpus(folder: Path, files: Sequence[Path], tick: Callable[[], object] = lambda: None) -> Corpus:
    """Cut the files into chunks, in the order given. ``tick`` is called after each file."""
    chunks: list[Chunk] = []
    unreadable = 0
    for file in files:
        try:
            cut = _chunks_of if file.suffix == ".py" else _paragraphs_of
            chunks += cut(file, _encodable(file.relative_to(folder).as_posix()))
        except (SyntaxError, ValueError, RecursionError, OSError):  # ValueError: undecodable text, null bytes
            unreadable += 1
        tick()
    return Corpus(folder, chunks, len(files) - unreadable, unreadable)


def _chunks_of(file: Path, path: str) -> list[Chunk]:
    with tokenize.open(file) as stream:
        source = stream.read()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the code is not ours to warn about
        tree = ast.parse(source)
    module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return [_chunk(node, path, module, parents) for node, parents in _definitions(tree.body, ())]


def _paragraphs_of(file: Path, path: str) -> list[Chunk]:
    """A text in pieces of whole paragraphs; a piece without a letter says nothing and is left out."""
    chunks: list[Chunk] = []
    heading, piece, start = Path(path).stem, list[str](), 1
    lines = [*file.read_text(encoding="utf-8").splitlines(), ""]
    for number, line in enumerate(lines, 1):
        if line.startswith("#"):
            heading = line.lstrip("#").strip() or heading
        piece.append(line)
        is_end = not line.strip() and sum(map(len, piece)) >= _PARAGRAPH
        if is_end or number == len(lines):
            text = _encodable(" ".join(" ".join(piece).split()))
            if _LETTER.search(text):
                name, tags = _encodable(heading)[:80], (file.suffix[1:],)
                chunks.append(Chunk(path, path, name, "text", start, len(piece), False, tags, text))
            piece, start = [], number + 1
    return chunks


def _definitions(
    body: Sequence[ast.AST], parents: tuple[Definition, ...]
) -> Iterator[tuple[Definition, tuple[Definition, ...]]]:
    """Every definition in a list of statements, with those around it. Expressions hold none and are not entered."""
    for node in body:
        inner = parents
        if isinstance(node, Definition):
            yield node, parents
            inner = (*parents, node)
        for block in ("body", "orelse", "handlers", "finalbody", "cases"):
            nested = getattr(node, block, ())
            if isinstance(nested, list):
                yield from _definitions(nested, inner)


def _chunk(node: Definition, path: str, module: str, parents: tuple[Definition, ...]) -> Chunk:
    if isinstance(node, ast.ClassDef):
        kind = "class"
    else:
        kind = "method" if parents and isinstance(parents[-1], ast.ClassDef) else "function"
    documentation = ast.get_docstring(node) or ""
    return Chunk(
        path=path,
        module=module,
        name=".".join(definition.name for definition in (*parents, node)),
        kind=kind,
        line=node.lineno,
        lines=(node.end_lineno or node.lineno) - node.lineno + 1,
        has_doc=bool(documentation),
        tags=tuple(_tags(node)),
        summary=_encodable(" ".join(documentation.partition("\n\n")[0].split())[:_SUMMARY_LENGTH]),
    )


def _tags(node: Definition) -> Iterator[str]:
    if isinstance(node, ast.AsyncFunctionDef):
        yield "async"
    if node.name.startswith("__") and node.name.endswith("__"):
        yield "dunder"
    elif node.name.startswith("_"):
        yield "private"
    decorators = (item.func if isinstance(item, ast.Call) else item for item in node.decorator_list)
    names = (ast.unparse(item).rpartition(".")[2] for item in decorators if isinstance(item, ast.Name | ast.Attribute))
    yield from dict.fromkeys(names)


def words(name: str) -> str:
    """``email.MIMEText._new_message`` → ``email MIMEText new message``."""
    return _NOT_A_WORD.sub(" ", _HUMP.sub(" ", name)).strip()


def _encodable(text: str) -> str:
    """The text without lone surrogates, which neither tokenizers nor engines take."""
    return text.encode("utf-8", "replace").decode()
