# SPDX-License-Identifier: Apache-2.0
"""tests/EGRESS.md names no test that does not exist."""
import pathlib
import re

TESTS = pathlib.Path(__file__).resolve().parents[1]


def test_each_test_it_names_is_there():
    named = re.findall(r"`([a-z_0-9/]+\.(?:py|c))(?:::([a-z_0-9]+))?`", (TESTS / "EGRESS.md").read_text())
    assert len(named) > 80
    for file, name in named:
        path = TESTS / file if "/" in file else TESTS / "live" / file
        text = path.read_text()
        if not name:
            continue
        if file.endswith(".py"):
            assert f"\ndef {name}(" in text, f"{file}::{name}"
        else:
            assert re.search(rf"cmocka_unit_test(_\w+)?\({name}\b", text), f"{file}::{name}"
