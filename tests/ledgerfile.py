# SPDX-License-Identifier: Apache-2.0
"""What is in a ledger (ledger.py), for programs that have no pytest: what runs the suites
asks for none."""
import json

PASSED, SKIPPED, FAILED, BEGUN = "passed", "skipped", "failed", "begun"


def read(path):
    """{test: its last line}, and {suite: the tests that were to be run of it when it was begun last}."""
    tests, selected = {}, {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # the guest was ended while it wrote this
        if "test" in entry:
            tests[entry["test"]] = entry
        else:
            selected[entry["suite"]] = entry["selected"]
    return tests, selected
