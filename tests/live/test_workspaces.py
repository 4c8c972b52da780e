# SPDX-License-Identifier: Apache-2.0
"""Copy-on-write workspaces: nothing lands before it is applied, and then all of it or nothing."""

import json
import os
import shutil
import stat
import time

import pytest

import harness

COW = ["--cow", "-q"]


def ids(site):
    listed = site.call(site.immure, "diff", "--list", "--json")
    assert listed.code == 0, listed
    return json.loads(listed.out)


def changes(site, *more):
    result = site.call(site.immure, "diff", "--json", *more)
    assert result.code == 0, result
    return {c["path"]: c for c in json.loads(result.out)["changes"]}


def apply(site, *flags):
    return site.call(site.immure, "apply", *flags)


def tree(path):
    found = {}
    for top, dirs, files in os.walk(os.fsencode(path)):
        for name in dirs + files:
            full = os.path.join(top, name)
            st = os.lstat(full)
            what = os.readlink(full) if stat.S_ISLNK(st.st_mode) else \
                open(full, "rb").read() if stat.S_ISREG(st.st_mode) else b""
            found[os.path.relpath(full, os.fsencode(path))] = (
                stat.S_IFMT(st.st_mode), 0 if stat.S_ISLNK(st.st_mode) else st.st_mode & 0o7777, what)
    return found


WORK = r"""
echo more >> mine; mkdir -p a/b; echo new > a/b/f; rm -r sub/gone; rmdir empty
chmod 750 sub/keep; ln -s a/b/f link; mv sub/old sub/new; printf 'x' > "$(printf 'odd\nname')"
printf 'y' > "$(printf 'byte\377')"; rm -r replaced; mkdir replaced; echo r > replaced/only
rm turned; mkdir turned; echo t > turned/in; dd if=/dev/zero of=sparse bs=1 count=1 seek=10M 2>/dev/null
truncate -s 20M sparse
"""


def prepare(site):
    site.put("sub/gone/deep/x", "x")
    site.put("sub/keep", "keep", 0o644)
    site.put("sub/old", "old")
    site.put("replaced/one", "1")
    site.put("replaced/two", "2")
    site.put("turned", "file")


def test_nothing_lands(site):
    prepare(site)
    before = harness.tree_hash(site.ws)
    done = site.sh(WORK + "cat mine a/b/f; ls replaced", flags=["--cow"], record=True)
    assert done.code == 0 and done.text == "mine\nmore\nnew\nonly\n", done
    assert harness.tree_hash(site.ws) == before
    kept = done.record["workspace_kept"]
    assert f"immure diff {kept}" in done.errors
    assert [w["id"] for w in ids(site)] == [kept] and not ids(site)[0]["in_use"]
    # and in the place where everything is written through, it does land
    assert site.sh(WORK).code == 0 and harness.tree_hash(site.ws) != before


def test_what_was_changed(site):
    prepare(site)
    assert site.sh(WORK, flags=COW).code == 0
    found = {k: v["change"] for k, v in changes(site).items()}
    odd = [k for k in found if k.startswith("byte")]
    assert len(odd) == 1
    found["byte"] = found.pop(odd[0])
    assert found == {
        "mine": "modified", "a": "added", "a/b": "added", "a/b/f": "added", "sub/gone": "removed",
        "empty": "removed", "sub/keep": "mode", "link": "added", "sub/old": "removed", "sub/new": "added",
        "odd\nname": "added", "byte": "added", "replaced/one": "removed", "replaced/two": "removed",
        "replaced/only": "added", "turned": "replaced", "turned/in": "added", "sparse": "added"}
    text = site.call(site.immure, "diff").text
    assert "M mine\n" in text and "D sub/gone/\n" in text and "m sub/keep mode 0644 -> 0750\n" in text
    assert "+more\n" in text and "A odd\\x0aname\n" in text and "--- a/mine\n+++ b/mine\n" in text
    assert "+more" not in site.call(site.immure, "diff", "--stat").text


def test_applied_is_what_would_have_been(site):
    """The tree that comes of it is the one that a writable workspace gives."""
    prepare(site)
    assert site.sh(WORK).code == 0
    expected = tree(site.ws)
    site.rebuild()
    prepare(site)
    assert site.sh(WORK, flags=COW).code == 0
    done = apply(site)
    assert done.code == 0 and "18 changes applied" in done.errors, done
    assert tree(site.ws) == expected
    assert (site.ws / "sparse").stat().st_blocks * 512 < 1 << 20
    assert (site.ws / "mine").stat().st_uid == site.uid
    assert ids(site) == []
    assert apply(site).code != 0  # there is none left


def test_some_of_it(site):
    prepare(site)
    assert site.sh(WORK, flags=COW).code == 0
    kept = ids(site)[0]["id"]
    dry = site.call(site.immure, "apply", "--json", "-n", kept, "a/b/f")
    lands = {c["path"] for c in json.loads(dry.out)["changes"] if c.get("lands")}
    assert lands == {"a", "a/b", "a/b/f"} and not (site.ws / "a").exists()
    assert apply(site, kept, "a/b/f", site.ws / "sub").code == 0
    assert (site.ws / "a/b/f").read_text() == "new\n" and (site.ws / "mine").read_text() == "mine\n"
    assert not (site.ws / "sub/gone").exists()
    assert "a/b/f" not in changes(site) and "mine" in changes(site)
    assert apply(site, kept, "no/such").code == 125
    assert apply(site, kept, "../out").code == 125
    assert apply(site).code == 0 and ids(site) == []


def test_conflicts(site):
    prepare(site)
    site.put("theirs", "theirs")
    assert site.sh("echo c > mine; echo c > theirs; rm sub/keep; rm -r sub/gone; echo c > fresh; echo b > both; "
                   "chmod 700 sub/old", flags=COW).code == 0
    (site.ws / "mine").write_text("the host's\n")
    (site.ws / "theirs").unlink()
    (site.ws / "sub/keep").write_text("the host's\n")
    site.put("sub/gone/deep/new", "the host's")
    site.put("both", "b\n")
    site.put("fresh", "the host's\n")
    before = tree(site.ws)
    found = {k: v.get("conflict") for k, v in changes(site).items()}
    assert found == {"mine": "it was changed since", "theirs": "it was removed since",
                     "sub/keep": "it was changed since", "sub/gone": "something in it was changed since",
                     "fresh": "it was changed since", "sub/old": None}
    refused = apply(site)
    assert refused.code == 125 and "nothing was applied" in refused.errors and "changed since" in refused.errors
    assert tree(site.ws) == before
    assert apply(site, "--rest").code == 0
    assert stat.S_IMODE((site.ws / "sub/old").stat().st_mode) == 0o700
    assert (site.ws / "mine").read_text() == "the host's\n"
    assert apply(site, "--overwrite").code == 0
    assert (site.ws / "mine").read_text() == "c\n" and not (site.ws / "sub/gone").exists()
    assert (site.ws / "theirs").read_text() == "c\n" and ids(site) == []


def test_what_may_not_land(site):
    """Each with something beside it that may."""
    hostile = r"""
mkfifo pipe; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("sock")'
ln -s /etc/passwd abs; ln -s ../../out up; ln -s sub/../../x around; ln -s "$PWD/mine" inside; ln -s sub/../mine again
mkdir -p .git/hooks sub/.git .immure bare/objects bare/refs bare/hooks sub/dir
echo x > .git/hooks/pre-commit; printf '[core]\n\tfsmonitor = /bin/x\n' > sub/.git/config; echo {} > .immure/policy.json
echo 'ref: refs/heads/x' > bare/HEAD; printf '[core]\n\tsshCommand = x\n' > bare/config; echo x > bare/hooks/update
echo x > .envrc; ln -s ../mine sub/ok; echo fine > fine
"""
    assert site.sh(hostile, flags=COW).code == 0
    found = {k: v.get("refused") for k, v in changes(site).items()}
    for name in ("pipe", "sock", "abs", "up", "around", "again", ".git/hooks/pre-commit", "sub/.git/config",
                 ".immure", "bare/HEAD", "bare/config", "bare/hooks", ".envrc"):
        assert found[name], name
    for name in ("inside", "sub/ok", "fine", "sub/dir"):
        assert found[name] is None, (name, found[name])
    assert apply(site).code == 125 and not (site.ws / "fine").exists()
    assert apply(site, "--rest").code == 0
    assert (site.ws / "fine").exists() and os.readlink(site.ws / "sub/ok") == "../mine"
    for name in ("pipe", "sock", "abs", "up", "around", "again", ".git/hooks/pre-commit", "sub/.git/config",
                 ".immure", "bare/HEAD", "bare/config", "bare/hooks", ".envrc"):
        assert not os.path.lexists(site.ws / name), name
    # links that lead out are the user's to allow; nothing else is
    assert apply(site, "--rest", "--links", "--overwrite").code == 0
    assert os.readlink(site.ws / "abs") == "/etc/passwd" and not os.path.lexists(site.ws / "pipe")
    assert not os.path.lexists(site.ws / ".immure")


def test_a_policy_may_allow_it(site):
    flags = [*COW, "--set", "+files.created=.envrc"]
    assert site.sh("echo x > .envrc", flags=flags).code == 0
    assert apply(site).code == 0 and (site.ws / ".envrc").read_text() == "x\n"


def test_masks_and_protection_hold(site):
    site.put(".git/config", "[core]\n")
    site.put("key", "mine")
    site.put(".envrc", "old")
    before = harness.tree_hash(site.ws)
    flags = [*COW, "--deny", site.ws / "sub/hidden", "--deny", site.ws / "hidden.txt", "--set",
             f"+files.protect={site.ws}/key"]
    done = site.sh("cat sub/hidden/secret hidden.txt; echo x > .git/config; echo x > key; mv .git g; rm .envrc; "
                   "rm -rf sub/hidden; echo ok > fine; cat fine", flags=flags)
    assert done.text == "ok\n" and harness.SECRET not in done.out + done.err
    assert set(changes(site)) == {"fine"} and harness.tree_hash(site.ws) == before


def test_what_is_named_is_written(site):
    """files.write below the workspace is the host's own; all else is a copy."""
    flags = [*COW, "--set", f"+files.write={site.ws}/sub"]
    assert site.sh("echo x > sub/real; echo x > copy", flags=flags).code == 0
    assert (site.ws / "sub/real").exists() and not (site.ws / "copy").exists()
    assert set(changes(site)) == {"copy"}


def test_nothing_changed_nothing_kept(site):
    done = site.sh("cat mine > /dev/null; ls", flags=["--cow"])
    assert done.code == 0 and "immure diff" not in done.errors
    assert ids(site) == [] and os.listdir(site.path / "state/immure/workspaces") == []


def test_another_tree(site):
    assert site.sh("echo c > mine", flags=COW).code == 0
    os.rename(site.ws, site.path / "moved")
    shutil.copytree(site.path / "moved", site.ws, symlinks=True)
    refused = site.call(site.immure, "apply", "--overwrite", cwd=site.path)
    assert refused.code == 125 and (site.ws / "mine").read_text() == "mine\n"
    assert "another directory" in site.call(site.immure, "diff", cwd=site.path).text
    shutil.rmtree(site.ws)
    os.rename(site.path / "moved", site.ws)
    assert apply(site).code == 0 and (site.ws / "mine").read_text() == "c\n"


def test_at_another_path(site):
    flags = [*COW, "--set", "workspace.target=/work"]
    assert site.sh("pwd; echo c > mine; mkdir -p .git/hooks; echo x > .git/hooks/pre-push", flags=flags).text == "/work\n"
    found = changes(site)
    assert found["mine"]["change"] == "modified" and found[".git/hooks/pre-push"]["refused"]
    assert apply(site, "--rest").code == 0 and (site.ws / "mine").read_text() == "c\n"


def test_sessions(site):
    name = f"cow-{os.getpid()}-{site.uid}"
    made = site.call(site.immure, "create", "--cow", "--rm", "--name", name)
    assert made.code == 0, made
    sid = made.text.strip()
    try:
        assert site.call(site.immure, "exec", name, "sh", "-c", "echo one > made; echo c >> mine").code == 0
        assert set(changes(site, name)) == {"made", "mine"} and not (site.ws / "made").exists()
        assert ids(site)[0]["in_use"] and ids(site)[0]["session"] == sid
        busy = apply(site, name)
        assert busy.code == 125 and "may still write" in busy.errors
        assert site.call(site.immure, "discard", sid).code == 125
        # what is changed on the host is seen inside, as long as it was not changed there
        (site.ws / "hidden.txt").write_text("later")
        assert site.call(site.immure, "exec", name, "cat", "hidden.txt", "mine").text == "latermine\nc\n"
    finally:
        site.call(site.immure, "stop", name)
    kept = site.call(site.immure, "gc")
    assert f"workspace {sid}" in kept.text.replace("  ", " ") or sid in kept.text, kept
    assert apply(site, sid).code == 0 and (site.ws / "made").read_text() == "one\n"


def test_gc_names_and_keeps(site):
    assert site.sh("echo c > mine", flags=COW).code == 0
    where = site.path / "state/immure/workspaces"
    kept = ids(site)[0]["id"]
    for name in ("2aaaaaaaaaaaaaaa", ".new.2bbbbbbbbbbbbbbb"):
        (where / name / "upper").mkdir(parents=True, mode=0o700)
        (where / name / "lock").touch(mode=0o600)
        (where / name).chmod(0o700)
    site.own(where)
    cleaned = site.call(site.immure, "gc", "--json")
    assert cleaned.code == 0, cleaned
    fates = {i["what"]: i["fate"] for i in json.loads(cleaned.out)["resources"] if i["kind"] == "workspace"}
    assert fates == {kept: "kept", "2aaaaaaaaaaaaaaa": "removed", ".new.2bbbbbbbbbbbbbbb": "removed"}
    assert os.listdir(where) == [kept] and set(changes(site)) == {"mine"}
    assert site.call(site.immure, "discard", kept).code == 0 and os.listdir(where) == []


def test_killed_supervisor(site):
    """What was changed until then is there, and nobody else's."""
    process = site.spawn(site.immure, "run", *COW, "--", "sh", "-c", "echo c > mine; echo ready; sleep 60")
    assert process.stdout.readline() == b"ready\n"
    process.kill()
    process.communicate()
    assert harness.until(lambda: not ids(site)[0]["in_use"], 5)
    assert site.call(site.immure, "gc").code == 0
    assert set(changes(site)) == {"mine"} and (site.ws / "mine").read_text() == "mine\n"
    assert apply(site).code == 0 and (site.ws / "mine").read_text() == "c\n"


def test_gaps(site):
    for backend in ("bwrap", "landlock"):
        refused = site.run("/bin/true", flags=["--cow", "--backend", backend])
        assert refused.code == 125, (backend, refused)
    refused = site.run("/bin/true", flags=["--cow"], env={"XDG_STATE_HOME": None, "HOME": None})
    assert refused.code == 125 or site.uid == 0
    plan = json.loads(site.call(site.immure, "plan", "--json", "--cow", "--", "true").out)
    kinds = [o["op"] for o in plan["operations"]]
    at = kinds.index("overlay")
    assert kinds[at - 1] == "layer" and plan["operations"][at]["flags"] == ["kept"] and plan["startable"]


def on_an_overlay(site, *argv):
    """What a container's root is: the state directory lies on an overlay."""
    script = ('d=$1 && shift && mkdir -p "$d" && mount -t tmpfs t /mnt && mkdir /mnt/u /mnt/w /mnt/l && '
              'mount -t overlay -o lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w o "$d" && exec "$@"')
    who = [] if site.uid == 0 else ["--user", "--map-root-user"]
    return ["unshare", *who, "--mount", "--propagation", "private", "--", "/bin/sh", "-c", script, "sh",
            str(site.path / "state"), *argv]


def test_changes_cannot_be_kept_on_an_overlay(site):
    """It is said, and nothing has run."""
    before = harness.tree_hash(site.ws)
    refused = site.call(*on_an_overlay(site, site.immure, "run", "-q", "--cow", "--", "/bin/sh", "-c", "echo x > ran"))
    assert refused.code == 125 and "on an overlay itself" in refused.errors, refused
    assert "XDG_STATE_HOME" in refused.errors and refused.errors.count("\n") == 1, refused
    assert harness.tree_hash(site.ws) == before
    told = site.call(*on_an_overlay(site, "env", f"XDG_STATE_HOME={site.run_dir}", site.immure, "run", "-q", "--cow", "--",
                                    "/bin/sh", "-c", "echo x > ran"))
    assert told.code == 0 and harness.tree_hash(site.ws) == before, told


@pytest.mark.modes("root")
def test_file_systems_below(site):
    """A file system that is mounted in the workspace was not seen, and is not touched."""
    script = f"""
set -e; cd {site.ws}; mkdir -p over; mount -t tmpfs t over; echo real > over/f
{site.immure} run -q --cow -- sh -c 'ls -A over; echo c > over/f; echo c > mine'
{site.immure} diff --stat; {site.immure} apply && exit 3; {site.immure} apply --rest; cat over/f mine
"""
    done = site.call("unshare", "-m", "--propagation", "private", "sh", "-c", script)
    if done.code == 125 or "refused" not in done.text:
        assert "immure:" in done.errors and (site.ws / "mine").read_text() == "mine\n", done
    else:
        assert done.text.splitlines()[-2:] == ["real", "c"], done
    os.rmdir(site.ws / "over")


@pytest.mark.modes("root")
@pytest.mark.parametrize("where", ["stage", "upper"])
def test_full_disk(site, where):
    """A copy that does not fit lands nowhere, and the tree is as it was."""
    script = f"""
set -e; mkdir -p {site.path}/small; mount -t tmpfs -o size=2m t {site.path}/small; cd {site.path}/small
echo old > file; echo old > other; sleep 0.05
{site.immure} run -q --cow -- sh -c 'head -c 3000000 /dev/urandom > big; echo c > file; rm other'
find . -type f | sort; {site.immure} apply && exit 3; find . | sort; cat file other; {site.immure} diff --stat
{site.immure} apply $({site.immure} diff --list | cut -d' ' -f1) file other; cat file; find . | sort
"""
    if where == "upper":
        script = f"""
mkdir -p {site.path}/state; mount -t tmpfs -o size=1m t {site.path}/state; cd {site.ws}
{site.immure} run -q --cow -- sh -c 'head -c 3000000 /dev/urandom > big; echo $?; ls -l big | cut -d" " -f1'
"""
    done = site.call("unshare", "-m", "--propagation", "private", "sh", "-c", script)
    if where == "upper":
        assert "No space" in done.errors or "not supported" in done.errors or done.code == 125, done
        assert not (site.ws / "big").exists()
    else:
        assert done.code == 0 and "No space left" in done.errors, done
        assert done.text == "./file\n./other\n.\n./file\n./other\nold\nold\nA big\nM file\nD other\nc\n.\n./file\n", done
    with_mounts = site.path / "small"
    if with_mounts.exists():
        os.rmdir(with_mounts)


@pytest.mark.modes("root", "user")
def test_a_kernel_that_finds_out_when_it_makes_it(site):
    """Before Linux 6.5 every key is taken, and the mount is refused if one was unknown."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    log = site.path / "calls"
    traced = ["strace", "-f", "-qq", "-o", str(log), "-e", "trace=fsconfig"]
    run = [site.immure, "run", "-q", "--cow", "--", "/bin/sh", "-c", "echo c > mine; cat mine"]
    assert site.call(*traced, *run).out == b"c\n"
    lines = [line.split(None, 1) for line in log.read_text().splitlines()]
    pid = next(pid for pid, call in lines if '"lowerdir+"' in call)
    calls = [call for who, call in lines if who == pid and call.startswith("fsconfig(")]
    first = next(i for i, call in enumerate(calls) if '"lowerdir+"' in call)
    made = next(i for i, call in enumerate(calls) if i > first and "FSCONFIG_CMD_CREATE" in call)
    inject = ["-e", f"inject=fsconfig:error=EINVAL:when={made + 1}"]
    done = site.call(*traced, *inject, *run)
    assert (done.code, done.out) == (0, b"c\n"), done
    assert '"lowerdir"' in log.read_text() and "(INJECTED)" in log.read_text()
    assert (site.ws / "mine").read_text() == "mine\n"
