"""The report as a reader sees it, and what is chosen for a laptop, for CI and for a cluster.

The page is opened in a real browser. Where none is found, that is skipped as not verified.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="THE PAGE IS NOT TESTED: playwright is not installed")

pytestmark = pytest.mark.skipif(
    "CODEWEAVER_CHOOSE" not in os.environ, reason="NOT VERIFIED: four choices take minutes; set CODEWEAVER_CHOOSE=1"
)

ROOT = Path(__file__).parents[1]
REQUIREMENTS = ROOT / "docs" / "requirements"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def choose(folder: Path, name: str, *options: str) -> tuple[dict[str, Any], Path]:
    """The standard library, few of its definitions, on what is installed."""
    page = folder / f"{name}.html"
    command = [sys.executable, "-m", "codeweaver_backends.cli", "choose", "-r", str(REQUIREMENTS / f"{name}.toml")]
    command += ["--at-most", "400", "--certificates", str(ROOT / "docs/certificates"), "-o", str(page), "--json"]
    environment = {**os.environ, "HOME": str(folder)}
    done = subprocess.run(
        [*command, *options], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    told: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if told["ok"] else 1), done.stderr
    return told, page


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[dict[str, Any], Path]]:
    folder = tmp_path_factory.mktemp("choose")
    return {name: choose(folder, name) for name in ("laptop", "ci", "cluster", "nobody")}


def test_three_jobs_have_three_answers(reports: Any) -> None:
    best = {
        name: next(one for one in told["candidates"] if one["name"] == told["best"])
        for name, (told, _) in reports.items()
        if told["ok"]
    }
    assert best.keys() == {"laptop", "ci", "cluster"}
    assert len({one["name"] for one in best.values()}) == 3
    assert (best["laptop"]["is_persistent"], best["laptop"]["is_server"]) == (True, False)
    assert best["ci"]["name"] == "memory", "nothing is faster to fill, and nothing has to be kept"
    assert best["cluster"]["is_server"]
    told, _ = reports["cluster"]
    assert told["ranked"] == [best["cluster"]["name"]], "the only one with transactions"
    servers = [one for one in told["candidates"] if one["is_server"] and one["name"] not in told["ranked"]]
    assert all("supports_transactions" in " ".join(one["rejected"]) for one in servers)
    for told, _ in reports.values():
        assert all(one["rejected"] or one["missing"] or one["measured"] for one in told["candidates"])
        assert told["unverified"]


def test_what_nobody_can_do_is_said(reports: Any) -> None:
    told, page = reports["nobody"]
    assert (told["ok"], told["best"]) == (False, None)
    assert told["verdict"] == "None of the installed backends can do it."
    assert all(one["rejected"] for one in told["candidates"])
    assert told["verdict"] in page.read_text()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["laptop", "cluster", "nobody"])
def test_the_page_in_a_browser(reports: Any, name: str, width: int) -> None:
    found = os.environ.get("CODEWEAVER_TEST_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("NOT VERIFIED: no browser was found to open the report in (apt-get install chromium)")
    told, page = reports[name]
    messages, requests = [], []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": width, "height": 900})
        tab.on("console", lambda one: messages.append(one.text))
        tab.on("pageerror", lambda one: messages.append(str(one)))
        tab.on("request", lambda one: requests.append(one.url))
        tab.goto(page.as_uri())
        assert tab.inner_text("h1") == told["verdict"]
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, "nothing makes the page scroll sideways"
        headings = [one.inner_text() for one in tab.query_selector_all("h2")]
        assert headings[-2:] == ["What was not verified", "How to reproduce"]
        for heading in tab.query_selector_all("h1, h2, li, figure, svg"):
            box = heading.bounding_box()
            assert box is None or box["x"] + box["width"] <= width + 1
        if told["ok"]:
            assert len(tab.query_selector_all("svg")) == 3
            letters = tab.evaluate(
                "[...document.querySelectorAll('svg text')].map(one => one.getBoundingClientRect().height)"
            )
            assert min(letters) >= 9, "letters of the pictures can be read"
        if folder := os.environ.get("CODEWEAVER_SCREENSHOTS"):
            tab.screenshot(path=Path(folder, f"{name}-{width}.png"), full_page=True)
        browser.close()
    assert messages == []
    assert requests == [page.as_uri()]
