# SPDX-License-Identifier: Apache-2.0
"""What came of each test, kept as it ends: a line of JSON in the file that
IMMURE_TEST_LEDGER names. Suites that take hours are run in sittings: a test with an
answer there is not run again, one that failed is, and whatever was running when a
sitting ended comes last, so that a test that hangs keeps none of the others from
their turn. The first case of every function comes before all others, then its first
of each kind of caller: one sitting has seen something of everything."""
import json
import os
import pathlib

import pytest

from ledgerfile import BEGUN, FAILED, PASSED, SKIPPED, read


class Ledger:
    def __init__(self, path):
        self.path, self.reports = pathlib.Path(path), []
        if self.path.exists() and not self.path.read_bytes().endswith(b"\n"):
            with open(self.path, "a", encoding="utf-8") as file:
                file.write("\n")  # what was cut off takes nothing with it

    def write(self, **entry):
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config, items):
        tests, _ = read(self.path)
        for suite in {item.nodeid.split("/")[0] for item in items}:
            self.write(suite=suite, selected=[item.nodeid for item in items if item.nodeid.startswith(suite + "/")])
        came = {item: tests.get(item.nodeid, {"came": None})["came"] for item in items}
        done = [item for item in items if came[item] in (PASSED, SKIPPED)]
        turns, seen = {}, set()
        for item in items:
            function = item.nodeid.split("[")[0]
            kind = function, str(getattr(item, "callspec", None) and item.callspec.params.get("mode"))
            first = 0 if function not in seen else 1 if kind not in seen else 2
            seen |= {function, kind}
            turns[item] = {None: first, FAILED: 3, BEGUN: 4}.get(came[item])
        items[:] = sorted((item for item in items if turns[item] is not None), key=turns.get)
        config.hook.pytest_deselected(items=done)

    def pytest_runtest_logstart(self, nodeid):
        self.reports = []
        self.write(test=nodeid, came=BEGUN)

    def pytest_runtest_logreport(self, report):
        self.reports.append(report)

    def pytest_runtest_logfinish(self, nodeid):
        bad = next((r for r in self.reports if r.failed), None)
        skip = next((r for r in self.reports if r.skipped), None)
        entry = {"test": nodeid, "seconds": round(sum(r.duration for r in self.reports), 2)}
        if bad:
            crash = getattr(bad.longrepr, "reprcrash", None)
            text = crash.message if crash else str(bad.longrepr)
            entry.update(came=FAILED, why=" ".join(text.split())[:600])
        elif skip:
            why = skip.longrepr[2] if isinstance(skip.longrepr, tuple) else str(skip.longrepr)
            entry.update(came=SKIPPED, why=getattr(skip, "wasxfail", why).removeprefix("Skipped: "))
        else:
            entry.update(came=PASSED)
        self.write(**entry)


def pytest_configure(config):
    if os.environ.get("IMMURE_TEST_LEDGER"):
        config.pluginmanager.register(Ledger(os.environ["IMMURE_TEST_LEDGER"]), "immure-ledger")
