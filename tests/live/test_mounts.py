# SPDX-License-Identifier: Apache-2.0
"""Paths of the host at other paths inside: files.mounts, workspace.target."""

import json
import os

import pytest

from sessions import Session

pytestmark = pytest.mark.modes("root", "user", "enosys", "bwrap", "bwrap-user")


def lines(result):
    assert result.code == 0, result
    return result.text.splitlines()


@pytest.mark.parametrize("profile", ["dev", "strict"])
def test_there_and_nothing_made_outside(site, profile):
    before = sorted(os.listdir("/")), sorted(os.listdir("/mnt"))
    target = "/mnt/session/outputs"
    result = site.sh(f"cat {target}/ro.txt; echo x > {target}/made; ls -a /workspace /mnt; pwd; touch here",
                     flags=["--profile", profile, "--bind", f"{site.out}:{target}:rw",
                            "--workspace-target", "/workspace"])
    assert "OUTSIDE" in result.text and "mine" in result.text and "/workspace" in result.text
    assert (site.out / "made").read_text() == "x\n" and (site.ws / "here").exists()
    assert before == (sorted(os.listdir("/")), sorted(os.listdir("/mnt")))


def test_the_rest_stays_where_it_was(site):
    """A directory of ours in the place of a host's shows what the host's showed."""
    result = site.sh("ls -1 / | sort; readlink /bin; test -r /etc/passwd && echo read",
                     flags=["--bind", f"{site.out}:/immure-test-new"])
    said = lines(result)
    assert "immure-test-new" in said and said[-1] == "read"
    shown = {n for n in os.listdir("/") if not n.startswith(".")}
    assert shown - set(said) == set()
    if os.path.islink("/bin"):
        assert os.readlink("/bin") in said


def test_read_only_unless_said(site):
    result = site.sh("echo x > /mnt/o/ro.txt || echo no; touch /mnt/o/new || echo no; touch /mnt/x || echo no",
                     flags=["--bind", f"{site.out}:/mnt/o"])
    assert result.text.split() == ["no"] * 3
    assert (site.out / "ro.txt").read_text() == "OUTSIDE\n"


def test_a_file(site):
    flags = ["--bind", f"{site.out}/ro.txt:/mnt/name", "--bind", f"{site.ws}/mine:/mnt/deep/er/mine:rw"]
    result = site.sh("cat /mnt/name; echo more >> /mnt/deep/er/mine; rm /mnt/name || echo no", flags=flags)
    assert result.text == "OUTSIDE\nno\n"
    assert (site.ws / "mine").read_text() == "mine\nmore\n"


@pytest.mark.parametrize("by", ["{deny}", "/again/deny"])
def test_denied_at_both(site, by):
    """Whichever path the denial names."""
    result = site.sh(f"cat /again/deny/secret || echo 1; cat {site.deny}/secret || echo 2;"
                     "ls /again/deny || echo 3; cat /again/out/ro.txt",
                     flags=["--bind", f"{site.path}:/again", "--deny", by.format(deny=site.deny)])
    assert result.text == "1\n2\n3\nOUTSIDE\n"
    assert result.errors.count("Permission denied") == 3


def test_secrets_at_both(site):
    for profile in "dev", "strict":
        result = site.sh("cat /again/.ssh/id_rsa || echo no; ls /again/.ssh || echo no; cat /again/.profile",
                         flags=["--profile", profile, "--bind", f"{site.home}:/again"])
        assert result.text == "no\nno\n" and result.errors.count("Permission denied") == 2


@pytest.mark.parametrize("flags", [["--workspace-target", "/w"],
                                   ["--bind", "{ws}:/w:rw", "--workspace-mode", "ro"]])
def test_protected_at_both(site, flags):
    site.put(".git/hooks/pre-commit", "#!/bin/sh\n")
    site.put("deploy.sh", "one\n")
    result = site.sh("""cd /w
        echo x > .git/hooks/pre-commit || echo 1; mv .git .gone || echo 2; echo x > deploy.sh || echo 3
        rm deploy.sh || echo 4; echo x > .envrc; echo x > free""",
                     flags=[f.format(ws=site.ws) for f in flags] + ["--protect", "/w/deploy.sh"])
    assert result.text.split() == list("1234"), result
    assert (site.ws / "free").exists()
    assert not (site.ws / ".envrc").exists()  # was put aside: the host would obey it
    assert (site.ws / "deploy.sh").read_text() == "one\n"


def test_read_only_below_a_writable_mount(site):
    result = site.sh("echo x > /again/dir/new || echo 1; mv /again/dir /again/gone || echo 2; echo x > /again/free",
                     flags=["--bind", f"{site.out}:/again:rw", "--read", site.out / "dir"])
    assert result.text.split() == ["1", "2"], result
    assert (site.out / "free").exists()


def test_where_the_command_starts(site):
    flags = ["--workspace", site.ws, "--workspace-target", "/w"]
    assert lines(site.run("/bin/pwd", flags=flags)) == ["/w"]
    assert lines(site.run("/bin/pwd", flags=flags, cwd=site.ws / "sub")) == ["/w/sub"]
    assert lines(site.run("/bin/pwd", flags=[*flags, "--cwd", "sub"])) == ["/w/sub"]
    assert lines(site.run("/bin/pwd", flags=[*flags, "--profile", "strict", "--cwd", site.ws / "sub"])) == ["/w/sub"]
    assert site.run("/bin/pwd", flags=[*flags, "--cwd", "nowhere/.."]).code == 125


def test_no_workspace(site):
    result = site.sh(f"pwd; touch {site.ws}/x || echo no", flags=["--workspace-mode", "none"])
    assert result.text == "/\nno\n" and not (site.ws / "x").exists()


@pytest.mark.parametrize("target", [None, "/w"])
def test_scratch_workspace(site, target):
    flags = ["--workspace-mode", "scratch"] + (["--workspace-target", target] if target else [])
    result = site.sh("pwd; ls -A; echo x > made; cat made", flags=flags)
    assert result.text == f"{target or site.ws}\nx\n"
    assert not (site.ws / "made").exists()


@pytest.mark.parametrize("spec,word", [
    ("/out", "SOURCE:TARGET"), ("/out:in", "absolute"), ("/out:/in:wr", "ro or rw"),
    ("/out:/proc/x", "kernel's"), ("/out:/", "cannot be covered"), ("/gone-immure:/in", "does not exist"),
    ("/proc/sys:/in", "kernel's"), ("/:/in", "whole file system"), ("{out}:{ws}", "covers"),
    ("{out}:{ws}/not-there", "cannot be made"), ("{out}:{ws}/mine", "directory"),
])
def test_refused(site, spec, word):
    result = site.run("/bin/true", flags=["--bind", spec.format(out=site.out, ws=site.ws)])
    assert result.code == 125 and word in result.errors and result.errors.count("\n") == 1, result
    assert not (site.ws / "not-there").exists()


def test_two_at_one_place(site):
    result = site.run("/bin/true", flags=["--bind", f"{site.out}:/x", "--bind", f"{site.deny}:/x"])
    assert result.code == 125 and "target of two" in result.errors


def test_links_that_lead_out(site):
    os.symlink(site.out, site.ws / "out")
    flags = ["--write", site.ws / "out"]
    assert site.run("/bin/true", flags=[*flags, "--links", "follow"]).code == 0
    for more in [], ["--links", "follow_trusted"], ["--links", "deny_escapes"]:  # the workspace is whoever's who wrote it
        result = site.run("/bin/true", flags=[*flags, *more])
        assert result.code == 125 and "leads out" in result.errors
    os.symlink(site.out, site.path / "mine")
    assert site.run("/bin/true", flags=["--write", site.path / "mine"]).code == 0
    os.symlink("sub", site.ws / "in")
    assert site.run("/bin/true", flags=["--write", site.ws / "in", "--links", "deny_escapes"]).code == 0


def test_in_a_session(site):
    with Session(site, "--bind", f"{site.out}:/data", "--workspace-target", "/workspace",
                 "--deny", site.ws / "sub/hidden") as session:
        assert session.sh("pwd; cat /data/ro.txt").out == b"/workspace\nOUTSIDE\n"
        assert session.sh("cat /workspace/sub/hidden/secret").code == 1
        assert session.cli("cat", "--", "/data/ro.txt").out == b"OUTSIDE\n"


@pytest.mark.modes("root", "user")
def test_from_a_pool(site):
    name = f"pool{os.urandom(4).hex()}"
    flags = ["--workspace-target", "/w", "--bind", f"{site.path}:/again", "--deny", site.deny]
    assert site.call(site.immure, "pool", "start", "--name", name, *flags).code == 0
    try:
        done = site.call(site.immure, "run", "--pool", name, "--", "/bin/sh", "-c",
                         "pwd; cat mine /again/out/ro.txt /again/deny/secret; touch here", cwd=site.ws)
        assert done.text == "/w\nmine\nOUTSIDE\n" and "Permission denied" in done.errors, done
        assert (site.ws / "here").exists()
        done = site.call(site.immure, "run", "--pool", name, "--", "/bin/pwd", cwd=site.ws / "sub")
        assert done.text == "/w\n", done  # that caller's workspace
    finally:
        assert site.call(site.immure, "pool", "stop", name).code == 0


@pytest.mark.modes("root", "user")
def test_tightened_at_both(site):
    with Session(site, "--bind", f"{site.path}:/again:rw") as session:
        assert session.sh("cat /again/priv/secret.txt").code == 0
        assert site.call(site.immure, "tighten", "deny", session.id, site.priv).code == 0
        for path in "/again/priv/secret.txt", site.priv / "secret.txt":
            assert session.sh(f"cat {path}").code == 1


def test_the_plan_says_so(site):
    done = site.call(site.immure, "plan", "--json", "--workspace-target", "/w", "--bind",
                     f"{site.out}:/data", "--", "/bin/true")
    ops = json.loads(done.out)["operations"]
    mounts = {o["dst"]: o for o in ops if o.get("op", o.get("kind")) == "bind"}
    assert mounts["/data"]["src"] == str(site.out) and mounts["/data"]["key"] == "files.mounts"
    assert mounts["/w"]["src"] == str(site.ws) and mounts["/w"]["key"] == "workspace.target"


@pytest.mark.modes("root", "user")
def test_proven(site):
    flags = ["--workspace-target", "/w", "--bind", f"{site.path}:/again:rw", "--deny", site.deny]
    result = site.call(site.immure, "prove", *flags)
    assert result.code == 0 and "0 fell short" in result.text, result


@pytest.mark.modes("root", "user")
def test_not_without_mounts(site):
    import harness
    for flags in ["--bind", f"{site.out}:/data"], ["--workspace-target", "/w"], ["--workspace-mode", "scratch"]:
        result = site.run("/bin/true", flags=[*harness.BARE, *flags])
        assert result.code == 125 and "mount namespace" in result.errors, result
