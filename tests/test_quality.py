"""What is asked of rankings, and how their answers are measured."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest

from codeweaver_tools.quality import ALPHAS, OWN_TABLE, QUESTIONS, STRATEGIES, code_questions, definitions, measures
from codeweaver_tools.quality_page import figure, tables

SOURCE = '''
class HTTPServer:
    """Answer requests of many clients.

    Each of them has a thread, which ends together with the connection that it serves.
    """

    def serve_forever(self):
        """Answer until told to stop."""
        # the loop
        while self.open: pass

    def stop(self): "End."
'''


def test_definitions_have_their_source_without_any_docstring() -> None:
    server, serve, stop = definitions(SOURCE)
    assert [one.name for one in (server, serve, stop)] == ["HTTPServer", "serve_forever", "stop"]
    assert "Answer" not in server.source + serve.source
    assert "# the loop" in server.source
    assert "# the loop" in serve.source
    assert serve.docstring == "Answer until told to stop."
    assert stop.source == '    def stop(self): "End."'  # nothing would be left of it


def test_a_question_is_asked_where_it_has_one_answer() -> None:
    found = list(definitions(SOURCE))
    questions = code_questions(found)
    assert questions["docstring"].queries == [
        ("Answer requests of many clients.", 0),
        ("Answer until told to stop.", 1),
    ]
    assert questions["identifier"].queries == [("http server", 0), ("serve forever", 1)]
    [document] = questions["prose"].documents
    assert document.split()[:3] == ["Each", "of", "them"]
    assert questions["prose"].queries == [("Answer requests of many clients.", 0)]
    assert code_questions(found * 2)["docstring"].queries == []
    assert len(questions["docstring"].sample(1, 1).queries) == 1


def test_measures() -> None:
    first, third, late, lost = [7], [1, 2, 7], [*range(20, 30), 7], list[int]()
    assert measures([first, third, late, lost], [7] * 4) == {
        "mrr": pytest.approx((1 + 1 / 3) / 4),
        "ndcg": pytest.approx((1 + 1 / math.log2(4)) / 4),
        "recall": 0.5,
    }


def test_the_page_shows_what_was_measured() -> None:
    fusions = [f"{one.value} {alpha}{table}" for one in STRATEGIES for alpha in ALPHAS for table in ("", OWN_TABLE)]
    rows = [
        {"question": question, "ranking": ranking, "mrr": 0.25, "ndcg": 0.5, "recall": 0.75}
        for question in QUESTIONS
        for ranking in ("dense", "sparse", *fusions)
    ]
    rows += [{"question": question, "ranking": "other"} for question in QUESTIONS]
    sizes = dict.fromkeys(QUESTIONS, 10)
    told = {"python": "3", "model": "m", "versions": {"x": None, "y": "1"}, "documents": sizes, "queries": sizes}
    report = {"rows": rows, **told}
    text = "\n".join(tables(report))
    assert "| dense | .250 / .500 / .750 |" in text
    assert "| other | not measured |" in text
    assert text.count("| RRF | .250 | .250 |") == len(QUESTIONS) + 1
    drawn = ElementTree.fromstring(figure(report))  # noqa: S314 - our own
    lines = drawn.findall("{*}path[@stroke='#0072b2']")
    assert len(lines) == len(QUESTIONS)
