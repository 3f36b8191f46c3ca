"""Count a table of term statistics from a folder of code or text, for ``create_sparse_index(term_statistics=…)``.

    python tools/codeweaver_tools/count_terms.py FOLDER --split functions --terms 2000 > table.json

The table has the form ``{"documents": N, "other": df, "counts": {term: df}}`` and keeps the most frequent terms.
``other``, for the terms that are left out, is the number of documents whose idf they have on average.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from codeweaver_backends.sdk.hybrid.tokenizer import tokens
from codeweaver_backends.sdk.hybrid.weights import MAX_STATISTICS_TERMS, TermStatistics


def documents(folder: Path, suffixes: frozenset[str], split: str) -> Iterator[str]:
    """The documents of a folder's files: their Python functions and classes, their paragraphs, or the files."""
    for file in sorted(folder.rglob("*")):
        if not file.is_file() or file.suffix not in suffixes:
            continue
        text = file.read_text(encoding="utf-8", errors="replace")
        if split == "functions":
            yield from functions(text)
        elif split == "paragraphs":
            yield from filter(str.strip, re.split(r"\n\s*\n", text))
        else:
            yield text


def functions(source: str) -> Iterator[str]:
    """The source of each function and class; none of a file that is no Python."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    lines = source.splitlines()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield "\n".join(lines[node.lineno - 1 : node.end_lineno])


def count(texts: Iterable[str], terms: int) -> dict[str, Any]:
    """The table of the ``terms`` most frequent terms, equal ones in alphabetical order."""
    total, counts = 0, Counter[str]()
    for text in texts:
        counts.update(set(tokens(text)))
        total += 1
    if not total:
        raise SystemExit("no document was found")
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    kept, rest = dict(ordered[:terms]), [df for _, df in ordered[terms:]]
    # A term that is asked for is met in proportion to its documents: the mean of log df over those.
    other = round(math.exp(sum(df * math.log(df) for df in rest) / sum(rest))) if rest else 0
    return TermStatistics(total, kept, other).as_dict()


def main() -> None:
    """Write the table to standard output."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--split", choices=("functions", "files", "paragraphs"), default="files")
    parser.add_argument("--suffix", action="append", help="files to read, repeatable; .py if none is given")
    parser.add_argument("--terms", type=int, default=2_000, help=f"terms to keep, 1 to {MAX_STATISTICS_TERMS}")
    given = parser.parse_args()
    if not 1 <= given.terms <= MAX_STATISTICS_TERMS:
        parser.error(f"--terms must be 1 to {MAX_STATISTICS_TERMS}")
    table = count(documents(given.folder, frozenset(given.suffix or (".py",)), given.split), given.terms)
    json.dump(table, sys.stdout, ensure_ascii=False, indent=0)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
