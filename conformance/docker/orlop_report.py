"""A plugin of pytest: writes one line of JSON for each test into the file that ORLOP_REPORT names."""

import json
import os


def pytest_runtest_logreport(report):
    # The call says how a test ended; set-up and tear-down are told only when something is to be told.
    if report.when != "call" and report.passed:
        return
    cause = ""
    if report.skipped and isinstance(report.longrepr, tuple):
        cause = report.longrepr[2]
    elif report.skipped:
        # One that its authors expect to fail.
        cause = "expected to fail: " + getattr(report, "wasxfail", "")
    elif report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        cause = crash.message if crash else str(report.longrepr)
    line = {"test": report.nodeid, "when": report.when, "outcome": report.outcome, "cause": cause}
    with open(os.environ["ORLOP_REPORT"], "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
