# SPDX-License-Identifier: Apache-2.0
"""What belongs to a machine as a whole: security modules, container daemons. These tests
change it, so they run in a guest (tests/kernels) and nowhere else."""
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "live"))

if "immure.guest" not in pathlib.Path("/proc/cmdline").read_text().split():
    pytest.exit("tests/guest change the machine that they run on: see tests/kernels", 4)


@pytest.fixture(scope="session")
def store():
    """What was fetched for this guest."""
    return pathlib.Path(os.environ["IMMURE_GUEST_STORE"])
