"""Print the sum of the JUnit reports in a folder: ``N passed, N failed, N skipped``."""

import sys
from pathlib import Path
from xml.etree import ElementTree

total = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
for report in Path(sys.argv[1]).glob("*.xml"):
    for suite in ElementTree.parse(report).getroot().iter("testsuite"):  # noqa: S314 - pytest has just written it
        for kind in total:
            total[kind] += int(suite.get(kind, 0))
failed = total["failures"] + total["errors"]
print(f"{total['tests'] - failed - total['skipped']} passed, {failed} failed, {total['skipped']} skipped")  # noqa: T201
