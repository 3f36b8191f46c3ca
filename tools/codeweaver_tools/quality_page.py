"""What ``quality`` measured, as the tables and the figure of the page on hybrid search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from codeweaver_tools.quality import ALPHAS, OWN_TABLE, QUESTIONS, STRATEGIES

__all__ = ["figure", "tables"]

_COLOURS: Final = dict(zip(STRATEGIES, ("#0072b2", "#009e73", "#d55e00", "#cc79a7"), strict=True))
_PANEL, _HEIGHT, _LEFT, _TOP, _GAP = 220, 200, 40, 34, 22
_STYLE: Final = "<style>text{font:11px sans-serif;fill:#555}path,line{fill:none;stroke-width:1.6}</style>"

Report = Mapping[str, Any]


def _found(report: Report) -> dict[tuple[str, str], Mapping[str, float]]:
    return {(row["question"], row["ranking"]): row for row in report["rows"]}


# --- tables ----------------------------------------------------------------------------------------------------------


def tables(report: Report) -> list[str]:
    """The single rankings with three measures each, then the fusions by MRR@10."""
    found = _found(report)
    fusions = {f"{one.value} {alpha}{table}" for one in STRATEGIES for alpha in ALPHAS for table in ("", OWN_TABLE)}
    single = [ranking for ranking in dict.fromkeys(row["ranking"] for row in report["rows"]) if ranking not in fusions]
    sizes = ", ".join(f"{one}: {report['queries'][one]} of {report['documents'][one]:,} documents" for one in QUESTIONS)
    versions = ", ".join(f"{name} {one}" for name, one in report["versions"].items() if one)
    lines = [
        f"MRR@10 / nDCG@10 / recall@10. Queries: {sizes}. Python {report['python']}, {report['model']}, {versions}.\n",
        *_table(["ranking", *QUESTIONS.values()], ([one, *_cells(found, one)] for one in single)),
        "",
        "Fused, MRR@10, by alpha:\n",
    ]
    for question, title in QUESTIONS.items():
        for table in ("", OWN_TABLE) if question == "prose" else ("",):
            rows = ([one.name, *_alphas(found, question, one.value, table)] for one in STRATEGIES)
            lines += [*_table([f"{title}{table}", *(f"{alpha:g}" for alpha in ALPHAS)], rows), ""]
    return lines


def _cells(found: Mapping[tuple[str, str], Mapping[str, float]], ranking: str) -> Iterator[str]:
    for question in QUESTIONS:
        row = found[question, ranking]
        measured = [_short(row[measure]) for measure in ("mrr", "ndcg", "recall") if measure in row]
        yield " / ".join(measured) or "not measured"


def _alphas(found: Mapping[tuple[str, str], Mapping[str, float]], question: str, name: str, table: str) -> list[str]:
    return [_short(found[question, f"{name} {alpha}{table}"]["mrr"]) for alpha in ALPHAS]


def _short(share: float) -> str:
    return f"{share:.3f}".removeprefix("0")


def _table(headings: list[str], rows: Any) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (headings, ["---"] * len(headings), *rows)]


# --- the figure ------------------------------------------------------------------------------------------------------


def figure(report: Report) -> str:
    """MRR@10 over alpha, a panel for each question, as SVG. At 0 is the sparse leg alone, at 1 the dense one."""
    found = _found(report)
    width = _LEFT + len(QUESTIONS) * (_PANEL + _GAP)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_TOP + _HEIGHT + 56}">', _STYLE]
    for number, (question, title) in enumerate(QUESTIONS.items()):
        left = _LEFT + number * (_PANEL + _GAP)
        ends = found[question, "sparse"]["mrr"], found[question, "dense"]["mrr"]
        lines = {
            one: [ends[0], *(found[question, f"{one.value} {alpha}"]["mrr"] for alpha in ALPHAS), ends[1]]
            for one in STRATEGIES
        }
        top = -(-max(max(line) for line in lines.values()) // 0.1) / 10  # the next tenth
        parts += _panel(left, title, top)
        for strategy, line in lines.items():
            points = zip((0.0, *ALPHAS, 1.0), line, strict=True)
            path = " ".join(f"{left + alpha * _PANEL:.0f},{_y(value, top):.1f}" for alpha, value in points)
            parts.append(f'<path d="M{path}" stroke="{_COLOURS[strategy]}"/>')
    for number, (strategy, colour) in enumerate(_COLOURS.items()):
        x, y = _LEFT + 90 * number, _TOP + _HEIGHT + 46
        parts.append(f'<line x1="{x}" y1="{y - 4}" x2="{x + 22}" y2="{y - 4}" stroke="{colour}"/>')
        parts.append(f'<text x="{x + 28}" y="{y}">{strategy.name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _panel(left: int, title: str, top: float) -> Iterator[str]:
    yield f'<text x="{left}" y="16">{title}</text>'
    for step in range(6):
        value, x = top * step / 5, left + _PANEL * step / 5
        y = _y(value, top)
        yield f'<path d="M{left},{y:.0f}h{_PANEL}" stroke="#ddd" style="stroke-width:.5"/>'
        yield f'<text x="{left - 4}" y="{y + 4:.0f}" text-anchor="end">{_short(value)[:3]}</text>'
        yield f'<text x="{x:.0f}" y="{_TOP + _HEIGHT + 16}" text-anchor="middle">{step / 5:g}</text>'
    yield f'<text x="{left + _PANEL / 2:.0f}" y="{_TOP + _HEIGHT + 30}" text-anchor="middle">alpha</text>'


def _y(value: float, top: float) -> float:
    return _TOP + _HEIGHT * (1 - value / top)
