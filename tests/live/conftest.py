# SPDX-License-Identifier: Apache-2.0
"""The lab for tests of egress: one for each module that asks for it."""

import os

import pytest

import harness
import netlab


@pytest.fixture(scope="module")
def lab(base, nothing_left):
    for program in ("ip", "openssl"):
        if not netlab.which(program):
            pytest.skip(f"{program} is not installed")
    with netlab.Lab(base / f"lab-{os.urandom(4).hex()}") as made:
        yield made


@pytest.fixture
def net(lab, base, mode, bin_dir, immure):
    """A site on the lab's host; what was seen before is forgotten."""
    path = base / f"site-{os.urandom(4).hex()}"
    site = lab.site(path, mode, bin_dir, immure)
    lab.forget()
    yield site
    harness.discard(path)


def service(name, package):
    @pytest.fixture(scope="module", name=name)
    def started(lab):
        if not getattr(lab, name)():
            pytest.skip(f"{package} is not installed")

    return started


redis = service("redis", "redis-tools")
postgres = service("postgres", "postgresql")
http2 = service("http2", "nodejs")
ssh = service("ssh", "dropbear-bin")


@pytest.fixture(params=[4, 6], ids=["v4", "v6"])
def family(request):
    return request.param
