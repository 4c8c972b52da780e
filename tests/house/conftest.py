# SPDX-License-Identifier: Apache-2.0
"""Where the built programs are, and one way to start them."""
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def build():
    path = pathlib.Path(os.environ.get("IMMURE_BUILD", ROOT / "build"))
    assert (path / "immure").exists(), "nothing is built in %s: run make" % path
    return path


@pytest.fixture(scope="session", params=["immure", "immure-full"])
def program(request, build):
    """The launcher and the full program: they must not be told apart."""
    return build / request.param


@pytest.fixture(scope="session")
def full(build):
    return build / "immure-full"


class Ran:
    def __init__(self, done):
        self.status = done.returncode
        self.out = done.stdout.decode(errors="surrogateescape")
        self.err = done.stderr.decode(errors="surrogateescape")

    def __repr__(self):
        return "status %d\nout: %s\nerr: %s" % (self.status, self.out, self.err)


@pytest.fixture(scope="session")
def run():
    def start(*argv, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("timeout", 120)
        return Ran(subprocess.run([os.fspath(a) for a in argv], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, check=False, **options))
    return start
