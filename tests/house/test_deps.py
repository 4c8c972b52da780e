# SPDX-License-Identifier: Apache-2.0
"""What installs packages: it asks for all that the tests use, once, and gets on without
what is not to be had. The apt-get is one of ours."""
import pathlib
import re
import shutil

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tools/deps.sh"
# Of packages that are always there, or that the build wants in any case.
ALWAYS = {"python3", "bash", "perl", "getent", "make", "gcc", "pytest", "nsenter"}
OTHER_NAMES = {"java": "javac", "keytool": "javac", "nodejs": "node", "dropbear-bin": "dropbear", "postgresql": "psql",
               "redis-tools": "redis-cli", "bubblewrap": "bwrap", "pip": "python3-pip"}

APT = """#!/bin/bash
echo "$*" >>"$LOG"
case "$*" in *update*) [ -z "$NO_NETWORK" ]; exit;; esac
for word; do
	[ "$word" = "$MISSING" ] && exit 100
done
[ -z "$NO_NETWORK" ]
"""


@pytest.fixture
def deps(run, tmp_path):
    """Runs the script where there is next to nothing, with an apt-get that only takes note."""
    path = tmp_path / "bin"
    path.mkdir()
    for name in ("bash", "id", "env"):
        (path / name).symlink_to(shutil.which(name))
    (path / "apt-get").write_text(APT)
    # Whoever runs this is no matter: as root it is called directly, else by sudo.
    (path / "sudo").write_text('#!/bin/bash\nexec "$@"\n')
    for name in ("apt-get", "sudo"):
        (path / name).chmod(0o755)
    log = tmp_path / "log"

    def start(*argv, **env):
        log.write_text("")
        r = run(path / "bash", SCRIPT, *argv, env={"PATH": str(path), "LOG": str(log), "CI": "true", **env})
        return r, [re.sub(r".*(install|update)", r"\1", re.sub(r"-o \S+ ?|--force\S+", "", line)).split()
                   for line in log.read_text().splitlines()]
    return start


def wanted():
    found = set()
    for path in (ROOT / "tests").rglob("*.py"):
        if path.parent.name == "bench" or path.name == "test_deps.py":
            continue
        text = path.read_text()
        found |= set(re.findall(r'"([\w.+-]+) is not (?:installed|there)"', text))
        for words in re.findall(r'\b(?:need|which)\(((?:"[\w.+-]+"(?:, )?)+)[,)]', text):
            found |= set(re.findall(r'"([\w.+-]+)"', words))
    return found


def test_every_program_of_the_tests_has_a_package():
    text = SCRIPT.read_text()
    known = {name for how in (r"command -v ([\w.+-]+)", r"test -x /s?bin/([\w.+-]+)", r"need ([\w.+-]+) '")
             for name in re.findall(how, text)}
    names = {OTHER_NAMES.get(name, name) for name in wanted()} - ALWAYS
    assert {"strace", "groff", "tmux", "sqlite3", "go"} <= names
    # Of these the last is in no package of Debian's, and systemd is of a guest that is run on demand.
    assert sorted(names - known - {"dropbearkey", "ssh-keygen", "redis-server", "redis-check-rdb", "systemd", "zig"}) == []


def test_one_call(deps):
    r, calls = deps()
    assert r.status == 0 and "installed" in r.out, r
    assert [c[0] for c in calls] == ["update", "install"]
    assert {"gcc", "meson", "strace", "chromium", "qemu-system-x86"} <= set(calls[1])


def test_what_is_not_to_be_had_keeps_out_nothing_else(deps):
    r, calls = deps(MISSING="chromium")
    assert r.status == 0 and "skipped: chromium" in r.err, r
    assert len(calls[1]) > 30 and ["install", "gcc"] in calls and ["install", "strace"] in calls


def test_what_the_build_wants_must_be_had(deps):
    r, _ = deps(MISSING="meson")
    assert r.status == 1 and "nothing can be built without them: meson" in r.err, r


def test_no_network(deps):
    r, calls = deps(NO_NETWORK="1")
    assert [c[0] for c in calls] == ["update", "install"], "each waits for a registry that does not answer"
    assert r.status == 1 and "is there a network?" in r.err and "installed 0 of" in r.err, r


def test_the_build_alone(deps):
    r, calls = deps("--build")
    assert r.status == 0 and not {"strace", "chromium", "mypy"} & set(calls[-1]), calls
    r, calls = deps("--check")
    assert r.status == 1 and not calls and "missing to build: gcc" in r.err, r


def test_nothing_is_installed_unasked(deps):
    r, calls = deps(NO_INSTALL="1")
    assert r.status == 1 and not calls and "NO_INSTALL" in r.out, r
