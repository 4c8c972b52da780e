# SPDX-License-Identifier: Apache-2.0
"""Ubuntu 24.04's kernel with its own AppArmor: user namespaces are restricted by the
real thing, with the profile that Ubuntu loads and without it, and given back by the
profile that docs/BACKENDS.md tells to install."""
import json
import pathlib
import re
import subprocess

import pytest

import harness
from test_doctor import ask, backend, fact

SWITCH = pathlib.Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
SECURITY = pathlib.Path("/sys/kernel/security")
BARE = ["--downgrade", harness.BARE_GAPS]
NAMESPACED = ("userns_mount", "mount_api", "userns_proc", "netns", "namespaces", "egress", "bwrap")

pytestmark = pytest.mark.modes("user")


@pytest.fixture(scope="module")
def parser(store):
    """Ubuntu's apparmor_parser, on the libraries that it was made for."""
    subprocess.run(["mount", "-t", "securityfs", "securityfs", SECURITY], check=True)
    libraries = store / "usr/lib/x86_64-linux-gnu"

    def run(*argv, **kw):
        subprocess.run([store / "usr/lib64/ld-linux-x86-64.so.2", "--library-path", libraries,
                        store / "sbin/apparmor_parser", "--base", store / "etc/apparmor.d", "--skip-cache", *argv],
                       check=True, text=True, **kw)

    yield run
    subprocess.run(["umount", SECURITY], check=True)


def loaded():
    return [line.split()[0] for line in (SECURITY / "apparmor/profiles").read_text().splitlines()]


@pytest.fixture
def restricted(parser):
    """As Ubuntu starts, but for its profile of those who make a namespace all the same."""
    SWITCH.write_text("1")
    yield
    SWITCH.write_text("0")


@pytest.fixture
def stripped(restricted, parser, store):
    """As Ubuntu starts: whoever makes a namespace gets this profile, and no capability."""
    profile = store / "etc/apparmor.d/unprivileged_userns"
    parser("--replace", profile)
    yield
    parser("--remove", profile)


@pytest.fixture
def documented(parser, site):
    """The profile of the documentation, for the program where it is."""
    text = (harness.TOP / "docs/BACKENDS.md").read_text()
    block = re.search(r"((?:    .*\n|\n)*    profile immure .*\n(?:    .*\n)*?    \}\n)", text).group(1)
    block = re.sub(r"^ {4}", "", block, flags=re.MULTILINE)
    assert block.count("/usr/local/{bin/immure,libexec/immure/immure-full}") == 1
    block = block.replace("/usr/local/{bin/immure,libexec/immure/immure-full}", f"{site.bin}/{{immure,immure-full}}")
    parser("--replace", input=block)
    yield
    parser("--remove", input=block)


def remedies(report):
    return {f["name"]: f["remedy"] for f in report["facts"] if f["ok"] == "no"}


def says_what_to_do(site):
    """Doctor, on a host where only root may use namespaces."""
    code, report = ask(site)
    assert code == 0  # landlock works
    assert "AppArmor restricts user namespaces" in fact(report, "surroundings")["detail"]
    told = remedies(report)
    for name in NAMESPACED:
        assert fact(report, name)["ok"] == "no", name
        assert "AppArmor profile for this one program" in told[name], (name, told[name])
    assert [backend(report, b)["available"] for b in ("native", "bwrap", "landlock")] == ["no", "no", "yes"]
    return report


def only_without_namespaces(site):
    """Nothing runs in less than was asked for; approved, it is landlock, and it holds."""
    refused = site.run("/bin/sh", "-c", "touch ran")
    assert refused.code == 125 and not (site.ws / "ran").exists(), refused
    assert "process_visibility" in refused.errors and "doctor" in refused.errors, refused
    for name in ("native", "bwrap"):
        named = site.run("/bin/sh", "-c", "touch ran", flags=["--backend", name, *BARE])
        assert named.code == 125 and not (site.ws / "ran").exists(), named
    approved = site.run("/bin/cat", "mine", flags=BARE, record=True)
    assert (approved.code, approved.out) == (0, b"mine\n"), approved
    assert approved.record["backend"] == "landlock"
    proof = site.call(site.immure, "prove", "--json", *BARE, timeout=120)
    assert proof.code == 0, proof
    assert json.loads(proof.out)["holds"] is True


def test_without_the_restriction(site):
    """What the others are compared with."""
    assert SWITCH.read_text() == "0\n"
    assert site.run("/bin/true", record=True).record["backend"] == "native"


def test_no_namespaces(site, restricted):
    assert "unprivileged_userns" not in loaded()
    report = says_what_to_do(site)
    assert fact(report, "userns")["detail"] == "unshare user namespace: Permission denied"
    assert "AppArmor profile for this one program" in remedies(report)["bwrap_net"]
    only_without_namespaces(site)


def test_namespaces_without_capabilities(site, stripped):
    assert "unprivileged_userns" in loaded()
    # It can be made; to map even one's own user in it takes a capability of it.
    assert fact(says_what_to_do(site), "userns")["detail"].startswith("write uid_map: ")
    only_without_namespaces(site)


def test_the_documented_profile(site, stripped, documented):
    assert "immure" in loaded()
    _, report = ask(site)
    assert backend(report, "native")["available"] == "yes", report
    done = site.run("/bin/cat", "mine", record=True)
    assert (done.code, done.out, done.record["backend"]) == (0, b"mine\n", "native"), done
    # No way for the command to have one of its own.
    inside = site.run("/usr/bin/unshare", "--user", "--map-root-user", "/bin/true")
    assert inside.code != 0, inside
    proof = site.call(site.immure, "prove", "--json", timeout=120)
    assert proof.code == 0 and json.loads(proof.out)["holds"] is True, proof
    # Others are as restricted as before.
    assert site.call("unshare", "--user", "--map-root-user", "--mount", "/bin/true").code != 0


def test_root_is_not_restricted(stripped, base, bin_dir, immure):
    site = harness.Site(base / "root-site", harness.MODES["root"], bin_dir, immure)
    try:
        assert site.run("/bin/true", record=True).record["backend"] == "native"
    finally:
        harness.remove_tree(site.path)
