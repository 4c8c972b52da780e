# SPDX-License-Identifier: Apache-2.0
"""What is peculiar to the backend that lets bubblewrap make the place."""

import os
import pathlib
import shutil

import pytest

import harness

pytestmark = pytest.mark.modes("bwrap")


def covered(pid, path):
    """Whether a process below it is in a place where something is mounted there."""
    try:
        tasks = list(pathlib.Path(f"/proc/{pid}/task").iterdir())
        below = [child for task in tasks for child in (task / "children").read_text().split()]
        mounts = pathlib.Path(f"/proc/{pid}/mountinfo").read_text()
    except OSError:  # it ended meanwhile
        return False
    return f" {path} " in mounts or any(covered(child, path) for child in below)


@pytest.mark.parametrize("kept", [[], ["--cleanup", "on-success"]], ids=["run", "session"])
def test_a_file_that_is_replaced_while_it_starts(site, kept):
    """By rename, as editors and package managers do: what covered the old one covers nothing
    then. It is started anew, and the new one is masked."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    secret = site.priv / "secret.txt"
    other = site.priv / "new"
    other.write_text("fresh secret\n")
    assert site.run("/bin/true").code == 0  # what works here is known from then on
    session = site.spawn("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=execve", "-e",
                         f"inject=execve:delay_enter={int(1000000 * min(harness.SLOWER, 4))}", site.immure, "run", "--backend",
                         "bwrap", *kept, "--deny", secret, "--", "/bin/sh", "-c",
                         f"cat {secret} ; echo ran")
    assert harness.until(lambda: covered(session.pid, secret), 30)
    os.rename(other, secret)
    out, err = session.communicate(timeout=60)
    assert session.returncode == 0 and out == b"ran\n" and b"ermission denied" in err, (out, err)
