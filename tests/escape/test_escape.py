# SPDX-License-Identifier: Apache-2.0
"""Every attack of the table: denied inside, and possible in a throw-away place
that lacks the protection."""

import contextlib
import dataclasses
import os
import pwd
import shlex
import subprocess

import pytest

import harness
import hosts
import table

PROGRAM = str(harness.BUILD / "tests/escape/attack")
ATTACKS = table.table(PROGRAM)
DENIED, UNSAFE, BROKEN, NOT_APPLICABLE, REFUSED = 10, 3, 4, 77, 125
# Acts that the launcher may also answer by not starting at all.
MAY_REFUSE = {"hardlink_in_workspace", "streams", "cwd", "bind_alias", "symlinked_deny"}
# What a kernel says that was built without the thing.
NOT_BUILT = ("EAFNOSUPPORT", "ESOCKTNOSUPPORT", "EPROTONOSUPPORT", "ENODEV", "ENOPROTOOPT",
             "ENOENT", "ENXIO", "EPROTOTYPE")


class Words(dict):
    def __init__(self, site):
        super().__init__({k: str(v) for k, v in vars(site).items()
                          if isinstance(v, (str, os.PathLike))})

    def __missing__(self, name):
        if name.startswith("cgroup_"):
            pytest.skip(f"no v1 hierarchy for {name.removeprefix('cgroup_').removesuffix('_root')}")
        raise KeyError(name)

    def fill(self, texts):
        return [str(text).format_map(self) for text in texts]


@contextlib.contextmanager
def prepared(attack, site):
    words = Words(site)
    how = {"_env": {}, "_cwd": None, "_wrap": [], "_pass_fds": (), "_stdin": None}
    with contextlib.ExitStack() as stack:
        for need in attack.needs:
            try:
                given = stack.enter_context(getattr(hosts, need)(site))
            except hosts.Missing as missing:
                pytest.skip(str(missing))
            for name, value in given.items():
                if name.startswith("_"):
                    how[name] = value
                else:
                    words[name] = str(value)
        yield words, how


def start(site, how, argv):
    popen = {"pass_fds": how["_pass_fds"], "env": how["_env"], "cwd": how["_cwd"]}
    if how["_stdin"] is not None:
        popen["stdin"] = how["_stdin"]
    return site.call(*how["_wrap"], *argv, **popen)


def act(attack, site, words, where):
    args = attack.args
    if where == "control" and attack.control_args is not None:
        args = attack.control_args
    return [f"{site.ws}/attack", attack.act, *words.fill(args)]


def outside(site):
    return {place: harness.tree_hash(site.path / place)
            for place in ("out", "deny", "priv", "home")}


IN_A_SESSION = """s=$({immure} create {flags}) || exit 125
{immure} exec "$s" -- "$@"
status=$?
{immure} stop --force --rm "$s" || exit 1
exit $status"""


def denied_in(attack, site, wrap=(), session=False):
    harness.keep_facts(site)
    with prepared(attack, site) as (words, how):
        how["_wrap"] = [*how["_wrap"], *wrap]
        before = outside(site)
        argv = [site.immure, "run", *words.fill(attack.flags), "--"]
        if session:
            script = IN_A_SESSION.format(immure=site.immure, flags=shlex.join(words.fill(attack.flags)))
            argv = ["/bin/sh", "-c", script, "sh"]
        argv += act(attack, site, words, "sandbox")
        result = start(site, how, argv)
        after = outside(site)
    assert result.code != 0 and not result.out.startswith(b"done"), f"ESCAPE: {result}"
    assert before == after, f"changed outside: {[k for k in before if before[k] != after[k]]}"
    return result


def judge(attack, result, mode):
    if result.code == NOT_APPLICABLE:
        pytest.skip(result.text.strip())
    if result.code == REFUSED and attack.name in MAY_REFUSE:
        return
    if attack.name.startswith("bomb_"):
        # Killed is an answer as well. So is a refusal where root is not bound by
        # the only limit there is.
        refused = result.code == REFUSED and mode == "nocgroup" and "--processes" in attack.flags
        assert refused or result.code not in (UNSAFE, REFUSED), result
        return
    assert result.code == DENIED, result
    if attack.errno:
        assert result.text.split()[1] in attack.errno, result


def modes_of(attack):
    if os.geteuid() != 0:
        return ["caller"]
    return attack.modes or ("root", "user", "nocgroup", "enosys", "bwrap", "bwrap-user")


PAIRS = [pytest.param(mode, attack, id=f"{attack.name}-{mode}")
         for mode in harness.MODES for attack in ATTACKS if mode in modes_of(attack)]
if os.geteuid() != 0:
    PAIRS = [pytest.param("caller" if "user" in (attack.modes or ("user",)) else "root", attack,
                          id=attack.name) for attack in ATTACKS]


@pytest.mark.parametrize("mode,attack", PAIRS, indirect=["mode"])
def test_denied(attack, site):
    # Anybody may run the suite, and is an ordinary user then.
    weak = attack.weak.get({"caller": "user"}.get(site.mode.name, site.mode.name))
    if weak:
        with pytest.raises(AssertionError, match="ESCAPE"):
            denied_in(attack, site)
        pytest.xfail(weak)
    judge(attack, denied_in(attack, site), site.mode.name)


# Other ways to be sealed in must hold as well: a sample of every family.
VARIANTS = [("--identity", "root"), ("--identity", "nobody"), ("--profile", "strict"),
            ("--profile", "ci"), ("--profile", "readonly"), ("--net", "host"),
            ("--syscalls", "strict"), ("--home", "empty"), ("--workspace-mode", "ro"),
            ("--id-range", "subid", "--identity", "root"), ("--sensitive", "false"),
            ("--protected", "false"), ("--output", "1M"), ("--bind", "{ws}:/again:rw"),
            ("--workspace-target", "/workspace"), ("--backend", "native")]
SAMPLE = ["path.open-masked", "path.open-wsmasked", "path.open-file", "path.chmod-readonly",
          "path.fd_reopen_write-readonly", "path.rename_exchange-wsmasked", "rename_parent_read",
          "umount_mask", "remount_rw", "mount_tmpfs", "chroot_walk", "mknod_char",
          "open_write:/proc/sys/kernel/core_pattern", "open_read:/dev/loop-control",
          "open_write:/proc/sysrq-trigger", "process.attach-init", "process.mem-init",
          "process.kill-host", "process.find", "socket_alg", "socket_vsock", "abstract",
          "sysv_shm", "request_key", "runtime_bus", "workspace_socket", "kernel.unshare_user",
          "kernel.clone3_newuser", "kernel.io_uring_setup", "kernel.bpf", "kernel.tiocsti_high_bits",
          "kernel.int80_unshare", "setuid", "setgroups", "capset", "any_capability", "new_privs",
          "cgroup_move_pids_tasks", "cgroup_move_unified_cgroup.procs", "environment_of_others", "descriptors", "cwd"]
BY_NAME = {a.name: a for a in ATTACKS}


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: "-".join(v).replace("--", ""))
@pytest.mark.parametrize("name", SAMPLE)
def test_denied_in_variant(name, variant, site):
    attack = dataclasses.replace(BY_NAME[name], flags=(*BY_NAME[name].flags, *variant))
    result = denied_in(attack, site)
    if result.code == REFUSED and "subid" in variant:
        return  # this account has no ranges, or nobody maps them here
    judge(attack, result, site.mode.name)


# ---- without namespaces ------------------------------------------------------

BARE = (*harness.BARE, "--downgrade", "file_create")


OUTSIDE = ("--deny", "{deny}", "--deny", "{priv}/secret.txt")
NEEDS_A_LINK = {"path.symlink_read", "path.symlink_chain", "path.symlink_write", "fs.symlink_race",
                "fs.symlink_race_write"}
CANNOT_BEGIN = ("broken: symlink: Permission denied", "broken: socket: Operation not permitted",
                "broken: pty: Permission denied", "broken: shm_open: Permission denied",
                "broken: link: ")


def in_a_pid_namespace(site):
    """The attacks run nowhere else, and this backend makes none."""
    user = [] if site.uid == 0 else ["-U", "--map-current-user"]
    return ["unshare", *user, "-pfm", "--mount-proc", "--propagation", "private"]


def bare_modes(attack):
    if "--bind" in attack.flags:
        return []  # a mount, which that backend has not
    return [m for m in modes_of(attack) if m in ("root", "user")]


BARE_PAIRS = [pytest.param(mode, attack, id=f"{attack.name}-{mode}")
              for mode in ("root", "user") for attack in ATTACKS if mode in bare_modes(attack)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be this caller")
@pytest.mark.parametrize("mode,attack", BARE_PAIRS, indirect=["mode"])
def test_denied_without_namespaces(attack, site):
    deny_without_namespaces(attack, site, False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be this caller")
@pytest.mark.parametrize("mode,attack", [p for p in BARE_PAIRS if p.values[0] == "user"], indirect=["mode"])
def test_denied_in_a_session_without_namespaces(attack, site):
    deny_without_namespaces(attack, site, True)


def deny_without_namespaces(attack, site, session):
    lost = table.lost_without_namespaces(attack, site.uid == 0) or \
        attack.weak.get("nocgroup" if site.uid == 0 else "user")
    flags = attack.flags
    if attack.act in NEEDS_A_LINK and "{ws}" not in attack.args[0]:
        # Where something in the workspace is denied no link can be made in it.
        flags = [word for word in OUTSIDE if flags]
    attack = dataclasses.replace(attack, flags=(*flags, *BARE))
    wrap = in_a_pid_namespace(site)
    if lost and not attack.weak:
        # Named by the capability report and approved above; tried all the same.
        with pytest.raises(AssertionError, match="ESCAPE"):
            denied_in(attack, site, wrap, session)
        pytest.xfail(lost)
    try:
        result = denied_in(attack, site, wrap, session)
    except AssertionError:
        if lost:
            pytest.xfail(lost)
        raise
    # What the attack needs first was refused already: a link beside what is denied, a
    # socket, a terminal, a limit that would not hold.
    if result.code == BROKEN and any(why in result.text for why in CANNOT_BEGIN):
        return
    if result.code == REFUSED and "limits.disk" in result.errors:
        return
    judge(attack, result, site.mode.name)


@pytest.fixture
def plain_site(base, bin_dir):
    """A site that needs no immure: controls run without it."""
    mode = harness.Mode("control", "root") if os.geteuid() == 0 else \
        harness.Mode("control", pwd.getpwuid(os.geteuid()).pw_name)
    path = base / f"site-{os.urandom(4).hex()}"
    site = harness.Site(path, mode, bin_dir, None)
    yield site
    harness.discard(path)


def possible(attack):
    return not isinstance(attack.control, str)


@pytest.mark.parametrize("attack", [a for a in ATTACKS if possible(a)], ids=lambda a: a.name)
def test_control(attack, plain_site):
    site = plain_site
    if (attack.root_control or attack.modes == ("root",)) and os.geteuid() != 0:
        pytest.skip("the control needs root outside")
    switches = [s for s in attack.control if s != "kernel"]
    with prepared(attack, site) as (words, how):
        argv = act(attack, site, words, "control")
        if attack.act == "process.find":
            # Before its exec it has the command line of the shell, which is passed over.
            argv = ["/bin/sh", "-c", f"/bin/sleep {words['victim_word']} & "
                    "while [ \"$(cat /proc/$!/comm)\" != sleep ]; do :; done; exec \"$@\"", "sh", *argv]
        result = start(site, how, [site.bin / "scratch", *words.fill(switches), "--", *argv])
    if result.code == DENIED and ("kernel" in attack.control or attack.act.startswith("fs.open")) \
            and result.text.split()[1] in NOT_BUILT:
        pytest.skip(f"this kernel has no such thing: {result.text.strip()}")
    if result.code == NOT_APPLICABLE:
        pytest.skip(result.text.strip())
    assert result.code == 0, f"the control must succeed: {result}"


def test_refuses_initial_namespace(bin_dir, tmp_path):
    if os.readlink("/proc/self/ns/pid") != "pid:[4026531836]":
        pytest.skip("this is not the initial pid namespace")
    # Harmless ones, should the program be wrong about where it is.
    for argv in (["kernel.number_high"], ["path.open", "/etc/hostname"], ["no.such"]):
        done = subprocess.run([PROGRAM, *argv], capture_output=True, cwd=tmp_path)
        assert done.returncode == UNSAFE, argv


def test_ninety_with_controls():
    with_control = [a for a in ATTACKS if possible(a) and "kernel" not in a.control]
    assert len(with_control) >= 90
    assert all(a.control.startswith("none: ") for a in ATTACKS if not possible(a))
