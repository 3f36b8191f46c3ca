"""How well rankings find a known answer: dense, sparse, and the fusions of both, beside the text search of others.

    python -m codeweaver_tools.quality --report docs/performance/quality.json

Two corpora of the running interpreter's standard library. *Code* has the source of each function and class without
docstrings; it is asked by docstrings' first lines, and by the words of identifiers. *Prose* has docstrings without
their first line, and is asked by that. A query has one right answer; MRR@10, nDCG@10 and recall@10 tell where it came.

Both legs are searches of the memory backend, whose numbers are the contract's and so every engine's; the fusions are
made of them by the core. What is not installed is not measured, and said to be so.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import json
import math
import random
import re
import sys
import tempfile
import time
import tokenize
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from codeweaver_backends import create_backend
from codeweaver_backends.sdk.hybrid.fusion import Leg, fuse
from codeweaver_backends.sdk.hybrid.tokenizer import tokens
from codeweaver_backends.sdk.hybrid.vectors import SparseRow, SparseRows
from codeweaver_backends.types import HybridStrategy
from codeweaver_conformance.compare.corpus import python_files, stdlib_folder
from codeweaver_conformance.compare.embed import MODEL, StaticModel
from codeweaver_tools.count_terms import count

__all__ = [
    "ALPHAS",
    "OWN_TABLE",
    "QUESTIONS",
    "STRATEGIES",
    "Definition",
    "Question",
    "code_questions",
    "definitions",
    "main",
    "measures",
]

ALPHAS: Final = (0.1, 0.3, 0.5, 0.7, 0.9)
STRATEGIES: Final = tuple(HybridStrategy)
QUESTIONS: Final = {
    "docstring": "code, asked by a docstring's first line",
    "identifier": "code, asked by an identifier's words",
    "prose": "docstrings, asked by their first line",
}
OWN_TABLE: Final = ", own table"
LIMIT: Final = 10
_CANDIDATES: Final = 100
_TABLE_TERMS: Final = 2_000
_FEWEST_WORDS: Final = 8
"""Of a document of prose."""

Ranking: TypeAlias = Sequence[Any]
"""Rows of documents, best first."""
Ranker: TypeAlias = Callable[[str], Ranking]


# --- corpora ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Definition:
    """A function or a class."""

    name: str
    source: str
    """Without docstrings."""
    docstring: str


def definitions(source: str) -> Iterator[Definition]:
    """Every function and class of a module, however nested."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the code is not ours to warn about
        tree = ast.parse(source)
    lines = source.splitlines()
    nodes = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    told: set[int] = set()
    for node in nodes:
        if ast.get_docstring(node) is not None and node.body[0].lineno > node.lineno:
            told.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    for node in nodes:
        span = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        kept = [lines[line - 1] for line in span if line not in told]
        yield Definition(node.name, "\n".join(kept), ast.get_docstring(node) or "")


@dataclass(frozen=True, slots=True)
class Question:
    """Queries with the row of the document that answers each."""

    documents: Sequence[str]
    queries: Sequence[tuple[str, int]]

    def sample(self, size: int, seed: int) -> Question:
        """At most ``size`` queries."""
        some = random.Random(seed).sample(list(self.queries), min(size, len(self.queries)))  # noqa: S311
        return Question(self.documents, some)


def code_questions(found: Sequence[Definition]) -> dict[str, Question]:
    """The three questions that a library answers. A query that stands for several answers is not asked."""
    sources = [one.source for one in found]
    names = Counter(one.name for one in found)
    firsts = [one.docstring.partition("\n")[0].strip() for one in found]
    bodies = [one.docstring.partition("\n")[2] for one in found]
    prose = [row for row, body in enumerate(bodies) if len(body.split()) >= _FEWEST_WORDS]
    return {
        "docstring": Question(sources, _unique(list(enumerate(firsts)))),
        "identifier": Question(
            sources, _unique([(row, _spoken(one.name)) for row, one in enumerate(found) if names[one.name] == 1])
        ),
        "prose": Question(
            [bodies[row] for row in prose], _unique([(place, firsts[row]) for place, row in enumerate(prose)])
        ),
    }


def _spoken(name: str) -> str:
    """``HTTPServer`` and ``http_server`` → ``http server``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|_+", " ", name).lower().strip()


def _unique(asked: Sequence[tuple[int, str]]) -> list[tuple[str, int]]:
    """The queries of two words at least that stand for one row."""
    seen = Counter(query for _, query in asked)
    return [(query, row) for row, query in asked if seen[query] == 1 and len(re.findall(r"[^\W\d_]+", query)) > 1]


def read_library() -> list[Definition]:
    """The definitions of the standard library, its tests left out."""
    found: list[Definition] = []
    for file in python_files(stdlib_folder(), with_tests=False):
        try:
            with tokenize.open(file) as stream:
                found += definitions(stream.read())
        except (SyntaxError, ValueError):
            continue  # made to be refused by a parser
    return [Definition(*(_clean(text) for text in (one.name, one.source, one.docstring))) for one in found]


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


# --- measures --------------------------------------------------------------------------------------------------------


def measures(rankings: Sequence[Ranking], answers: Sequence[Any]) -> dict[str, float]:
    """MRR@10, nDCG@10 and recall@10 of rankings with one right answer each: nDCG is then 1 / log2(1 + rank)."""
    ranks = [
        list(ranking[:LIMIT]).index(answer) + 1 if answer in ranking[:LIMIT] else None
        for ranking, answer in zip(rankings, answers, strict=True)
    ]
    hits = [rank for rank in ranks if rank is not None]
    return {
        "mrr": sum(1 / rank for rank in hits) / len(ranks),
        "ndcg": sum(1 / math.log2(1 + rank) for rank in hits) / len(ranks),
        "recall": len(hits) / len(ranks),
    }


# --- ours ------------------------------------------------------------------------------------------------------------


async def own_rankings(question: Question, model: StaticModel) -> dict[str, list[Ranking]]:
    """Each leg alone, the fusions, and the sparse leg by a table that is counted over these very documents."""
    queries = [query for query, _ in question.queries]
    vectors = model.embed([text if text.strip() else "empty" for text in question.documents])
    asked = model.embed(queries)
    async with create_backend("memory") as backend:
        await backend.create_collection("docs", model.dimension)
        payloads = [{"text": text} for text in question.documents]
        await backend.upsert_batch("docs", list(range(len(payloads))), vectors, payloads)

        async def legs(alpha: float) -> list[Leg]:
            found = []
            for query, vector in zip(queries, asked.tolist(), strict=True):
                hits = await backend.hybrid_search(
                    "docs", vector, query, _CANDIDATES, HybridStrategy.LINEAR, alpha, with_payload=False
                )
                found.append(Leg([hit.id for hit in hits], np.array([hit.score for hit in hits], np.float64)))
            return found

        await backend.create_sparse_index("docs", ["text"], term_statistics=count(question.documents, _TABLE_TERMS))
        own_table = await legs(0.0)
        await backend.create_sparse_index("docs", ["text"])
        dense, sparse = await legs(1.0), await legs(0.0)
    rankings = {"dense": _ids(dense), "sparse": _ids(sparse), f"sparse{OWN_TABLE}": _ids(own_table)}
    for table, second in (("", sparse), (OWN_TABLE, own_table)):
        for strategy in STRATEGIES:
            for alpha in ALPHAS:
                fused = [fuse(*pair, strategy, alpha, LIMIT) for pair in zip(dense, second, strict=True)]
                rankings[f"{strategy.value} {alpha}{table}"] = _ids(fused)
    return rankings


def _ids(legs: Sequence[Leg]) -> list[Ranking]:
    return [list(leg.ids) for leg in legs]


# --- others ----------------------------------------------------------------------------------------------------------


def lancedb_text(documents: Sequence[str], folder: Path) -> Ranker:
    """LanceDB's full-text search, by its defaults."""
    import lancedb
    from lancedb.index import FTS
    from lancedb.query import MatchQuery

    rows = [{"row": row, "text": text} for row, text in enumerate(documents)]
    table = lancedb.connect(folder).create_table("docs", rows)
    table.create_index("text", config=FTS())

    def rank(query: str) -> Ranking:
        asked = MatchQuery(query, "text")  # type: ignore[call-arg] # a dataclass of pydantic, whose defaults are not seen
        found = table.search(asked, query_type="fts").select(["row", "_score"]).limit(LIMIT)
        return [one["row"] for one in found.to_list()]

    return rank


def qdrant_bm25(documents: Sequence[str], folder: Path) -> Ranker:
    """Qdrant's BM25, by the encoder of Edge, which is the server's, with the modifier IDF of a sparse vector."""
    from qdrant_edge import Bm25

    encoder = Bm25()
    rows = SparseRows.of(_row(encoder.embed_document(text)) for text in documents)
    frequency = Counter(rows.indices.tolist())

    def rank(query: str) -> Ranking:
        indices, _ = _row(encoder.embed_query(query))
        df = np.array([frequency[one] for one in indices.tolist()], np.float64)
        idf = np.log(1 + (len(documents) - df + 0.5) / (df + 0.5))
        return _best(rows.scores(SparseRow(indices, idf.astype(np.float32))))

    return rank


def _row(vector: Any) -> SparseRow:
    order = np.argsort(vector.indices)
    return SparseRow(np.array(vector.indices, np.uint32)[order], np.array(vector.values, np.float32)[order])


def _best(scores: np.ndarray) -> Ranking:
    order = np.argsort(-scores, kind="stable")[:LIMIT]
    return [row for row in order.tolist() if scores[row] > 0]


def _bm25s(tokenized: Sequence[Sequence[str]], tokenizer: Callable[[str], Sequence[str]]) -> Ranker:
    import bm25s

    index = bm25s.BM25()
    index.index(list(map(list, tokenized)), show_progress=False)

    def rank(query: str) -> Ranking:
        known = [term for term in tokenizer(query) if term in index.vocab_dict]
        return _best(index.get_scores(known)) if known else []

    return rank


def bm25s_itself(documents: Sequence[str], folder: Path) -> Ranker:
    """The library ``bm25s`` with its own tokenizer."""
    import bm25s

    def cut(texts: list[str]) -> list[list[str]]:
        found: list[list[str]] = bm25s.tokenize(texts, return_ids=False, show_progress=False)
        return found

    return _bm25s(cut(list(documents)), lambda query: cut([query])[0])


def bm25s_tokens(documents: Sequence[str], folder: Path) -> Ranker:
    """The library ``bm25s`` with the contract's tokenizer: exact idf, true average length."""
    return _bm25s(list(map(tokens, documents)), tokens)


_OTHERS: Final[dict[str, tuple[str, Callable[[Sequence[str], Path], Ranker]]]] = {
    "LanceDB full text": ("lancedb", lancedb_text),
    "Qdrant BM25": ("qdrant-edge-py", qdrant_bm25),
    "bm25s": ("bm25s", bm25s_itself),
    "bm25s, our tokens": ("bm25s", bm25s_tokens),
}
"""With the distribution that each needs."""


def other_rankings(question: Question) -> dict[str, list[Ranking] | None]:
    """The text search of others; ``None`` for what is not installed."""
    rankings: dict[str, list[Ranking] | None] = {}
    for name, (_, make) in _OTHERS.items():
        with tempfile.TemporaryDirectory(prefix="codeweaver-quality-") as folder:
            try:
                rank = make(question.documents, Path(folder))
            except ModuleNotFoundError:
                rankings[name] = None
            else:
                rankings[name] = [rank(query) for query, _ in question.queries]
    return rankings


# --- the command -----------------------------------------------------------------------------------------------------


def measure(questions: dict[str, Question], model: StaticModel) -> list[dict[str, Any]]:
    """A row for each question and ranking."""
    rows: list[dict[str, Any]] = []
    for name, question in questions.items():
        answers = [row for _, row in question.queries]
        rankings = {**asyncio.run(own_rankings(question, model)), **other_rankings(question)}
        for ranking, found in rankings.items():
            told = {} if found is None else {key: round(one, 4) for key, one in measures(found, answers).items()}
            rows.append({"question": name, "ranking": ranking, **told})
            sys.stdout.write(" ".join([f"{name:11} {ranking:26}", *(f"{one:.3f}" for one in told.values())]) + "\n")
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m codeweaver_tools.quality", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--report", type=Path, default=Path("reports/quality.json"))
    parser.add_argument("--queries", type=int, default=400, help="of each question")
    parser.add_argument("--definitions", type=int, default=10_000, help="of the library, evenly spread")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    started = time.process_time()
    library = read_library()
    size = min(given.definitions, len(library))
    library = [library[row * len(library) // size] for row in range(size)]
    questions = {name: one.sample(given.queries, given.seed) for name, one in code_questions(library).items()}
    rows = measure(questions, StaticModel.load())
    report = {
        "python": sys.version.split()[0],
        "model": MODEL,
        "documents": {name: len(one.documents) for name, one in questions.items()},
        "queries": {name: len(one.queries) for name, one in questions.items()},
        "cpu_seconds": round(time.process_time() - started),
        "versions": {name: _version(name) for name in dict.fromkeys(name for name, _ in _OTHERS.values())},
        "rows": rows,
    }
    given.report.parent.mkdir(parents=True, exist_ok=True)
    given.report.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
