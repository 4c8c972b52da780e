# SPDX-License-Identifier: Apache-2.0
"""tests/layers.py finds nothing here, and finds what is planted."""
import sys

import pytest


def layers(run, root, tree):
    return run(sys.executable, root / "tests/layers.py", tree)


def plant(tree, path, text):
    where = tree / path
    where.parent.mkdir(parents=True, exist_ok=True)
    where.write_text(text)


@pytest.fixture
def tree(tmp_path):
    for i in range(12):
        plant(tmp_path, "src/base/f%d.c" % i, '#include "base/f.h"\n#include <stdio.h>\n')
    plant(tmp_path, "include/immure/immure.h", "#include <stdint.h>\n")
    return tmp_path


def test_this_tree(run, root):
    r = layers(run, root, root)
    assert (r.status, r.out) == (0, "")


def test_clean_tree(run, root, tree):
    plant(tree, "src/plan/a.c", '#include "policy/policy.h"\n#include "immure/immure.h"\n')
    plant(tree, "src/cli/a.c", '#include "cli/cli.h"\n#include "base/buf.h"\n')
    plant(tree, "src/base/json.c", "#include <jansson.h>\n")
    plant(tree, "src/evidence/attack/attack.h", "")
    plant(tree, "src/evidence/attack/a.c", '#include "attack.h"\n')
    assert layers(run, root, tree).out == ""


@pytest.mark.parametrize("path, text, said", [
    ("src/base/x.c", '#include "kernel/mount.h"', "kernel lies above base"),
    ("src/policy/x.h", '  #  include "plan/plan.h"', "plan lies above policy"),
    ("src/cli/x.c", '#include "session/supervise.h"', "public header and base only"),
    ("src/plan/x.c", '#include "plan.h"', "name the layer"),
    ("src/plan/x.c", '#include "other/x.h"', "no such layer"),
    ("src/policy/x.c", "#include <jansson.h>", "belongs to base/json.c alone"),
    ("src/cli/x.c", "#include <jansson.h>", "belongs to base/json.c alone"),
    ("src/misc/x.c", "", "not in a known layer"),
    ("include/immure/immure.h", "#include <sys/types.h>", "immure.h"),
    ("include/immure/immure.h", '#include "base/buf.h"', "immure.h"),
])
def test_planted(run, root, tree, path, text, said):
    plant(tree, path, text + "\n")
    r = layers(run, root, tree)
    assert r.status == 1
    assert len(r.out.splitlines()) == 1
    assert said in r.out


def test_empty_tree_is_not_clean(run, root, tmp_path):
    plant(tmp_path, "include/immure/immure.h", "")
    assert "source files found" in layers(run, root, tmp_path).out
