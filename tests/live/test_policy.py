# SPDX-License-Identifier: Apache-2.0
"""Where policies come from, what they may say, and that each flag does something."""

import json
import os
import pathlib
import socket
import subprocess

import pytest

import harness


def policy(site, text, name=".immure/policy.json"):
    return site.put(name, text if isinstance(text, str) else json.dumps(text), 0o644)


def refused(site, *flags, **kw):
    result = site.sh("echo ran > mark", flags=list(flags), **kw)
    assert result.code == 125 and not (site.ws / "mark").exists(), result
    assert result.errors.startswith("immure: ") and result.errors.count("\n") == 1, result
    return result.errors


# ---- environment -------------------------------------------------------------

CONTROLS = ["LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "GLIBC_TUNABLES", "MALLOC_CHECK_", "BASH_ENV",
            "ENV", "NODE_OPTIONS", "PYTHONSTARTUP", "PYTHONPATH", "PERL5OPT", "GIT_CONFIG_COUNT",
            "GIT_SSH_COMMAND", "DYLD_INSERT_LIBRARIES", "RUBYOPT", "JAVA_TOOL_OPTIONS", "IMMURE_POLICY_X",
            "SSH_AUTH_SOCK", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "DBUS_SESSION_BUS_ADDRESS",
            "XDG_RUNTIME_DIR", "DISPLAY", "WAYLAND_DISPLAY"]


# Secrets and addresses: nothing obeys them, so a policy may name them.
PASSABLE = {"AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR",
            "DISPLAY", "WAYLAND_DISPLAY"}


def test_environment_is_a_safe_list(site):
    env = {name: "/canary" for name in CONTROLS}
    result = site.run("/usr/bin/env", env=env)
    assert result.code == 0, result
    names = {line.split("=")[0] for line in result.text.splitlines()}
    assert names & set(CONTROLS) == set()
    assert {"PATH", "HOME", "LANG", "TERM"} <= names


def test_controls_pass_only_when_set(site):
    # Prefixes that cover them: what is harmless passes, what controls does not.
    prefixes = sorted({name[0] + "*" for name in CONTROLS})
    env = {name: "/canary" for name in CONTROLS if name not in PASSABLE}
    flags = [word for prefix in prefixes for word in ("--pass", prefix)]
    result = site.run("/usr/bin/env", flags=flags, env={**env, "LD": "1", "PYTHON_MINE": "2"})
    lines = result.text.splitlines()
    assert result.code == 0 and "LD=1" in lines and "PYTHON_MINE=2" in lines, result
    assert "canary" not in result.text
    for name in ("LD_PRELOAD", "LD_*", "*"):
        assert site.run("/usr/bin/env", flags=["--pass", name]).code == 125
    result = site.run("/usr/bin/env", flags=["--env", "PYTHONSTARTUP=/mine"])
    assert "PYTHONSTARTUP=/mine" in result.text.splitlines(), result


def test_pass_and_env_flags(site):
    result = site.run("/usr/bin/env", flags=["--pass", "ONE", "--env", "TWO=2 x=y"],
                      env={"ONE": "1", "THREE": "3"})
    lines = result.text.splitlines()
    assert "ONE=1" in lines and "TWO=2 x=y" in lines and not any("THREE" in l for l in lines)


def test_no_canary_in_any_proc(site):
    """Nor in init's environment, nor in its memory's first pages."""
    word = "canary" + os.urandom(8).hex()
    result = site.sh("cat /proc/*/environ /proc/*/cmdline /proc/self/environ 2>/dev/null | "
                     "tr '\\0' '\\n'", env={"PLANTED": word})
    assert word not in result.text


# ---- discovery -----------------------------------------------------------------


def test_workspace_policy_may_tighten(site):
    policy(site, {"files": {"deny": [str(site.out)]}})
    result = site.run("/bin/ls", site.out)
    assert result.code != 0 and b"ro.txt" not in result.out, result


@pytest.mark.parametrize("text", [
    {"network": {"mode": "host"}}, {"files": {"write": ["/var"]}}, {"files": {"sensitive": False}},
    {"files": {"protected": False}}, {"environment": {"pass": ["AWS_SECRET_ACCESS_KEY"]}},
    {"files": {"read": ["~/.ssh"]}}, {"identity": "root"}, {"workspace": {"path": "/"}},
    {"extends": "agent-claude"}, {"environment": {"set": {"LD_PRELOAD": "/x"}}},
    {"files": {"tmp": []}}, {"files": {"+created": [".git/hooks/pre-commit"]}}, {"backend": "landlock"},
    {"require": {"downgrade": "allow"}}, {"syscalls": "/tmp/filter"},
])
def test_workspace_policy_may_not_loosen(site, text):
    policy(site, text)
    refused(site)


def test_trust_is_by_content(site):
    path = policy(site, {"files": {"sensitive": False}})
    refused(site)
    done = site.call(site.immure, "policy", "trust", path)
    assert done.code == 0, done
    assert site.run("/bin/true").code == 0
    path.write_text(json.dumps({"files": {"sensitive": False}, "network": {"mode": "host"}}))
    refused(site)


def test_trust_cannot_be_given_from_inside(site):
    path = policy(site, {"files": {"sensitive": False}})
    site.run(site.immure, "policy", "trust", path, flags=["--no-policy"])
    refused(site)


def test_policy_files_are_not_writable_inside(site):
    path = policy(site, {"limits": {"memory": "512M"}})
    before = path.read_bytes()
    for script in (f"echo '{{}}' > {path}", f"rm -f {path}", "mv .immure other",
                   "rm -rf .immure; mkdir .immure; echo '{}' > .immure/policy.json"):
        site.sh(script)
        assert path.read_bytes() == before, script


def test_policy_above_the_workspace_is_not_writable(site):
    path = site.path / ".immure/policy.json"
    path.parent.mkdir()
    path.write_text("{}")
    site.own(path.parent)
    site.sh(f"echo x > {path}; rm -rf {path.parent}", flags=["--write", site.path])
    assert path.read_text() == "{}"


@pytest.mark.parametrize("text", [
    "", "{", "[]", "null", "{} {}", '{"a": 1}', '{"limits": {"memory": 5}, "limits": {}}',
    '{"limits": {"memory": 0}}', '{"files": {"deny": "x"}}', '{"files": {"deny": [""]}}',
    '{"files": {"deny": [1]}}', '{"network": {"mode": "LIMITED"}}', '{"identity": "0"}',
    '{"files": {"deny": ["a\\u0000b"]}}', '{"limits": {"processes": 1e3}}', "\xff\xfe",
    '{"limits": {"processes": 99999999999999999999}}', '{"extends": "no-such"}',
    '{"extends": "policy.json"}', '{"environment": {"set": {"A=B": "x"}}}', '{"secrets": {"a": {}}}',
    '{"network": {"allow": ["exa mple.com"]}}', '{"network": {"allow": ["a\\u0000.google.com"]}}',
])
def test_bad_policy_is_an_error(site, text):
    policy(site, text)
    refused(site)
    assert site.call(site.immure, "policy", "check", ".immure/policy.json").code != 0


def test_unreadable_policy_is_an_error(site):
    path = policy(site, "{}")
    if site.uid == 0:
        path.unlink()
        path.mkdir()
    else:
        path.chmod(0)
    refused(site)


def test_policy_symlink_out_of_the_tree_is_an_error(site):
    (site.out / "policy.json").write_text("{}")
    (site.ws / ".immure").mkdir()
    os.symlink(site.out / "policy.json", site.ws / ".immure/policy.json")
    site.own(site.ws)
    refused(site)


def test_policy_writable_by_others_is_an_error(site):
    path = policy(site, "{}")
    path.chmod(0o666)
    refused(site)
    path.chmod(0o644)
    path.parent.chmod(0o777)
    refused(site)


def test_policy_of_somebody_else_is_an_error(site):
    if os.geteuid() != 0:
        pytest.skip("needs a second user")
    path = policy(site, "{}")
    other = 12345
    os.chown(path, other, other)
    refused(site)


def test_explicit_policy(site):
    path = policy(site, {"files": {"deny": [str(site.out)]}}, "given.json")
    assert site.run("/bin/ls", site.out, flags=["--policy", path]).code != 0
    assert site.run("/bin/ls", site.out, env={"IMMURE_POLICY": str(path)}).code != 0
    refused(site, "--policy", site.ws / "absent.json")
    refused(site, env={"IMMURE_POLICY": str(site.ws / "absent.json")})


def test_broken_policy_is_not_skipped_for_the_next(site):
    policy(site, "{ broken")
    refused(site, "--memory", "512M")
    assert site.run("/bin/true", flags=["--no-policy"]).code == 0


def test_discovery_goes_upward(site):
    policy(site, {"files": {"deny": [str(site.out)]}})
    result = site.run("/bin/ls", site.out, cwd=site.ws / "sub")
    assert result.code != 0 and b"ro.txt" not in result.out, result


# ---- network, as far as there is any -----------------------------------------------


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


REACH = "import socket,sys\ntry:\n socket.create_connection(('127.0.0.1', int(sys.argv[1])), 2)\n" \
        " print('reached')\nexcept OSError as e: print('denied', e.errno)\n"


@pytest.mark.parametrize("text", [
    None, {}, {"network": {}}, {"network": {"mode": "none"}}, {"network": {"allow": []}},
    {"network": {"mode": "none", "allow": []}}, {"network": {"allow": None}},
    {"network": {"mode": "limited", "allow": []}}, {"network": {"mode": "limited"}},
    {"network": {"mode": "limited", "allow": None}}, {"network": {"mode": None}},
    {"network": None}, {"network": {"mode": "limited", "allow": ["127.0.0.1:1"]}},
    {"network": {"alow": ["x"]}},
])
def test_empty_lists_allow_nothing(site, listener, text):
    flags = ["--no-policy"]
    if text is not None:
        flags = ["--policy", policy(site, text, "net.json")]
    result = site.run("/usr/bin/python3", "-c", REACH, str(listener), flags=flags)
    assert b"reached" not in result.out, result
    assert result.code == 125 or result.out.startswith(b"denied"), result


def test_host_network_when_asked(site, listener):
    result = site.run("/usr/bin/python3", "-c", REACH, str(listener), flags=["--net", "host"])
    assert result.text == "reached\n", result


def test_loopback_works_inside(site):
    script = "import socket\ns=socket.create_server(('127.0.0.1',0))\n" \
             "c=socket.create_connection(s.getsockname());a,_=s.accept();c.send(b'x');print(a.recv(1))"
    assert site.python(script).text == "b'x'\n"


# ---- gaps -------------------------------------------------------------------------


@pytest.mark.parametrize("flags,text", [
    (["--net", "limited", "--allow", "https://a.example/x", "--backend", "landlock"], None),
    (["--workspace-mode", "cow", "--backend", "landlock"], None),
    (["--image", "debian:12", "--view", "image"], None), (["--backend", "microvm"], None),
    (["--backend", "firecracker"], None), (["--backend", "seatbelt"], None),
    (["--require-class", "lightweight_vm"], None), (["--require-class", "remote_sandbox"], None),
    ([], {"secrets": {"a": {"from": "env:A", "to": ["x.org"]}}}),
    (["--net", "limited", "--allow", "https://a.example/x", "--backend", "landlock", "--downgrade",
      "network.allow", "--origin", "remote"], None),
    (["--net", "limited"], {"secrets": {"a": {"from": "fd:3", "to": ["x.org"]}}}),
    (["--net", "limited"], {"secrets": {"a": {"from": "env:A", "to": ["x.org"], "as": "query:key"}}}),
])
def test_gaps_refuse(site, flags, text):
    if text:
        flags = [*flags, "--policy", policy(site, text, "gap.json")]
    refused(site, *flags)
    plan = site.call(site.immure, "plan", "--json", *flags, "--", "/bin/true")
    assert plan.out, plan
    json.loads(plan.out)


def test_missing_helpers_do_not_weaken(site):
    """Nothing that the launcher needs is looked for in PATH."""
    for path in ("", "/nonexistent", str(site.ws)):
        for name in ("newuidmap", "newgidmap", "bwrap", "ip", "mount", "immure-full"):
            site.put(name, f"#!/bin/sh\ntouch {site.ws}/hijacked\n", 0o755)
        result = site.run("/bin/sh", "-c", f"echo x > {site.out}/ro.txt; cat /proc/self/uid_map",
                          env={"PATH": path})
        assert (site.out / "ro.txt").read_bytes() == b"OUTSIDE\n"
        assert not (site.ws / "hijacked").exists()


@pytest.mark.modes("user")
def test_without_user_namespaces_it_refuses_or_holds(site):
    result = site.sh(f"echo ran > mark; echo x > {site.out}/ro.txt; cat {site.deny}/secret",
                     flags=["--deny", site.deny], without="userns")
    assert (site.out / "ro.txt").read_bytes() == b"OUTSIDE\n" and harness.SECRET not in result.out
    if result.code == 125:
        assert not (site.ws / "mark").exists()


# ---- plan, doctor, prove ------------------------------------------------------------


def test_plan_is_the_same_bytes(site):
    argv = [site.immure, "plan", "--json", "--deny", site.deny, "--memory", "64M", "--", "/bin/true"]
    one, two = site.call(*argv), site.call(*argv)
    assert one.code == 0, one
    assert one.out == two.out
    plan = json.loads(one.out)
    assert plan["policy_version"].startswith("policy-") and len(plan["policy_version"]) == 7 + 24
    other = site.call(*argv[:-1], "/bin/false")
    assert other.out != one.out


def test_plan_starts_nothing_and_changes_nothing(site):
    before = harness.tree_hash(site.path)
    assert site.call(site.immure, "plan", "--", "/bin/sh", "-c", "echo x > mark").code == 0
    assert harness.tree_hash(site.path) == before


def test_every_operation_names_its_cause(site):
    text = site.call(site.immure, "plan", "--json", "--deny", site.deny, "--", "/bin/true").text
    plan = json.loads(text)
    operations = plan.get("operations") or plan.get("ops")
    assert operations and all(op.get("key") for op in operations)
    assert any(op["key"] == "files.deny" for op in operations)


def test_record_and_plan_agree(site):
    plan = json.loads(site.call(site.immure, "plan", "--json", "--", "/bin/true").text)
    record = site.run("/bin/true", record=True).record
    assert record["policy_version"] == plan["policy_version"]
    assert record["plan_hash"] == plan.get("hash", plan.get("plan_hash"))


def test_record_of_a_refusal(site):
    record = site.run("/bin/true", flags=["--require-class", "lightweight_vm"], record=True).record
    assert record["outcome"] == "refused" and record["error"]["text"]


def test_doctor(site):
    result = site.call(site.immure, "doctor", "--json")
    assert result.code == 0, result
    report = json.loads(result.out)
    assert "native" in json.dumps(report)
    text = site.call(site.immure, "doctor")
    assert text.code == 0 and "native" in text.text
    assert b"\x1b[" not in text.out, "colours although this is no terminal"


def test_prove(site):
    result = site.call(site.immure, "prove", "--json", timeout=120)
    assert result.code == 0, result
    proof = json.loads(result.out)
    points = proof["points"]
    assert len(points) >= 45
    for point in points:
        assert point.get("id") or point.get("name")


def test_run_prove(site):
    result = site.sh("echo ran", flags=["--prove"], record=True, timeout=120)
    assert result.code == 0 and result.out == b"ran\n", result
    assert result.record["proof"]


def test_schema_is_json(site):
    result = site.call(site.immure, "policy", "schema")
    assert result.code == 0 and "properties" in json.loads(result.out), result


def test_show_says_where_from(site):
    result = site.call(site.immure, "policy", "show", "--profile", "strict")
    assert result.code == 0 and "strict" in result.text, result


# ---- identity ----------------------------------------------------------------------------


@pytest.mark.parametrize("who,uid", [("caller", None), ("root", 0), ("nobody", 65534)])
def test_identity(site, who, uid):
    result = site.sh("id -u; echo x > made", flags=["--identity", who])
    assert result.text.strip() == str(site.uid if uid is None else uid), result
    if who != "nobody" or site.uid != 0:
        assert (site.ws / "made").stat().st_uid == site.uid
    else:  # root's nobody is nobody outside as well
        assert not (site.ws / "made").exists()
    status = site.sh("grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status", flags=["--identity", who])
    for line in status.text.splitlines():
        name, value = line.split()
        if name.startswith("Cap"):
            assert int(value, 16) == 0, line
        else:
            assert value == {"NoNewPrivs:": "1", "Seccomp:": "2"}[name], line


def test_groups_are_not_the_callers(site):
    result = site.sh("cat /proc/self/status | grep Groups")
    assert set(result.text.split()[1:]) <= {str(site.gid), "65534"}, result


def test_hostname_is_not_the_hosts(site):
    assert site.sh("hostname || cat /proc/sys/kernel/hostname").text.strip() != socket.gethostname()


# ---- what one is in ----------------------------------------------------------


@pytest.mark.modes("root", "user", "bwrap")
@pytest.mark.parametrize("flags,words", [
    ([], ["writes {ws}, ", "private areas", "reads the host's files but for", "no network"]),
    (["--profile", "strict"], ["reads system directories", "writes {ws}"]),
    (["--workspace-mode", "ro"], ["writes nothing of the host"]),
    (["--workspace-target", "/w", "--bind", "{out}:/o:rw"], ["writes /o, /w", "reads the host's files"]),
    (["--net", "host", "--memory", "512M", "--timeout", "10m"],
     ["network: the host's", "memory 512M", "time 10m"]),
])
def test_disclosure(site, flags, words):
    fill = [w.format(ws=site.ws, out=site.out) for w in flags]
    result = site.run("/bin/echo", "out", flags=["--disclose", *fill])
    assert result.code == 0 and result.out == b"out\n", result
    lines = [line for line in result.errors.splitlines() if "policy-" in line]
    assert len(lines) == 1, result
    for word in words:
        assert word.format(ws=site.ws) in lines[0]
    assert "policy-" not in site.run("/bin/true", flags=fill).errors
