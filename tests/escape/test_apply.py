# SPDX-License-Identifier: Apache-2.0
"""An upper directory that no kernel would have made, in the hands of apply and diff. Each act
has its control beside it: the same without the malice lands."""

import ctypes
import json
import os
import pathlib
import stat
import threading
import time

import pytest

import harness

libc = ctypes.CDLL(None, use_errno=True)


def kept(site, script="echo good > good"):
    time.sleep(0.02)
    assert site.sh(script, flags=["--cow", "-q"]).code == 0
    where = site.path / "state/immure/workspaces"
    (name,) = [n for n in os.listdir(where) if not n.startswith(".")]
    return where / name / "upper"


def diff(site):
    result = site.call(site.immure, "diff", "--json")
    assert result.code == 0, result
    return {c["path"]: c for c in json.loads(result.out)["changes"]}


def apply(site, *flags):
    return site.call(site.immure, "apply", *flags)


@pytest.mark.modes("root")
def test_nodes_and_set_ids(site):
    upper = kept(site)
    os.mknod(upper / "disk", stat.S_IFBLK | 0o666, os.makedev(7, 0))
    os.mknod(upper / "mem", stat.S_IFCHR | 0o666, os.makedev(1, 1))
    for name, mode in ("suid", 0o4755), ("sgid", 0o2755), ("sticky", 0o1644):
        (upper / name).write_text("#!/bin/sh\n")
        (upper / name).chmod(mode)
    (upper / "sub").mkdir()
    (upper / "sub/suid").write_text("x")
    (upper / "sub/suid").chmod(0o6755)
    found = diff(site)
    for name in "disk", "mem", "suid", "sgid", "sub/suid":
        assert found[name]["refused"], name
    assert apply(site).code == 125 and not (site.ws / "good").exists()
    assert apply(site, "--rest", "--overwrite", "--links").code == 0
    for name in "disk", "mem", "suid", "sgid", "sub/suid":
        assert not os.path.lexists(site.ws / name), name
    assert (site.ws / "good").exists() and stat.S_IMODE((site.ws / "sticky").stat().st_mode) == 0o644


def test_protected_names(site):
    """Also those that stood there and could not be touched from inside."""
    site.put(".git/config", "[core]\n")
    site.put(".git/hooks/pre-commit", "real")
    site.put(".envrc", "real")
    upper = kept(site)
    for name in (".git/hooks/pre-commit", ".envrc", ".GIT/Hooks/post-commit", "deep/.git/hooks/pre-push",
                 ".immure/policy.json", "sub/.g\u200cit/con\u00adfig", ".hu\u017fky/pre-commit"):
        (upper / name).parent.mkdir(parents=True, exist_ok=True)
        (upper / name).write_text("evil")
    (upper / ".git/config").write_text("[core]\n\tfsmonitor = /tmp/x\n")
    site.own(upper)
    assert apply(site, "--rest", "--overwrite", "--links").code == 0
    assert (site.ws / ".git/hooks/pre-commit").read_text() == "real"
    assert (site.ws / ".git/config").read_text() == "[core]\n" and (site.ws / ".envrc").read_text() == "real"
    for name in (".GIT/Hooks/post-commit", "deep/.git/hooks/pre-push", ".immure", "sub/.g\u200cit/con\u00adfig",
                 ".hu\u017fky/pre-commit"):
        assert not os.path.lexists(site.ws / name), name
    assert (site.ws / "good").exists()


def test_hooks_of_repositories_by_other_names(site):
    """A submodule's, or one that is bare: also where their hooks are a directory already."""
    for repo in ".git/modules/sub", "bare", "new":
        for name in "objects/o", "refs/r", "config", "HEAD":
            if repo != "new":
                site.put(f"{repo}/{name}", "x")
        if repo != "new":
            site.put(f"{repo}/hooks/pre-push.sample", "x")
    site.put("none/hooks/pre-push", "x")
    upper = kept(site)
    for repo in ".git/modules/sub", "bare", "new", "none":
        (upper / repo / "hooks/deep").mkdir(parents=True, exist_ok=True)
        (upper / repo / "hooks/post-checkout").write_text("evil")
        (upper / repo / "hooks/deep/post-checkout").write_text("evil")
    for name in "objects", "refs", "HEAD":
        (upper / "new" / name).mkdir()
    site.own(upper)
    assert apply(site).code == 125
    assert apply(site, "--rest", "--overwrite", "--links").code == 0
    for repo in ".git/modules/sub", "bare", "new":
        for name in "post-checkout", "deep":
            assert not os.path.lexists(site.ws / repo / "hooks" / name), (repo, name)
    assert (site.ws / "none/hooks/post-checkout").exists() and (site.ws / "good").exists()


def test_links_to_what_is_obeyed(site):
    """By its own name nobody obeys it, and behind the link it would be."""
    upper = kept(site)
    (upper / "x").mkdir()
    (upper / "x/tasks.json").write_text("evil")
    for name in "n/.vscode", ".cargo", "a/.jj/repo", "n/other":
        (upper / name).parent.mkdir(parents=True, exist_ok=True)
        (upper / name).symlink_to(os.path.relpath(upper / "x", (upper / name).parent))
    site.own(upper)
    assert apply(site).code == 125
    assert apply(site, "--rest", "--overwrite", "--links").code == 0
    for name in "n/.vscode", ".cargo", "a/.jj/repo":
        assert not os.path.lexists(site.ws / name), name
    assert (site.ws / "n/other/tasks.json").exists() and (site.ws / "good").exists()


@pytest.mark.modes("root")
def test_whiteouts_of_what_is_protected(site):
    site.put(".git/config", "[core]\n")
    site.put("plain/f", "x")
    upper = kept(site)
    os.mknod(upper / ".git", stat.S_IFCHR, 0)
    os.mknod(upper / "plain", stat.S_IFCHR, 0)
    assert diff(site)[".git"]["refused"] and apply(site, "--rest", "--overwrite").code == 0
    assert (site.ws / ".git/config").exists() and not (site.ws / "plain").exists()


def test_opaque_directories(site):
    """What such a mark takes away is judged by itself."""
    site.put(".git/config", "[core]\n")
    site.put("plain/f", "x")
    upper = kept(site)
    for name in ".git", "plain":
        (upper / name).mkdir(exist_ok=True)
        os.setxattr(upper / name, "user.overlay.opaque", b"y")
    site.own(upper)
    assert diff(site)[".git/config"]["refused"]
    assert apply(site, "--rest", "--overwrite").code == 0
    assert (site.ws / ".git/config").exists() and not (site.ws / "plain/f").exists()


def test_links_are_never_followed(site):
    """Neither in the upper directory nor in the real one."""
    site.put("real/f", "x")
    (site.path / "elsewhere").mkdir()
    (site.path / "elsewhere/f").write_text("untouched")
    site.own(site.path / "elsewhere")
    upper = kept(site, "echo c > real/f; mkdir -p new/dir; echo n > new/dir/f")
    before = (site.path / "elsewhere/f").stat().st_mtime_ns
    os.rename(site.ws / "real", site.ws / "was")
    os.symlink(site.path / "elsewhere", site.ws / "real")
    os.rename(upper / "new/dir", upper / "new/was")
    os.symlink(site.home / ".ssh", upper / "new/dir")
    (upper / "id").symlink_to(site.home / ".ssh/id_rsa")
    site.call(site.immure, "diff")
    assert b"SECRET" not in site.call(site.immure, "diff").out
    apply(site, "--rest")
    apply(site, "--rest", "--overwrite")
    assert (site.path / "elsewhere/f").read_text() == "untouched"
    assert (site.path / "elsewhere/f").stat().st_mtime_ns == before
    assert os.listdir(site.path / "elsewhere") == ["f"]
    assert not os.path.lexists(site.ws / "id") and not os.path.lexists(site.ws / "new/dir")
    assert (site.ws / "new/was/f").read_text() == "n\n"  # what is no link lands


def exchange(a, b):
    libc.renameat2(-100, os.fsencode(a), -100, os.fsencode(b), 2)


def test_a_race_for_the_way(site):
    """Somebody swaps a directory for a link all the while: what lands, lands in the workspace."""
    elsewhere = site.path / "elsewhere"
    elsewhere.mkdir()
    site.own(elsewhere)
    os.symlink(elsewhere, site.ws / "link")
    site.put("dir/keep", "x")
    landed = 0
    for turn in range(12):
        kept(site, f"echo {turn} > dir/f{turn}; mkdir -p dir/sub{turn}; echo x > dir/sub{turn}/g")
        stop = threading.Event()

        def swap():
            while not stop.is_set():
                exchange(site.ws / "dir", site.ws / "link")

        thread = threading.Thread(target=swap)
        thread.start()
        try:
            for _ in range(6):
                done = apply(site, "--overwrite", "--rest")
                landed += done.code == 0
                if not os.listdir(site.path / "state/immure/workspaces"):
                    break
        finally:
            stop.set()
            thread.join()
        if not stat.S_ISDIR(os.lstat(site.ws / "dir").st_mode):
            exchange(site.ws / "dir", site.ws / "link")
        # One that was torn apart by others may be neither finished nor taken back.
        if json.loads(site.call(site.immure, "diff", "--list", "--json").out) and apply(site, "--undo").code:
            done = apply(site, "--abandon")
            assert done.code == 0, done
        apply(site, "--overwrite", "--rest")
        for line in json.loads(site.call(site.immure, "diff", "--list", "--json").out):
            done = site.call(site.immure, "discard", line["id"])
            assert done.code == 0, done
        assert os.listdir(site.path / "state/immure/workspaces") == []
        assert os.listdir(elsewhere) == []
    assert landed


def test_huge_and_odd(site):
    """Sparse without end, deep without end, names of every byte: an answer, and soon."""
    upper = kept(site)
    with open(upper / "sparse", "wb") as f:
        f.truncate(1 << 42)
    for byte in (1, 7, 9, 10, 27, 34, 92, 127, 128, 255):
        (pathlib.Path(os.fsdecode(os.fsencode(upper) + b"/n" + bytes([byte])))).write_text("x")
    site.own(upper)
    done = site.call(site.immure, "diff")
    assert done.code == 0 and b"\x1b" not in done.out.split(b"---")[0] and b"too large to show" in done.out
    assert apply(site).code == 0
    assert (site.ws / "sparse").stat().st_size == 1 << 42 and (site.ws / "sparse").stat().st_blocks < 100
    for byte in (1, 7, 9, 10, 27, 34, 92, 127, 128, 255):
        assert os.path.exists(os.fsencode(site.ws) + b"/n" + bytes([byte])), byte
    os.truncate(site.ws / "sparse", 0)
    upper = kept(site)
    here = os.open(upper, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    site.own(upper)
    done = site.call(site.immure, "diff", "--stat")
    assert done.code == 125 and "too deep" in done.errors
    assert apply(site).code == 125
    assert site.call(site.immure, "discard", upper.parent.name).code == 0


def test_what_we_wrote_is_not_believed_when_changed(site):
    """The plan is sealed; without it nothing lands."""
    upper = kept(site)
    plan = upper.parent / "plan"
    data = bytearray(plan.read_bytes())
    data[len(data) // 2] ^= 1
    plan.write_bytes(data)
    assert apply(site).code == 125 and not (site.ws / "good").exists()
    plan.unlink()
    assert apply(site).code == 125 and not (site.ws / "good").exists()
