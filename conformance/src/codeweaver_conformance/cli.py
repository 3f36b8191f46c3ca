"""What the kit adds to the console command ``codeweaver-backends``: ``compare`` and ``verify``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.text import Text

from codeweaver_conformance.certificate import Certificate
from codeweaver_conformance.compare.corpus import Corpus, python_files, read_corpus, stdlib_folder
from codeweaver_conformance.compare.embed import ModelMissingError, StaticModel
from codeweaver_conformance.compare.engines import UnknownEngineError, default_engines, parse_settings, resolve_engines
from codeweaver_conformance.compare.identifiers import spoken_names
from codeweaver_conformance.compare.measure import measure
from codeweaver_conformance.compare.report import Report
from codeweaver_conformance.compare.workload import QUERIES, Identifiers, Workload
from codeweaver_conformance.verify import NotRepeatedError, contradictions, differences, other_versions, repeat

__all__ = ["app", "compare", "verify"]

app = typer.Typer(
    help="Compare engines on real source code, and verify certificates.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # locals may hold secrets
)
"""The two by themselves. The command finds each by the entry points of ``codeweaver.commands``."""


@app.command()
def compare(
    targets: Annotated[
        list[str] | None,
        typer.Argument(help="Targets or plugins; default: every installed engine that needs no server."),
    ] = None,
    source: Annotated[
        Path | None, typer.Option(help="A folder of Python code; default: the running interpreter's standard library.")
    ] = None,
    limit_chunks: Annotated[int | None, typer.Option(min=1, help="At most so many definitions, evenly chosen.")] = None,
    query: Annotated[list[str] | None, typer.Option("--query", "-q", help="Search for this; may be repeated.")] = None,
    queries: Annotated[Path | None, typer.Option(help="A text file with one query per line.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME.KEY=VALUE", help="A setting of an engine; may be repeated."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Keep the data of embedded engines in this folder; default: a temporary one.")
    ] = None,
    certificates: Annotated[Path, typer.Option(help="Where the kit's certificates are.")] = Path(
        "reports/certificates"
    ),
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON; - is stdout.")
    ] = None,
    svg_file: Annotated[Path | None, typer.Option("--svg", metavar="FILE", hidden=True)] = None,
) -> None:
    """Search real source code on every engine, and hold their answers, speed and size side by side.

    Exit status 1 if an engine failed or its answers are not the exact ones; 2 for a mistake in what was asked for.
    """
    # A picture has a width of its own; a terminal and a pipe have theirs.
    to_stdout = json_file == Path("-")
    console = Console(record=True, width=100) if svg_file else Console(stderr=to_stdout)
    try:
        named, left_out = (targets, {}) if targets else default_engines()
        engines = resolve_engines(named, parse_settings(settings or []))
        texts = _queries(query, queries)
        model = StaticModel.load()
        with _progress() as progress:
            corpus = _corpus(source, limit_chunks, progress)
            progress.begin("embedding", len(corpus.chunks))
            vectors = model.embed([chunk.text for chunk in corpus.chunks], progress.advance)
            named = spoken_names(corpus.chunks)
            identifiers = Identifiers(list(named), model.embed(list(named)), list(named.values())) if named else None
            workload = Workload(corpus.chunks, vectors, texts, model.embed(texts), identifiers)
            measurements = [measure(engine, workload, data, progress) for engine in engines]
    except (UnknownEngineError, ModelMissingError, _MistakeError) as error:
        Console(stderr=True).print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True)
        raise typer.Exit(2) from None
    report = Report(corpus, workload, measurements, certificates)
    if json_file:
        text = json.dumps(report.as_json(), indent=2, ensure_ascii=False) + "\n"
        if to_stdout:
            sys.stdout.write(text)
        else:
            _parent(json_file).write_text(text, encoding="utf-8")
    for name, reason in left_out.items():
        console.print(Text(f"{name} is left out: {reason}", "dim"))
    report.show(console)
    if svg_file:
        console.save_svg(str(_parent(svg_file)), title="codeweaver-backends compare")
    if not report.ok:
        raise typer.Exit(1)


@app.command()
def verify(
    certificate_file: Annotated[Path, typer.Argument(metavar="CERTIFICATE", help="A certificate of the kit, as JSON.")],
    run: Annotated[bool, typer.Option(help="Run the suite again, or only look whether it agrees with itself.")] = True,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting of the backend; may be repeated.")
    ] = None,
    waivers: Annotated[Path | None, typer.Option(help="The waivers it was made with.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")] = False,
) -> None:
    """Repeat what a certificate claims, on the engine that is found here, and tell what comes out otherwise.

    Exit status 0 if all comes out the same, 1 if not, 2 if it cannot be read, 3 if no engine was found to repeat it on.
    """
    console = Console(stderr=as_json)
    outcome: dict[str, Any] = {"ok": False, "certificate": str(certificate_file), "repeated": False, "differences": []}

    def end(status: int) -> None:
        if as_json:
            sys.stdout.write(json.dumps({**outcome, "ok": status == 0}, indent=2, ensure_ascii=False) + "\n")
        raise typer.Exit(status)

    try:
        certificate = Certificate.model_validate_json(certificate_file.read_text(encoding="utf-8"), strict=True)
    except (OSError, ValueError) as error:
        Console(stderr=True).print(Text.assemble(("error: ", "bold red"), f"no certificate: {error}"), soft_wrap=True)
        return end(2)
    outcome |= {"target": certificate.environment.target, "verdict": certificate.verdict}
    wrong = list(contradictions(certificate))
    if run and not wrong:
        options = [f"--cw-set={one}" for one in settings or []]
        options += [f"--cw-waivers={waivers}"] if waivers else []
        try:
            again = repeat(certificate, options)
        except NotRepeatedError as error:
            console.print(Text(f"the suite did not get to an end\n{error}", "red"), soft_wrap=True)
            return end(1)
        if again.environment.missing:
            console.print(Text(f"NOT VERIFIED: {again.environment.missing}", "bold red"), soft_wrap=True)
            outcome["missing"] = again.environment.missing
            return end(3)
        wrong = list(differences(certificate, again))
        outcome |= {"repeated": True, "other_versions": list(other_versions(certificate, again))}
        for line in outcome["other_versions"]:
            console.print(Text(f"another version: {line}", "yellow"), soft_wrap=True)
    outcome["differences"] = wrong
    for line in wrong:
        console.print(Text(line, "red"), soft_wrap=True)
    name = f"{certificate.environment.target}: {certificate.verdict}, {certificate.created[:10]}"
    if wrong:
        console.print(Text(f"{name}: not confirmed", "bold red"), soft_wrap=True)
        return end(1)
    console.print(
        Text(f"{name}: {'confirmed' if run else 'agrees with itself; not run again'}", "bold green"), soft_wrap=True
    )
    return end(0)


class _MistakeError(Exception):
    """What was asked for cannot be done."""


class _Progress:
    """A progress bar per stretch of work, the finished ones kept in sight until all is done."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task: Any = None

    def begin(self, what: str, total: int) -> None:
        """Open the next bar."""
        self.finish()
        self._task = self._bars.add_task(what, total=total)

    def advance(self, steps: int = 1) -> None:
        """Move it on."""
        self._bars.advance(self._task, steps)

    def finish(self) -> None:
        """Take the bar away: what is done needs no room."""
        if self._task is not None:
            self._bars.remove_task(self._task)


@contextmanager
def _progress() -> Iterator[_Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _Progress(bars)


def _corpus(source: Path | None, limit: int | None, progress: _Progress) -> Corpus:
    folder = source or stdlib_folder()
    if not folder.is_dir():
        raise _MistakeError(f"there is no folder {str(folder)!r}")
    # The standard library's own tests would be most of it; a folder that somebody names is taken as it is.
    files = python_files(folder, with_tests=source is not None)
    progress.begin("reading source code", len(files))
    corpus = read_corpus(folder, files, progress.advance)
    if not corpus.chunks:
        raise _MistakeError(f"no function or class is defined in the Python files of {str(folder)!r}")
    return corpus.sample(limit)


def _queries(given: list[str] | None, file: Path | None) -> list[str]:
    texts = list(given or [])
    if file is not None:
        try:
            texts += file.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise _MistakeError(f"the queries cannot be read: {error}") from None
    chosen = list(dict.fromkeys(text.strip() for text in texts if text.strip()))
    if not chosen and (given or file):
        raise _MistakeError("the queries are empty")
    return chosen or list(QUERIES)


def _parent(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    return file
