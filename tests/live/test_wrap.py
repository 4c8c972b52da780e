# SPDX-License-Identifier: Apache-2.0
"""wrap: arguments that carry the policy with them, and this program in the
place of a shell. What starts them is a harness that knows nothing of immure."""

import json
import os
import shutil
import subprocess
import sys

import pytest

NOTHING_RAN = 125


def wrap(site, *words, **kw):
    """The words, from --format nul."""
    result = site.call(site.immure, "wrap", "--format", "nul", *words, **kw)
    assert (result.code, result.err) == (0, b""), result
    return result.out.split(b"\0")[:-1]


def bare(site, argv, **kw):
    """As a harness that clears the environment and is somewhere else."""
    return site.call("/usr/bin/env", "-i", *argv, cwd="/", **kw)


@pytest.fixture
def as_shell(site):
    def link(name):
        path = site.path / name
        path.symlink_to(site.immure)
        return path
    return link


ODD = ["a b", "it's", '"', "$HOME `id` \\", "new\nline", "", "-x", "é", "*"]


def test_formats_say_the_same(site):
    script = ["/usr/bin/python3", "-c", "import sys, json; print(json.dumps(sys.argv[1:]))", *ODD]
    words = [w.decode() for w in wrap(site, "--", *script)]
    answer = json.loads(site.call(site.immure, "wrap", "--json", "--", *script).out)
    line = site.call(site.immure, "wrap", "--", *script).out.decode()
    assert answer["argv"] == words and answer["env"] == []
    assert answer["policy_version"] in words
    for argv in (words, ["/bin/sh", "-c", line]):
        result = bare(site, argv)
        assert json.loads(result.out) == ODD, result


def test_bytes_that_are_no_text(site):
    words = wrap(site, "--", "/bin/echo", b"\xff'\xfe")
    assert bare(site, words).out == b"\xff'\xfe\n"
    line = site.call(site.immure, "wrap", "--", "/bin/echo", b"\xff'\xfe").out
    assert bare(site, [b"/bin/sh", b"-c", line]).out == b"\xff'\xfe\n"


def test_prefix_without_a_command(site):
    assert bare(site, wrap(site) + [b"/bin/echo", b"in"]).out == b"in\n"


@pytest.mark.parametrize("flags, where", [([], "."), (["--cwd", "sub"], "sub"), (["--cwd", "."], ".")])
def test_directory_of_the_call(site, flags, where):
    """A parent's directory does not survive the way in: each call names its own."""
    assert bare(site, wrap(site, *flags, "--", "pwd")).out.decode() == f"{site.ws / where}\n" \
        .replace("/.", "")


@pytest.mark.parametrize("cwd", ["/nowhere", "../out", "/proc/1/root"])
def test_directory_that_is_none(site, cwd):
    result = bare(site, wrap(site, "--cwd", cwd, "--", "pwd"))
    assert result.code in (125, 126, 127) and result.out == b"", result


def test_environment_of_the_call_wins(site):
    words = wrap(site, "--pass", "MINE", "--env", "MINE=given", "--", "sh", "-c", 'echo "$MINE"')
    assert bare(site, words).out == b"given\n"
    assert bare(site, ["MINE=callers", *words]).out == b"given\n"


def test_policy_is_carried_and_nothing_else_decides(site):
    file = site.path / "p.json"
    file.write_text(json.dumps({"files": {"deny": [str(site.out)]}, "extends": "readonly"}))
    site.own(file)
    words = wrap(site, "--policy", file, "--", "sh", "-c", f"cat {site.out}/ro.txt; : > x")
    wide = site.put(".immure/policy.json", '{"network": {"mode": "host"}}')
    file.unlink()
    result = bare(site, [f"IMMURE_POLICY={wide}", f"HOME={site.home}", *words])
    assert result.out == b"" and result.code != 0 and b"denied" in result.err, result
    assert not (site.ws / "x").exists()


def test_file_that_the_policy_came_from_stays_protected(site):
    file = site.put("conf/p.json", "{}")
    words = wrap(site, "--policy", file, "--", "sh", "-c", "echo > conf/p.json")
    assert bare(site, words).code != 0
    assert file.read_text() == "{}"


@pytest.mark.parametrize("change", ["drop", "add", "profile"])
def test_other_policy_than_the_one_that_was_seen(site, change):
    words = wrap(site, "--deny", str(site.out), "--", "cat", str(site.out / "ro.txt"))
    at = words.index(b"--set")
    if change == "drop":
        del words[at:at + 2]
    elif change == "add":
        words[at:at] = [b"--net", b"host"]
    else:
        words[words.index(b"dev")] = b"ci"
    result = bare(site, words)
    assert (result.code, result.out) == (NOTHING_RAN, b""), result
    assert b"--policy-version: the policy is policy-" in result.err, result


def test_wrapping_twice_is_wrapping_once(site):
    once = wrap(site, "--memory", "1G", "--", "echo", "x")
    assert wrap(site, "--memory", "1G", "--", *once) == once
    assert wrap(site, "--memory", "2G", "--", *once).count(b"--policy-version") == 2


def test_wrapped_inside_wrapped_is_never_wider(site):
    """Where the inner one cannot be sealed in once more, it is refused."""
    inner = wrap(site, "--", "/bin/sh", "-c", f"echo ran; : > {site.out}/x; : > x")
    result = bare(site, wrap(site, "--workspace-mode", "ro", "--", *inner))
    assert not (site.out / "x").exists() and not (site.ws / "x").exists()
    assert result.code == NOTHING_RAN and b"ran" not in result.out or b"ran\n" in result.out, result


def test_quiet(site):
    words = wrap(site, "--quiet", "--", "sh", "-c", "echo > .envrc")
    assert bare(site, words).err == b""


def test_secrets_are_not_put_into_arguments(site):
    file = site.put("p.json", json.dumps({
        "network": {"mode": "limited"},
        "secrets": {"x": {"from": "env:X", "to": ["a.example"]}}}))
    result = site.call(site.immure, "wrap", "--policy", file, "--", "true")
    assert (result.code, result.out) == (NOTHING_RAN, b"") and b"secrets" in result.err, result


def test_workspace_that_is_a_link(site):
    (site.path / "link").symlink_to(site.ws)
    words = wrap(site, "--workspace", site.path / "link", "--", "sh", "-c", "pwd; : > made")
    result = bare(site, words)
    assert (result.code, result.out.decode()) == (0, f"{site.ws}\n"), result


def test_programs_in_the_workspace_stay_protected(site):
    """As `immure run` does it, although the version names the policy without that."""
    os.makedirs(site.ws / "bin")
    for name in ("immure", "immure-full"):
        shutil.copy(site.bin / name, site.ws / "bin" / name)
    site.own(site.ws / "bin")
    words = site.call(site.ws / "bin/immure", "wrap", "--format", "nul", "--", "sh", "-c",
                      "echo ran; rm -f bin/immure-full").out.split(b"\0")[:-1]
    result = bare(site, words)
    assert result.out == b"ran\n" and (site.ws / "bin/immure-full").exists(), result


# ---- into a session ----

@pytest.fixture
def session(site):
    made = site.call(site.immure, "create", "--deny", str(site.out))
    assert made.code == 0, made
    name = made.text.strip()
    yield name
    site.call(site.immure, "stop", name)
    site.call(site.immure, "rm", name)


def test_session(site, session):
    """A process more and no sandbox more: what one leaves in /tmp the next one finds."""
    prefix = wrap(site, "--session", session)
    assert bare(site, prefix + [b"sh", b"-c", b"echo one > /tmp/x; pwd"]).out.decode() == f"{site.ws}\n"
    assert bare(site, prefix + [b"cat", b"/tmp/x"]).out == b"one\n"
    denied = bare(site, prefix + [b"cat", str(site.out / "ro.txt").encode()])
    assert denied.code != 0 and denied.out == b"", denied
    assert bare(site, prefix + [b"sh", b"-c", b"exit 7"]).code == 7


def test_session_with_directory_and_environment(site, session):
    words = wrap(site, "--session", session, "--cwd", str(site.ws / "sub"), "--env", "A=b c", "--",
                 "sh", "-c", 'pwd; echo "$A"')
    assert bare(site, ["A=callers", *words]).out.decode() == f"{site.ws}/sub\nb c\n"
    assert wrap(site, "--session", session, "--", *wrap(site, "--session", session, "--", "x")) == \
        wrap(site, "--session", session, "--", "x")


def test_session_has_its_policy(site, session):
    for flags in (["--net", "host"], ["--profile", "ci"], ["--set", "files.deny=/x"], ["--no-policy"]):
        result = site.call(site.immure, "wrap", "--session", session, *flags, "--", "true")
        assert (result.code, result.out) == (NOTHING_RAN, b"") and b"session's" in result.err, result


def test_session_that_is_over(site, session):
    words = wrap(site, "--session", session, "--", "true")
    site.call(site.immure, "stop", session)
    result = bare(site, words)
    assert result.code == NOTHING_RAN and result.err.count(b"\n") == 1, result


# ---- in the place of a shell ----

SAY = 'echo "$SHELL" "$0" "$@"; : > made; : > %s/made'


@pytest.mark.parametrize("name, shell", [
    ("immure-sh", "/bin/sh"), ("immure-bash", "/bin/bash"), ("immure-dash", "/bin/dash")])
def test_under_the_name_of_a_shell(site, as_shell, name, shell):
    path = as_shell(name)
    result = site.call(path, "-c", SAY % site.out, "zero", "-x", "b c", env={"SHELL": str(path)})
    assert result.out.decode() == f"{shell} zero -x b c\n", result
    assert (site.ws / "made").exists() and not (site.out / "made").exists()


def test_script_file_and_status(site, as_shell):
    site.put("job.sh", "echo $1; exit 7\n")
    result = site.call(as_shell("immure-sh"), "job.sh", "arg")
    assert (result.code, result.out) == (7, b"arg\n"), result


def test_login_shell(site, as_shell):
    path = as_shell("immure-sh")
    (site.home / ".profile").write_text("echo profile\n")
    script = f"import os; os.execv({str(path)!r}, ['-immure-sh', '-c', 'echo done'])"
    result = site.call(sys.executable, "-c", script)
    assert result.out == b"profile\ndone\n", result


@pytest.mark.parametrize("argv", [["-c"], ["-ec"], ["-lc"], ["shell", "-c"], ["shell", "--", "-c"]],
                         ids=" ".join)
def test_dash_c(site, argv):
    result = site.call(site.immure, *argv, SAY % site.out, "zero", env={"SHELL": "/bin/dash"})
    assert result.out.decode().splitlines()[-1].split(" ", 1)[1] == "zero"
    assert not (site.out / "made").exists() and (site.ws / "made").exists(), result


def test_shell_variable_that_names_this_program(site, as_shell):
    """Else the shell would be looked for, and sealed in, once more inside."""
    for path in (as_shell("immure-bash"), site.immure):
        result = site.call(site.immure, "shell", "-c", 'echo "$SHELL"', env={"SHELL": str(path)})
        assert result.out == b"/bin/sh\n", result


def test_not_taken_for_a_shell(site):
    for word in ("-x", "-C", "--c", "-c-", "-V c"):
        assert site.call(site.immure, word, "true").code == NOTHING_RAN


def test_script_that_is_a_shell(site):
    made = site.call(site.immure, "wrap", "--format", "script", "--deny", str(site.out))
    script = site.put("tools/shell", made.out, mode=0o755)
    result = bare(site, [script, "-c", f'echo "$SHELL" "$1"; cat {site.out}/ro.txt', "x", "a b"])
    assert result.out == b"/bin/sh a b\n" and b"denied" in result.err, result


def makefile(site):
    site.put("Makefile", "all:\n\t@echo $(shell echo from $$0); pwd\n\t@: > %s/made\n" % site.out)


@pytest.mark.parametrize("how", ["name", "script", "flags", "path"])
def test_make(site, as_shell, how):
    makefile(site)
    argv = ["make", "-s"]
    if how == "name":
        argv.append(f"SHELL={as_shell('immure-sh')}")
    elif how == "script":
        made = site.call(site.immure, "wrap", "--format", "script").out
        argv.append(f"SHELL={site.put('../shell', made, mode=0o755)}")
    elif how == "flags":
        argv += [f"SHELL={site.immure}", ".SHELLFLAGS=run -- /bin/sh -c"]
    else:
        argv.append(f"SHELL={site.immure}")
    result = site.call(*argv)
    assert result.code == 2 and str(site.ws).encode() in result.out, result
    assert b"from " in result.out and not (site.out / "made").exists(), result


def test_python_subprocess(site, as_shell):
    script = (f"import subprocess; print(subprocess.run('echo $0; : > {site.out}/made', shell=True,"
              f" executable={str(as_shell('immure-sh'))!r}, capture_output=True).stdout)")
    result = site.call(sys.executable, "-c", script)
    assert result.out == b"b'/bin/sh\\n'\n" and not (site.out / "made").exists(), result


def test_git_ssh_command(site):
    """git puts the words through a shell and adds its own."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    fake = site.put("../bin/fake ssh", f'#!/bin/sh\necho "$@" >&2; : > {site.out}/made\n', mode=0o755)
    line = site.call(site.immure, "wrap", "--quiet", "--", fake).out.decode().strip()
    result = site.call("git", "-c", f"core.sshCommand={line}", "ls-remote", "ssh://h.example/x.git")
    assert b"h.example git-upload-pack '/x.git'" in result.err, result
    assert not (site.out / "made").exists()


def test_xargs_find_and_parallel_use(site):
    for n in range(4):
        site.put(f"f{n}", "")
    line = site.call(site.immure, "wrap", "--", "/bin/echo").out.decode().strip()
    result = site.call("/bin/sh", "-c", f"ls f? | xargs -n1 -P4 {line} | sort")
    assert result.out == b"f0\nf1\nf2\nf3\n", result
