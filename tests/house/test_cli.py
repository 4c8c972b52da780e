# SPDX-License-Identifier: Apache-2.0
"""The command line by itself: usage, messages, exit codes, closed descriptors."""
import json
import os
import shutil
import socket
import subprocess
import time

import pytest

CLOCK_REALTIME_COARSE = 5
NOTHING_RAN = 125


def one_line(r):
    assert r.err.startswith("immure: ") and r.err.count("\n") == 1 and r.err.endswith("\n"), r
    return r.err[len("immure: "):-1]


def test_version(program, run):
    r = run(program, "--version")
    assert (r.status, r.err) == (0, "")
    assert r.out.startswith("immure 0.")


@pytest.mark.parametrize("argv, said", [
    ([], "no command given"),
    (["rnu"], "did you mean 'run'?"),
    (["uname"], "immure run -- uname"),
    (["run"], "no command given"),
    (["run", "--"], "no command given"),
    (["run", "--memry", "1G", "--", "true"], "did you mean --memory?"),
    (["run", "--net", "some", "--", "true"], "'some' is not one of none, limited, host"),
    (["run", "--memory"], "--memory: needs"),
    (["run", "--nope", "--", "true"], "--nope: no such option; see --help"),
    (["ps", "x"], "ps: x: takes options only"),
    (["net"], "net: show, allow or deny? immure net show SESSION"),
    (["reclaim"], "reclaim: expected one ticket"),
    (["pool"], "pool: expected start, stats, stop or ls"),
    (["pool", "--json"], "pool: expected start, stats, stop or ls"),
    (["pool", "frob"], "pool: frob: expected start, stats, stop or ls"),
    (["snapshot"], "snapshot: expected create, ls, inspect or rm"),
    (["snapshot", "ls", "x"], "snapshot: ls takes no operand"),
    (["image"], "image: expected import, pull, ls, inspect, verify, rm or gc"),
    (["run", "--quiet=yes", "--", "true"], "takes no value"),
    (["run", "-Z", "--", "true"], "-Z: no such option"),
    (["run", "--profile", "no-such-profile", "--", "true"], "no-such-profile"),
    (["run", "--memory", "0", "--", "true"], "memory"),
    (["run", "--memory", "1X", "--", "true"], "memory"),
    (["run", "--timeout", "-1", "--", "true"], ""),
    (["shell", "--bogus"], "--bogus: no such option"),
    (["prove", "--bogus"], "--bogus: no such option"),
    (["help", "no-such"], "no-such"),
    (["wrap", "--format", "xml", "--", "true"], "'xml' is not one of shell, json, nul, script"),
    (["run", "--set", "files.deny", "--", "true"], "--set: expected KEY=VALUE"),
    (["run", "--set", "limits.memry=1G", "--", "true"], "did you mean \"limits.memory\"?"),
    (["run", "--set", "-limits.memory", "--", "true"], "nothing to empty"),
    (["run", "--policy-version", "policy-0", "--", "true"], "the policy is policy-"),
    (["run", "--result", "/no/such/directory/x", "--", "true"], "No such file"),
    (["run", "--result", "-", "--", "true"], "not the name of a file"),
    (["run", "--result", "/tmp/", "--", "true"], "not the name of a file"),
])
def test_usage_errors(program, run, argv, said):
    r = run(program, *argv)
    assert r.status == NOTHING_RAN
    assert r.out == ""
    assert said in one_line(r)


def test_messages_are_escaped(program, run):
    r = run(program, b"\x1b[31mred\n\xff\xe2\x80\xae")
    assert r.status == NOTHING_RAN
    assert one_line(r).startswith("\\x1b[31mred\\x0a\\xff\\u{202e}: no such command")


@pytest.mark.parametrize("command", ["run", "shell", "prove", "plan", "doctor", "policy", "wrap"])
def test_help_of_each_command(program, run, command):
    by_flag = run(program, command, "--help")
    by_word = run(program, "help", command)
    assert by_flag.status == 0 and by_flag.err == ""
    assert by_flag.out.startswith("usage: immure %s" % command)
    assert by_flag.out == by_word.out
    assert max(len(line) for line in by_flag.out.splitlines()) <= 100


def test_help_lists_commands(program, run):
    r = run(program, "help")
    assert r.status == 0
    assert run(program, "--help").out == r.out
    for command in ("run", "shell", "wrap", "plan", "prove", "doctor", "policy"):
        assert "\n  %s " % command in r.out


def test_output_that_cannot_be_written(program, run):
    with open("/dev/full", "wb") as device:
        done = subprocess.run([program, "help"], stdin=subprocess.DEVNULL, stdout=device,
                              stderr=subprocess.PIPE, check=False)
    assert done.returncode == NOTHING_RAN
    assert b"standard output: No space left" in done.stderr


@pytest.mark.parametrize("closed", [[0], [1], [2], [0, 1, 2]])
def test_closed_descriptors(program, closed, tmp_path):
    """What is opened later must not become somebody's standard output."""
    probe = tmp_path / "closed"
    done = subprocess.run(
        ["bash", "-c", " ".join(["exec"] + ["%d%s&-" % (fd, "<" if fd == 0 else ">")
                                            for fd in closed]) +
         '; "$0" run --no-policy --workspace "$1" -- sh -c "readlink /proc/self/fd/0 '
         '/proc/self/fd/1 /proc/self/fd/2 > $2; exit 7"', program, tmp_path, probe],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        timeout=60, check=False)
    assert done.returncode == 7
    assert probe.exists()


# ---- the launcher and the full program ----

@pytest.fixture
def lean(build):
    if not (build / "lean/src/cli/immure").exists():
        pytest.skip("there is no lean build: musl-gcc is missing, or this is a sanitizer build")
    return build / "lean/src/cli/immure"


def test_launcher_alone(lean, run, tmp_path):
    """Without the full program beside it, what needs that is refused."""
    shutil.copy(lean, tmp_path / "immure")
    r = run(tmp_path / "immure", "doctor")
    assert r.status == NOTHING_RAN
    assert "immure-full: not found" in one_line(r) or r.status == 0


def test_launcher_in_the_place_of_the_full_program(lean, run, tmp_path):
    shutil.copy(lean, tmp_path / "immure")
    shutil.copy(lean, tmp_path / "immure-full")
    r = run(tmp_path / "immure", "doctor")
    assert r.status == NOTHING_RAN
    assert "is the lean program" in one_line(r)


def test_launcher_linked_to_itself(lean, run, tmp_path):
    shutil.copy(lean, tmp_path / "immure")
    os.symlink("immure", tmp_path / "immure-full")
    r = run(tmp_path / "immure", "doctor")
    assert r.status == NOTHING_RAN
    assert "immure-full" in one_line(r)


def test_full_program_is_not_looked_for_in_path(lean, run, tmp_path):
    shutil.copy(lean, tmp_path / "immure")
    (tmp_path / "elsewhere").mkdir()
    fake = tmp_path / "elsewhere/immure-full"
    fake.write_text("#!/bin/sh\necho fooled\n")
    fake.chmod(0o755)
    r = run(tmp_path / "immure", "doctor", cwd=tmp_path / "elsewhere",
            env={"PATH": "%s:/usr/bin:/bin" % (tmp_path / "elsewhere")})
    assert "fooled" not in r.out


def test_full_program_beside_or_in_libexec(lean, run, tmp_path):
    for where in ("bin", "libexec/immure"):
        top = tmp_path / where.replace("/", "-")
        (top / "bin").mkdir(parents=True)
        (top / where).mkdir(parents=True, exist_ok=True)
        shutil.copy(lean, top / "bin/immure")
        fake = top / where / "immure-full"
        fake.write_text('#!/bin/sh\necho "full: $*"\n')
        fake.chmod(0o755)
        assert run(top / "bin/immure", "doctor", "--json").out == "full: doctor --json\n"


# ---- the record ----

def test_record_of_a_refusal(program, run, tmp_path):
    record = tmp_path / "record.json"
    record.write_text("old")
    r = run(program, "run", "--no-policy", "--workspace", tmp_path, "--profile", "no-such-profile",
            "--result", record, "--", "true")
    assert r.status == NOTHING_RAN
    got = json.loads(record.read_text())
    assert got["outcome"] == "refused"
    assert "no-such-profile" in got["error"]["text"]
    assert os.listdir(tmp_path) == ["record.json"]


def test_record_of_a_run(program, run, tmp_path):
    record = tmp_path / "record.json"
    record.write_text("old")
    r = run(program, "run", "--no-policy", "--workspace", tmp_path, "--result", record, "--",
            "sh", "-c", "exit 3")
    assert r.status == 3
    got = json.loads(record.read_text())
    assert got["outcome"] == "exited"
    assert got["policy_version"].startswith("policy-")
    assert os.listdir(tmp_path) == ["record.json"]


@pytest.mark.parametrize("kind", ["pipe", "socket", "link to a device"])
def test_record_takes_the_place_of_files_only(program, run, tmp_path, kind):
    """Said to root about /dev/stdout, it would be gone for everybody."""
    (tmp_path / "w").mkdir()
    record = tmp_path / "record"
    if kind == "pipe":
        os.mkfifo(record)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(str(record))
    else:
        record.symlink_to("/dev/null")
    before = os.lstat(record)
    r = run(program, "run", "--no-policy", "--workspace", tmp_path / "w", "--result", record, "--", "touch", "ran")
    assert r.status == NOTHING_RAN and "what is there is no file" in r.err
    assert os.lstat(record).st_ino == before.st_ino and os.listdir(tmp_path / "w") == []


def test_record_replaces_a_link_and_does_not_follow_it(program, run, tmp_path):
    (tmp_path / "w").mkdir()
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    record = tmp_path / "w/record.json"
    r = run(program, "run", "--no-policy", "--workspace", tmp_path / "w", "--result", record, "--",
            "ln", "-s", victim, record)
    assert r.status == 0
    assert victim.read_text() == "untouched"
    assert not record.is_symlink()
    assert json.loads(record.read_text())["outcome"] == "exited"


def test_record_that_cannot_be_written_keeps_the_status(program, run, tmp_path):
    """The command makes its workspace unwritable... from outside it would have
    to be the disk: a file size limit of ours stands for it."""
    record = tmp_path / "record.json"
    r = run("bash", "-c", 'ulimit -f 0; trap "" XFSZ; exec "$@"', "x", program, "run",
            "--no-policy", "--workspace", tmp_path, "--result", record, "--", "sh", "-c", "exit 4")
    assert r.status == 4
    assert "--result" in r.err
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("script, found", [
    ("true", []),
    ("echo >>Makefile", ["Makefile"]),
    ("touch conftest.py", ["conftest.py"]),
])
def test_record_lists_the_build_inputs_that_were_touched(program, run, tmp_path, script, found):
    work = tmp_path / "w"
    work.mkdir()
    (work / "Makefile").write_text("all:\n")
    # What was written in the tick of the start counts as touched.
    while time.clock_gettime_ns(CLOCK_REALTIME_COARSE) <= (work / "Makefile").stat().st_ctime_ns:
        pass
    record = tmp_path / "record.json"
    r = run(program, "run", "--no-policy", "--workspace", work, "--result", record, "--",
            "sh", "-c", script, cwd=work)
    assert (r.status, r.err) == (0, "")
    got = json.loads(record.read_text())["found"]
    assert [os.path.basename(f["path"]) for f in got] == found
    assert {f["action"] for f in got} <= {"reported"}


@pytest.mark.parametrize("act", [
    "echo x > bin/%s", "rm -f bin/%s", "mv bin/%s aside", "ln -f other bin/%s", "mv other bin/%s",
    "mv bin gone; mkdir bin; echo x > bin/%s",
])
def test_programs_in_the_workspace_are_protected(build, run, tmp_path, act):
    """What runs the next sandbox must not be the last one's work."""
    (tmp_path / "bin").mkdir()
    programs = [p for p in ("immure", "immure-full", "immure-attack") if (build / p).exists()]
    for name in programs:
        shutil.copy(build / name, tmp_path / "bin" / name)
    (tmp_path / "other").write_text("#!/bin/sh\n")
    for name in programs:
        run(tmp_path / "bin/immure", "run", "--no-policy", "--", "sh", "-c", act % name,
            cwd=tmp_path)
        assert (tmp_path / "bin" / name).read_bytes() == (build / name).read_bytes()


def test_proof_holds_where_the_programs_themselves_are_protected(build, run, tmp_path):
    """A program that is being executed refuses to be written for another reason."""
    (tmp_path / "bin").mkdir()
    for name in ("immure", "immure-full", "immure-attack"):
        if (build / name).exists():
            shutil.copy(build / name, tmp_path / "bin" / name)
    result = run(tmp_path / "bin/immure", "run", "--no-policy", "--prove", "--", "true",
                 cwd=tmp_path)
    assert result.status == 0, result.err
