"""Lines of the adapters and the core: all of them, and those of code (no blank, comment, docstring or import)."""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[1]


def code_lines(source: str) -> int:
    """Lines that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in (
            tokenize.COMMENT,
            tokenize.NL,
            tokenize.NEWLINE,
            tokenize.INDENT,
            tokenize.DEDENT,
            tokenize.ENDMARKER,
        ):
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_text or isinstance(node, ast.Import | ast.ImportFrom):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def main() -> None:
    """Print a row per distribution."""
    total = 0
    for folder in sorted(ROOT.glob("adapters/*/src/*")):
        sources = [file.read_text(encoding="utf-8") for file in folder.rglob("*.py")]
        lines, code = sum(len(one.splitlines()) for one in sources), sum(map(code_lines, sources))
        sys.stdout.write(f"{folder.name:24} {lines:6} lines {code:6} of code\n")
        total += 0 if folder.name == "codeweaver_backends" else lines
    sys.stdout.write(f"{'adapters together':24} {total:6} lines\n")


if __name__ == "__main__":
    main()
