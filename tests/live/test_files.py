# SPDX-License-Identifier: Apache-2.0
"""The view of files: masked, protected, watched, and nothing left."""

import errno
import json
import os
import pathlib
import shutil
import subprocess

import pytest

import harness
import tables

PROBE = r"""
import json, os, sys
def attempt(function, *args):
    try:
        function(*args)
        return 0
    except OSError as e:
        return e.errno
def walk(top):
    for root, dirs, files in os.walk(top, onerror=None): pass
"""


def inside(site, script, **kw):
    """A python program inside that prints one JSON value."""
    result = site.python(PROBE + script, **kw)
    assert result.code == 0, result
    return json.loads(result.out.splitlines()[-1]), result


def test_workspace_is_writable(site):
    assert site.sh("echo new > made && mkdir d && mv mine d/moved && rm -r empty").code == 0
    assert (site.ws / "made").read_text() == "new\n"
    assert (site.ws / "d/moved").exists() and not (site.ws / "empty").exists()
    assert (site.ws / "made").stat().st_uid == site.uid


def test_outside_is_readable_only(site):
    result = site.sh(f"cat {site.out}/ro.txt; echo x > {site.out}/ro.txt")
    assert result.out == b"OUTSIDE\n" and result.code != 0
    assert (site.out / "ro.txt").read_bytes() == b"OUTSIDE\n"


def test_masks_answer_permission_denied(site):
    script = f"""
paths = {[str(site.deny / 'secret'), str(site.deny), str(site.priv / 'secret.txt')]!r}
print(json.dumps([attempt(os.listdir if os.path.isdir(p) else open, p) for p in paths] +
  [attempt(os.stat, paths[0])]))"""
    codes, _ = inside(site, script, flags=["--deny", site.deny, "--deny", site.priv / "secret.txt"])
    assert codes == [errno.EACCES] * 4


def test_presets(site):
    """What a developer's home has of programs, where the home is empty otherwise."""
    for name in "home/.cargo/bin/tool", "home/.cargo/credentials.toml", "home/.rustup/x", "home/.m2/repository/y":
        (site.path / name).parent.mkdir(parents=True, exist_ok=True)
        (site.path / name).write_text(name)
    site.own(site.home)
    look = "cd; find . -type f | sort; touch .rustup/new 2>/dev/null && echo wrote; ls .ssh 2>&1"
    flags = ["--profile", "strict"]
    assert "tool" not in site.sh(look, flags=flags).text
    said = site.sh(look, flags=[*flags, "--preset", "toolchains"]).text
    assert said.splitlines()[:2] == ["./.cargo/bin/tool", "./.rustup/x"] and "wrote" not in said
    assert "credentials" not in said and "id_rsa" not in said
    said = site.sh(look, flags=[*flags, "--preset", "toolchains", "--preset", "package_cache"]).text
    assert "./.m2/repository/y" in said and "./.rustup/x" in said
    said = site.sh(look, flags=[*flags, "--preset", "toolchains", "--deny", site.home / ".rustup"]).text
    assert "./.rustup/x" not in said
    assert site.run("/bin/true", flags=["--preset", "secrets"]).code == 125


def test_masks_do_not_vanish(site):
    script = f"print(json.dumps([sorted(os.listdir({str(site.path)!r})), " \
             f"sorted(os.listdir({str(site.priv)!r})), os.path.lexists({str(site.deny)!r})]))"
    (names, private, there), _ = inside(site, script, flags=[
        "--deny", site.deny, "--deny", site.priv / "secret.txt"])
    assert "deny" in names and "secret.txt" in private and there


@pytest.mark.modes("root", "user")
@pytest.mark.parametrize("profile", ["strict", "untrusted"])
def test_proc_has_processes_alone(site, profile):
    look = "ls -A /proc; cat /proc/meminfo; cat /proc/self/net/dev; cat /proc/self/mounts >/dev/null && echo mounts"
    result = site.sh(look, flags=["--profile", profile])
    names = result.text.split("Inter-")[0].split()
    assert all(n.isdigit() or n in ("self", "thread-self") for n in names) and "1" in names, result
    assert "/proc/meminfo: No such file" in result.errors and " lo:" in result.text, result
    assert result.text.endswith("mounts\n"), result
    result = site.sh("cat /proc/meminfo", flags=["--profile", profile, "--proc", "masked"])
    assert "MemTotal" in result.text, result


@pytest.mark.modes("bwrap")
def test_proc_of_bubblewrap_is_masked_but_for_processes(site):
    look = "for f in /proc/*; do [ -L $f ] || cat $f || ls $f; done 2>&1 | grep -v 'ermission denied'; ls -A /proc"
    result = site.sh(look, flags=["--profile", "strict"])
    host = {n for n in os.listdir("/proc") if not n.isdigit()}
    assert not host - set(result.text.split()) and "MemTotal" not in result.text, result
    here = site.sh("cat /proc/meminfo /proc/sys/kernel/ostype", flags=["--profile", "strict"])
    assert here.code == 1 and here.errors.count("ermission denied") == 2, here


def test_neighbours_of_a_mask_stay(site):
    result = site.run("/bin/cat", site.priv / "public.txt",
                      flags=["--deny", site.priv / "secret.txt"])
    assert result.out == b"public\n", result


def test_mask_of_what_does_not_exist_yet(site):
    """Denied as soon as it would be there; never an error, never a file on the host."""
    late = site.ws / "late-secret"
    before = sorted(os.listdir(site.ws))
    result = site.sh("echo x > late-secret; cat late-secret", flags=["--deny", late])
    after = sorted(os.listdir(site.ws))
    assert result.code in (0, 1, 2, 125), result
    assert before == after or result.code == 125, after


def test_deeper_rule_wins(site):
    flags = ["--deny", site.deny, "--read", site.deny / "secret"]
    assert site.run("/bin/cat", site.deny / "secret", flags=flags).out == harness.SECRET
    assert site.run("/bin/cat", site.deny / "prog", flags=flags).code != 0
    flags = ["--read", site.deny, "--deny", site.deny / "secret"]
    assert site.run("/bin/cat", site.deny / "secret", flags=flags).code != 0


def test_deny_beats_allow_at_equal_depth(site):
    for allow in ("--read", "--write"):
        result = site.run("/bin/cat", site.deny / "secret", flags=[
            allow, site.deny, "--deny", site.deny])
        assert result.code != 0 and not result.out


def test_write_flag(site):
    result = site.sh(f"echo new > {site.out}/ro.txt", flags=["--write", site.out])
    assert result.code == 0, result
    assert (site.out / "ro.txt").read_bytes() == b"new\n"


def test_every_sensitive_path_is_masked(site):
    home_entries = [p for p in tables.sensitive() if p.startswith("~/")]
    assert len(home_entries) > 80
    shutil.rmtree(site.home)
    site.home.mkdir()
    for entry in home_entries:
        path = site.home / entry[2:]
        parent_of_other = any(o.startswith(entry + "/") for o in home_entries)
        path.parent.mkdir(parents=True, exist_ok=True)
        if parent_of_other or path.is_dir():
            path.mkdir(exist_ok=True)
            (path / "key").write_bytes(harness.SECRET)
        else:
            path.write_bytes(harness.SECRET)
    site.own(site.home)
    script = f"""
result = {{}}
for entry in {home_entries!r}:
    path = os.path.join({str(site.home)!r}, entry[2:])
    result[entry] = [attempt(os.listdir if os.path.isdir(path) else open, path),
                     attempt(open, path + '/key'), attempt(open, path, 'a')]
print(json.dumps(result))"""
    found, _ = inside(site, script)
    wrong = {k: v for k, v in found.items() if v[0] != errno.EACCES}
    assert wrong == {}
    leaked = {k: v for k, v in found.items() if 0 in v}
    assert leaked == {}


def test_system_sensitive_paths_are_masked(site):
    entries = [p for p in tables.sensitive() if p.startswith("/") and os.path.exists(p)]
    script = f"""
print(json.dumps({{p: attempt(os.listdir if os.path.isdir(p) else open, p) for p in {entries!r}}}))"""
    found, _ = inside(site, script)
    assert {k for k, v in found.items() if v == 0} == set()


def test_sensitive_table_can_be_opened_up(site):
    result = site.run("/bin/cat", site.home / ".ssh/id_rsa", flags=["--sensitive", "false"])
    assert result.out == harness.SECRET, result
    result = site.run("/bin/cat", site.home / ".ssh/id_rsa", flags=["--read", "~/.ssh"])
    assert result.out == harness.SECRET, result


# ---- protected files --------------------------------------------------------


def fill(site, entries):
    """Every entry as a file, or as a directory with a file where others are below."""
    names = [e.concrete for e in entries]
    made = []
    for name in names:
        path = site.ws / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if any(o.startswith(name + "/") for o in names):
            path.mkdir(exist_ok=True)
            path = path / "file"
        if not path.exists():
            path.write_text("host's\n")
            made.append(str(path))
    return made


PROTECT_ACTS = """
result = {}
open('mine2', 'w').write('x')
for path in paths:
    codes = {}
    codes['write'] = attempt(open, path, 'r+')
    codes['append'] = attempt(open, path, 'a')
    open('over', 'w').write('evil')
    codes['rename_over'] = attempt(os.rename, 'over', path)
    codes['unlink'] = attempt(os.unlink, path)
    codes['rename_away'] = attempt(os.rename, path, 'taken')
    codes['link'] = attempt(os.link, path, 'linked')
    codes['chmod'] = attempt(os.chmod, path, 0o777)
    codes['truncate'] = attempt(os.truncate, path, 0)
    result[path] = codes
print(json.dumps(result))
"""


def test_every_protected_file_holds(site):
    """Existing ones: written, replaced, renamed, linked: all denied. (A pattern has no
    place to mount on; what matches it and was changed is found at the end.)"""
    entries = [e for e in tables.protected() if not e.build and "*" not in e.path]
    assert len(entries) > 120
    # A repository's own directory is one thing; a workspace that is a home another.
    paths = fill(site, entries)
    site.own(site.ws)
    before = {p: (harness.tree_hash(p) if os.path.isdir(p) else pathlib.Path(p).read_bytes(),
                  os.lstat(p).st_ino) for p in paths}
    found, result = inside(site, f"paths = {paths!r}\n" + PROTECT_ACTS)
    open_ways = {p: [act for act, code in codes.items() if code == 0] for p, codes in found.items()}
    # What a pattern with * stands for is not known before: it is found afterwards.
    stars = {str(site.ws / e.concrete) for e in entries if "*" in e.path}
    assert {p: acts for p, acts in open_ways.items() if acts and p not in stars} == {}
    assert all(p in result.errors for p in stars if open_ways[p]), "changed and not reported"
    after = {p: (pathlib.Path(p).read_bytes(), os.lstat(p).st_ino) for p in paths if p not in stars}
    assert {p: b for p, b in before.items() if p not in stars} == after


def test_every_protected_file_is_found_when_created(site):
    entries = tables.protected()
    site.ws.joinpath("sub/deep").mkdir(parents=True)
    site.own(site.ws)
    names = [e.concrete for e in entries] + ["sub/deep/" + e.concrete for e in entries if e.anywhere]
    before = sorted(p.relative_to(site.ws) for p in site.ws.rglob("*"))
    script = f"""
names = {names!r}
for name in names:
    os.makedirs(os.path.dirname(name) or '.', exist_ok=True)
    if any(o.startswith(name + '/') for o in names):
        os.makedirs(name, exist_ok=True)
        name += '/file'
    if not os.path.lexists(name):
        open(name, 'w').write('evil')
print(json.dumps(1))"""
    _, result = inside(site, script, flags=["--created", "Makefile"], record=True)
    found = {f["path"]: f["action"] for f in result.record["found"]}
    failed = {path for path, action in found.items() if action == "failed"}
    assert failed == set()
    left = {str(p.relative_to(site.ws)) for p in site.ws.rglob("*") if not p.is_dir()}
    build = {e.concrete for e in entries if e.build}
    here = {n for n in left if n in set(names) and n not in build and
            not any(n.endswith("/" + b) for b in build)}
    assert here == set(), "the host would obey these"
    for entry in entries:
        if entry.build:
            assert str(site.ws / entry.concrete) in found, f"{entry.path} was not reported"
    assert "immure: " in result.errors


def test_created_hook_is_quarantined_and_tree_restored(site):
    subprocess.run(["git", "init", "-q", str(site.ws)], check=True, env=site.environment())
    shutil.rmtree(site.ws / ".git/hooks", ignore_errors=True)
    site.own(site.ws)
    before = harness.names(site.ws)
    result = site.sh("mkdir -p .vscode .git/hooks && echo evil > .vscode/tasks.json && "
                     "echo evil > .git/hooks/pre-commit && chmod +x .git/hooks/pre-commit",
                     record=True)
    assert result.code == 0, result
    assert not (site.ws / ".vscode").exists() and not (site.ws / ".git/hooks/pre-commit").exists()
    assert harness.names(site.ws) - before <= {".git/hooks"}
    kept = [f["to"] for f in result.record["found"] if f["action"] == "quarantined"]
    assert len(kept) >= 2 and all(not p.startswith(str(site.ws)) for p in kept)
    assert any("evil" in pathlib.Path(p).read_text() for p in kept if pathlib.Path(p).is_file())
    for path in kept:
        if pathlib.Path(path).is_file():
            assert not os.stat(path).st_mode & 0o111, "quarantined and still executable"


def test_created_as_link_or_directory_is_found(site):
    result = site.sh("ln -s /bin/true .envrc; mkdir .husky; ln -s ../ .idea", record=True)
    for name in (".envrc", ".husky", ".idea"):
        assert not (site.ws / name).is_symlink() and not (site.ws / name).exists(), name
    assert {f["action"] for f in result.record["found"]} == {"quarantined"}


def test_renamed_into_place_is_found(site):
    result = site.sh("echo evil > innocent; mv innocent .envrc; mkdir -p a; echo e > a/b; "
                     "mv a .vscode", record=True)
    assert result.code == 0
    assert not (site.ws / ".envrc").exists() and not (site.ws / ".vscode").exists(), result.record


def test_moved_old_file_into_place_is_found(site):
    """It was there before under another name: its birth is old, its name is new."""
    result = site.sh("mkdir -p sub2; mv mine .envrc; mv hidden.txt sub2/.envrc", record=True)
    assert result.code == 0
    found = {f["path"] for f in result.record["found"]}
    for name in (".envrc", "sub2/.envrc"):
        assert not (site.ws / name).exists() or str(site.ws / name) in found, \
            "renamed to a watched name, and neither moved nor reported"
        assert str(site.ws / name) in result.errors


def test_moved_directory_brings_a_watched_name(site):
    """`mv a/x b/.cargo`: only the directory's name changed."""
    site.put("plain/config.toml", "[build]\n")
    result = site.sh("mkdir -p deep/er; mv plain deep/er/.cargo", record=True)
    path = site.ws / "deep/er/.cargo/config.toml"
    assert not path.exists() or any(f["path"] == str(path) for f in result.record["found"]), \
        "a directory was renamed so that its file is obeyed; nobody noticed"


def test_what_is_put_away_is_not_found_again(site):
    """A home as workspace holds our own state, and so the quarantine."""
    result = site.run("/bin/sh", "-c", "echo evil > .envrc", cwd=site.home, record=True,
                      env={"XDG_STATE_HOME": None})
    assert result.code == 0, result
    (found,) = result.record["found"]
    assert found["path"] == str(site.home / ".envrc") and found["action"] == "quarantined"
    assert pathlib.Path(found["to"]).read_text() == "evil\n"


def test_flood_of_watched_names(site):
    """Each is dealt with, and the supervisor stays small: 6000 took 3 GB once."""
    script = """import os
for i in range(6000):
    os.mkdir(f'd{i}')
    open(f'd{i}/.envrc', 'w').close()"""
    result = site.call("/bin/sh", "-c", 'ulimit -v 400000; exec "$@"', "sh", site.immure, "run",
                       "--", "/usr/bin/python3", "-c", script)
    assert result.code == 0, result
    assert len(result.err.splitlines()) < 100
    assert not list(site.ws.glob("*/.envrc"))


def test_case_does_not_hide_a_watched_name(site):
    """Where a file system folds case these are the same names."""
    result = site.sh("mkdir -p a/.Vscode; echo e > a/.ENVRC; echo e > a/.Vscode/Tasks.json",
                     record=True)
    assert result.code == 0, result
    assert not (site.ws / "a/.ENVRC").exists() and not (site.ws / "a/.Vscode/Tasks.json").exists()


@pytest.mark.parametrize("mode", ["user"], indirect=True)
def test_directories_that_cannot_be_listed_are_searched(site):
    result = site.sh("mkdir -p a/b; echo evil > a/b/.envrc; chmod 0311 a/b a", record=True)
    assert result.code == 0, result
    assert not (site.ws / "a/b/.envrc").exists(), result.record
    assert (site.ws / "a").stat().st_mode & 0o777 == 0o311
    assert (site.ws / "a/b").stat().st_mode & 0o777 == 0o311


@pytest.mark.parametrize("mode", ["root"], indirect=True)
def test_mounts_in_the_tree_are_searched(site):
    """In a namespace of the test's own: a file system mounted below the workspace."""
    result = site.call("/usr/bin/unshare", "-m", "/bin/sh", "-c",
                       f"mount -t tmpfs none {site.ws}/sub && {site.immure} run -- /bin/sh -c "
                       "'mkdir sub/d && echo evil > sub/d/.envrc' && ls -A sub/d")
    assert (result.code, result.out) == (0, b""), result


@pytest.mark.parametrize("mode", ["root"], indirect=True)
@pytest.mark.parametrize("where", ["out", "ws"])
def test_the_kernels_file_systems_in_a_tree_are_closed(site, where):
    """A chroot's tree has a procfs of the host's pid namespace: processes, and through
    core_pattern everything. Mounted in a namespace of the test's own; what the
    sandbox would write to belongs to that namespace as well."""
    top = site.path / where / "chroot"
    script = f"""
mkdir -p {top}/proc {top}/sys {top}/queue
mount -t proc none {top}/proc && mount -t sysfs none {top}/sys && mount -t mqueue none {top}/queue
{site.immure} run -- /bin/sh -c '
for d in proc sys queue; do ls {top}/$d && echo "open $d"; done
cat {top}/proc/1/cmdline && echo read
echo x > {top}/proc/sys/kernel/hostname && echo wrote' || true
{site.immure} run --write {top}/proc/sys -- /bin/true && echo "given by name" || true
{site.immure} run --read {top}/sys/kernel -- /bin/true && echo "given by name" || true
{site.immure} run --workspace {top}/sys -- /bin/true && echo "given as workspace" || true
true"""
    result = site.call("/usr/bin/unshare", "-m", "-p", "-u", "-f", "/bin/sh", "-ec", script)
    assert (result.code, result.out) == (0, b""), result
    assert result.errors.count("is the kernel's") == 3, result


def test_a_writable_place_inside_the_home(site):
    """What the host obeys in a home is obeyed there too when only a part is writable."""
    for name in (".config/autostart", ".config/git", ".local/share"):
        (site.home / name).mkdir(parents=True)
    (site.home / ".config/git/config").write_text("[user]\n")
    site.own(site.home)
    result = site.run("/bin/sh", "-c", "cd .config; echo x > autostart/evil.desktop; "
                      "echo evil >> git/config; mkdir -p systemd/user; echo x > systemd/user/x.service; "
                      "mkdir -p ../.local/share/systemd; echo fine > other", cwd=site.home,
                      flags=["--workspace", site.ws, "--write", site.home / ".config",
                             "--write", site.home / ".local/share"])
    assert not list((site.home / ".config/autostart").iterdir()), result
    assert (site.home / ".config/git/config").read_text() == "[user]\n"
    assert not (site.home / ".config/systemd").exists(), result
    assert not (site.home / ".local/share/systemd").exists(), result
    assert (site.home / ".config/other").read_text() == "fine\n"


@pytest.mark.parametrize("profile", ["dev", "strict"])
@pytest.mark.parametrize("where", ["ws", "out"])
def test_denied_and_shown_through_a_link(site, where, profile):
    """A link to what is denied, or to what holds it, is named to be read."""
    top = getattr(site, where)
    (top / "place").mkdir()
    (top / "place/secret").write_bytes(harness.SECRET)
    (top / "place/other").write_bytes(b"other\n")
    (top / "to-place").symlink_to("place")
    (top / "to-secret").symlink_to("place/secret")
    site.own(top)
    script = f"cd {top}; cat place/secret to-place/secret to-secret; cat to-place/other"
    for link, deny, seen in (("to-secret", "place/secret", None), ("to-place", "place", b""),
                             ("to-place", "place/secret", b"other\n")):
        result = site.sh(script, flags=["--profile", profile, "--deny", top / deny,
                                        "--read", top / link])
        assert result.code != 125, (link, deny, result)
        assert harness.SECRET not in result.out, (link, deny, result)
        assert seen is None or result.out == seen, (link, deny, result)


@pytest.fixture
def elsewhere(site):
    """A place for our state on another file system, where rename(2) cannot reach."""
    path = pathlib.Path(f"/dev/shm/state-{os.getpid()}-{site.path.name}")
    path.mkdir()
    os.chown(path, site.uid, site.gid)
    assert path.stat().st_dev != site.ws.stat().st_dev
    yield path
    harness.remove_tree(path)


@pytest.mark.parametrize("script", [
    "cp /bin/true sub/.envrc; chmod 0111 sub/.envrc",
    "truncate -s 100M sub/.envrc",
    "mkdir sub/.envrc; echo evil > sub/.envrc/x; chmod 0111 sub/.envrc",
    "d=sub/.envrc/$(printf 'd/%.0s' $(seq 80)); mkdir -p $d",
    "mkfifo sub/.envrc",
], ids=["unreadable", "large", "unreadable-dir", "deep", "fifo"])
def test_what_is_hard_to_move_away_is_not_obeyed_either(site, elsewhere, script):
    result = site.sh(script, record=True, env={"XDG_STATE_HOME": str(elsewhere)})
    assert result.code == 0, result
    assert not os.path.lexists(site.ws / "sub/.envrc"), result.record["found"]
    assert {f["action"] for f in result.record["found"]} <= {"quarantined", "renamed"}


def test_no_place_for_a_quarantine(site):
    result = site.sh("echo evil > .envrc", record=True,
                     env={"XDG_STATE_HOME": None, "HOME": "/nonexistent"})
    assert result.code in (0, 125), result
    assert not (site.ws / ".envrc").exists(), result
    assert not os.path.lexists("/nonexistent"), "a home was made"


def test_created_can_be_allowed(site):
    result = site.sh("echo ok > .envrc", flags=["--created", ".envrc"], record=True)
    assert (site.ws / ".envrc").read_text() == "ok\n"
    assert [f["action"] for f in result.record["found"]] == ["reported"]


def test_protect_flag(site):
    result = site.sh("echo x > mine; echo x > later.sh", flags=["--protect", "mine", "--protect",
                                                                 "later.sh"], record=True)
    assert (site.ws / "mine").read_text() == "mine\n"
    assert not (site.ws / "later.sh").exists(), result.record


def test_protected_table_can_be_switched_off(site):
    result = site.sh("echo x > .envrc", flags=["--protected", "false"])
    assert result.code == 0 and (site.ws / ".envrc").exists(), result


def test_nothing_of_ours_in_the_tree(site):
    before = harness.tree_hash(site.path)
    assert site.sh("cat mine; ls -la . .. >/dev/null", flags=[
        "--deny", site.deny, "--deny", site.ws / "hidden.txt", "--protect", "mine",
        "--protect", "never-made"]).code == 0
    assert harness.tree_hash(site.path) == before


def test_directories_that_were_protected_keep_times(site):
    (site.ws / ".git/hooks").mkdir(parents=True)
    site.own(site.ws)
    before = harness.tree_hash(site.ws)
    assert site.run("/bin/true").code == 0
    assert harness.tree_hash(site.ws) == before


# ---- git, as the host runs it afterwards -------------------------------------

TRAPS = {
    "hook": "printf '#!/bin/sh\\n{trap}\\n' > .git/hooks/post-index-change; "
            "chmod +x .git/hooks/*",
    "fsmonitor": "git config core.fsmonitor {trap}",
    "hooks_path": "git config core.hooksPath $PWD/h; mkdir h; printf '#!/bin/sh\\n{trap}\\n' > "
                  "h/post-index-change; chmod +x h/*",
    "pager": "git config core.pager {trap}; git config pager.status {trap}",
    "external_diff": "git config diff.external {trap}",
    "filter": "git config filter.x.clean {trap}; echo '* filter=x' > .gitattributes",
    "include": "git config include.path ../evil.inc; printf '[core]\\nfsmonitor={trap}\\n' > evil.inc",
    "alias": "git config alias.st '!{trap}'",
    "ssh": "git config core.sshCommand {trap}",
    "worktree_config": "git config extensions.worktreeConfig true; "
                       "printf '[core]\\nfsmonitor={trap}\\n' > .git/config.worktree",
    "append": "printf '[core]\\nfsmonitor={trap}\\n' >> .git/config",
    "replace": "cp .git/config c && printf '[core]\\nfsmonitor={trap}\\n' >> c && mv c .git/config",
    "swap_git": "cp -r .git .git2; printf '[core]\\nfsmonitor={trap}\\n' >> .git2/config; "
                "mv .git .git3; mv .git2 .git",
    "git_file": "cp -r .git elsewhere; printf '[core]\\nfsmonitor={trap}\\n' >> elsewhere/config; "
                "mv .git gone; echo 'gitdir: elsewhere' > .git",
    "commondir": "mkdir evil; cp -r .git/. evil; printf '[core]\\nfsmonitor={trap}\\n' >> evil/config; "
                 "echo ../evil > .git/commondir",
    "submodule": "cp -r .git sub.git; mkdir -p .git/modules/s && cp -r sub.git/. .git/modules/s; "
                 "printf '[core]\\nfsmonitor={trap}\\n' >> .git/modules/s/config; "
                 "mkdir s; echo 'gitdir: ../.git/modules/s' > s/.git",
    "nested": "git init -q nested; printf '[core]\\nfsmonitor={trap}\\n' >> nested/.git/config; "
              "git add nested",
    "attributes": "echo '* filter=x diff=x merge=x' > .git/info/attributes; "
                  "git config diff.x.textconv {trap}",
    "bare": "mkdir bare; cd bare; git init -q --bare .; printf '[core]\\nfsmonitor={trap}\\n"
            "worktree=..\\n' >> config",
}


@pytest.mark.parametrize("name", list(TRAPS))
def test_git_on_the_host_runs_nothing(site, name):
    trap = site.path / "trap"
    sprung = site.path / "sprung"
    trap.write_text(f"#!/bin/sh\necho \"$0 $*\" >> {sprung}\n")
    trap.chmod(0o755)
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    site.own(site.path)
    for args in (["init", "-q"], ["add", "mine"], [*identity, "commit", "-qm", "one"]):
        assert site.call("git", *args).code == 0
    script = "set +e; " + TRAPS[name].format(trap=trap) + "; touch mine; true"
    site.sh(script, env={"HOME": str(site.home)})
    site.put("mine", "changed\n")
    for args in (["status"], ["diff"], ["log", "-1"], ["-C", "nested", "status"],
                 ["-C", "s", "status"], ["add", "mine"], [*identity, "commit", "-qm", "two"]):
        site.call("git", *args, cwd=site.ws)
    assert not sprung.exists(), sprung.read_text()


def test_git_in_a_linked_worktree(site):
    """Here .git is a file, and what it points to is outside."""
    trap, sprung, tree = site.path / "trap", site.path / "sprung", site.path / "tree"
    trap.write_text(f"#!/bin/sh\necho \"$0 $*\" >> {sprung}\n")
    trap.chmod(0o755)
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    site.own(site.path)
    for args in (["init", "-q"], ["add", "mine"], [*identity, "commit", "-qm", "one"],
                 ["worktree", "add", "-q", str(tree)]):
        assert site.call("git", *args).code == 0
    result = site.sh(f"git init -q evil; printf '[core]\\nfsmonitor={trap}\\nworktree=..\\n' >> "
                     f"evil/.git/config; printf 'gitdir: %s/evil/.git\\n' $PWD > p; mv p .git; "
                     f"cp p .git; rm .git; mv .git q; git status", cwd=tree)
    for args in (["status"], ["diff"], ["log", "-1"]):
        site.call("git", *args, cwd=tree)
    assert not sprung.exists(), (sprung.read_text(), result)


# ---- odd trees ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["with space", "new\nline", "-dash", "ünïcode", "quo'te\"s",
                                  "a:b", "comma,equals=", "%s%n", "back\\slash", "x" * 200,
                                  "trailing ", "~tilde", "#hash", "$HOME"])
def test_odd_names_of_workspaces(site, name):
    odd = site.path / name
    (odd / ".git/hooks").mkdir(parents=True)
    (odd / "secret").write_bytes(harness.SECRET)
    site.own(odd)
    result = site.sh("cat secret; echo made > made && pwd", cwd=odd,
                     flags=["--deny", odd / "secret"])
    assert result.out.rstrip(b"\n") == os.fsencode(odd).rstrip(b"\n"), result
    assert (odd / "made").read_text() == "made\n"


def test_names_that_are_not_utf8(site):
    odd = os.fsencode(site.path) + b"/w\xff\xfe"
    os.mkdir(odd)
    os.mkdir(odd + b"/\x80sub")
    with open(odd + b"/\xc3\x28", "wb") as file:
        file.write(b"data")
    site.own(os.fsdecode(odd))
    result = site.sh("cat *; ls -d */ >/dev/null && echo x > new", cwd=odd)
    assert b"data" in result.out and os.path.exists(odd + b"/new"), result
    plan = site.call(site.immure, "plan", "--json", "--", "/bin/true", cwd=odd)
    assert plan.code == 0
    json.loads(plan.out)


def test_workspace_through_a_symlink(site):
    os.symlink("ws", site.path / "link")
    result = site.run("/bin/cat", "mine", flags=["--workspace", site.path / "link"],
                      cwd=site.path / "link")
    assert result.out == b"mine\n", result


@pytest.mark.parametrize("cwd", ["/", "home", "out", "deny"])
def test_cwd_chooses_no_more_than_itself(site, cwd):
    """A cwd elsewhere never makes something else writable."""
    where = cwd if cwd == "/" else site.path / cwd
    result = site.sh(f"echo x > {site.out}/ro.txt; echo x > {site.home}/new; echo x > /etc/immure-x; "
                     f"cat {site.deny}/secret; echo end",
                     cwd=where, flags=["--workspace", site.ws, "--deny", site.deny])
    assert result.code == 125 or result.out == b"end\n", result
    assert (site.out / "ro.txt").read_bytes() == b"OUTSIDE\n"
    assert not (site.home / "new").exists() and not os.path.exists("/etc/immure-x")


@pytest.mark.parametrize("place", ["/", "/etc", "/usr", "/proc", "/dev", "/sys"])
def test_a_dangerous_workspace_is_no_way_in(site, place):
    """The caller may ask for it; what follows is a refusal or a sandbox that holds."""
    result = site.sh("echo ran; cat /etc/shadow; echo x > /proc/sys/kernel/core_pattern; "
                     "touch /dev/immure-x /sys/immure-x",
                     flags=["--workspace", place, "--workspace-mode", "ro"], cwd=site.ws)
    assert b"root:" not in result.out
    assert result.code != 0


def test_hundred_thousand_entries(site):
    script = "for i in $(seq 0 99); do mkdir d$i && (cd d$i && seq -f f%g 1000 | xargs touch); done"
    assert site.call("/bin/sh", "-c", script).code == 0
    result = site.sh("ls d99 | wc -l; echo x > d50/.envrc", record=True)
    assert result.text.strip() == "1000", result
    assert not (site.ws / "d50/.envrc").exists(), "a watched name deep in a large tree"


def test_tmp_is_private_and_gone(site):
    name = f"immure-probe-{os.urandom(4).hex()}"
    result = site.sh(f"echo x > /tmp/{name} && echo y > /var/tmp/{name} && ls /tmp | wc -l")
    assert result.code == 0, result
    assert not os.path.exists(f"/tmp/{name}") and not os.path.exists(f"/var/tmp/{name}")


def test_tmp_flag(site):
    result = site.sh(f"ls {site.out} | wc -l; echo x > {site.out}/x && ls {site.out}",
                     flags=["--tmp", "/tmp", "--tmp", site.out])
    assert result.text.split() == ["0", "x"], result
    assert not (site.out / "x").exists()


def test_dev_works(site):
    script = "echo x > /dev/null && head -c 4 /dev/zero | wc -c && head -c 4 /dev/urandom | wc -c " \
             "&& head -c 4 /dev/random | wc -c && ! echo x > /dev/full && ls /dev | sort | tr '\\n' ' '"
    result = site.sh(script)
    assert result.code == 0, result
    names = set(result.text.splitlines()[-1].split())
    assert {"null", "zero", "full", "random", "urandom", "tty", "pts", "shm"} <= names
    assert names <= {"null", "zero", "full", "random", "urandom", "tty", "pts", "shm", "ptmx", "fd",
                     "stdin", "stdout", "stderr", "core", "mqueue", "console"}


def test_run_is_empty(site):
    result = site.sh("ls -A /run")
    assert set(result.text.split()) <= {"user", "lock", "immure", "shm", "secrets", "docker.sock"}


def test_proc_is_its_own(site):
    result = site.sh("ls /proc | grep -c '^[0-9]'; echo $$; cat /proc/sys/kernel/hostname")
    count = int(result.text.split()[0])
    assert count <= 5, result


def test_home_empty(site):
    result = site.sh('ls -A "$HOME"; echo x > "$HOME/new" && cat "$HOME/new"',
                     flags=["--home", "empty"])
    assert result.text.split() == ["x"], result
    assert not (site.home / "new").exists()


def test_view_system(site):
    result = site.sh(f"ls {site.out} {site.home}/.ssh; ls /usr/bin >/dev/null && echo usr; cat mine",
                     flags=["--view", "system"])
    assert "usr" in result.text and "mine" in result.text and "ro.txt" not in result.text, result


@pytest.mark.parametrize("profile", ["dev", "readonly", "strict", "ci"])
def test_profiles_run(site, profile):
    result = site.sh("cat mine; id -u; echo x > new; ls / >/dev/null", flags=["--profile", profile])
    assert result.text.startswith("mine\n"), result
    assert (site.ws / "new").exists() == (profile != "readonly")
