# SPDX-License-Identifier: Apache-2.0
"""libimmure in a host program: tests/house/library.c, linked both ways."""
import os
import re

import pytest

CASES = re.findall(r'\{ "(\w+)", case_', (
    __import__("pathlib").Path(__file__).parent / "library.c").read_text())


@pytest.fixture(scope="module", params=["shared", "static"])
def host(request, root, build, run, tmp_path_factory):
    path = tmp_path_factory.mktemp("library") / request.param
    lib = build / "src/lib"
    argv = ["cc", "-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-g", "-o", path,
            root / "tests/house/library.c", "-I%s" % (root / "include")]
    if request.param == "shared":
        argv += ["-L%s" % lib, "-Wl,-rpath,%s" % lib, "-limmure"]
    else:
        argv += [lib / "libimmure.a", "-ljansson"]
    if b"asan" in (build / "build.ninja").read_bytes() or "asan" in build.name:
        argv += ["-fsanitize=address,undefined"]
    r = run(*argv)
    assert r.status == 0, r
    return path


def test_there_are_cases():
    assert len(CASES) >= 10


@pytest.mark.parametrize("case", CASES)
def test_case(host, build, run, tmp_path, case):
    os.chmod(tmp_path, 0o755)
    r = run(host, build / "immure", build / "immure-attack", tmp_path, case)
    assert (r.status, r.out, r.err) == (0, "", "")
