# SPDX-License-Identifier: Apache-2.0
"""Standard streams, exit statuses, signals and time: as if unsealed."""

import os
import random
import signal
import subprocess

import pytest

import harness


def test_hello(site):
    result = site.run("/bin/echo", "hello")
    assert (result.code, result.out, result.err) == (0, b"hello\n", b""), result


def test_binary_through(site):
    data = random.Random(7).randbytes(10 << 20)
    result = site.run("/bin/cat", input=data)
    assert result.code == 0 and result.out == data, repr(result)[:300]


def test_binary_through_with_output_cap(site):
    data = random.Random(8).randbytes(3 << 20)
    result = site.run("/bin/cat", flags=["--output", "64M"], input=data)
    assert result.code == 0 and result.out == data, repr(result)[:300]


def test_streams_apart(site):
    result = site.sh("echo out; echo err >&2")
    assert (result.out, result.err) == (b"out\n", b"err\n")


def test_streams_are_the_callers(site):
    """No relay in between where none is needed: the very same pipe."""
    with open(site.path / "file", "wb") as file:
        os.fchown(file.fileno(), site.uid, site.gid)
        process = site.spawn(site.immure, "run", "--", "/bin/sh", "-c", "echo a; seek=1; echo b",
                             stdout=file)
        process.communicate(timeout=30)
    assert (site.path / "file").read_bytes() == b"a\nb\n"
    assert process.returncode == 0


def test_appends(site):
    target = site.path / "log"
    target.write_bytes(b"first\n")
    os.chown(target, site.uid, site.gid)
    with open(target, "ab") as file:
        process = site.spawn(site.immure, "run", "--", "/bin/echo", "second", stdout=file)
        process.communicate(timeout=30)
    assert target.read_bytes() == b"first\nsecond\n"


def test_empty_stdin(site):
    result = site.run("/usr/bin/wc", "-c", input=b"")
    assert result.text.strip() == "0"


def test_reader_goes_away(site):
    result = site.call("/bin/sh", "-c", '"$0" run -- /usr/bin/yes | head -n 2', site.immure)
    assert result.out == b"y\ny\n" and result.code == 0, result


def test_reader_goes_away_with_output_cap(site):
    result = site.call("/bin/sh", "-c", '"$0" run --output 10G -- /usr/bin/yes | head -n 2',
                       site.immure)
    assert result.out == b"y\ny\n" and result.code == 0, result


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-",
                                    "<&- >&- 2>&-"])
def test_closed_descriptors(site, closed):
    script = f'"$0" run -- /bin/sh -c "echo ran > mark; ls -l /proc/self/fd >> mark" {closed}'
    result = site.call("/bin/sh", "-c", script, site.immure)
    assert result.code == 0, result
    mark = (site.ws / "mark").read_text()
    assert mark.startswith("ran")


@pytest.mark.modes("root", "user")
def test_every_exit_code(site):
    for code in range(256):
        result = site.sh(f"exit {code}")
        assert result.code == code and not result.err, (code, result)


def test_exit_code_in_record(site):
    record = site.sh("exit 37", record=True).record
    assert record["outcome"] == "exited" and record["exit_code"] == 37
    assert record["exit_status"] == 37 and record["verdict"] == "none"


TERMINATES = [n for n in range(1, 65) if n not in (
    32, 33, signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH, signal.SIGSTOP,
    signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)]


def test_every_signal(site):
    for number in TERMINATES:
        script = f"import os, resource, signal; n = {number}\n" \
                 "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n" \
                 "n in (9, 19) or signal.signal(n, signal.SIG_DFL)\nos.kill(os.getpid(), n)"
        result = site.run("/usr/bin/python3", "-S", "-E", "-c", script, record=number == 9)
        assert result.code == 128 + number, (number, result)
        if result.record:
            assert result.record["outcome"] == "signaled" and result.record["signal"] == 9


def test_not_found(site):
    for name in ("/no/such/program", "no-such-program", str(site.ws / "absent")):
        result = site.run(name)
        assert result.code == 127, result
        assert result.errors.startswith("immure: ") and result.errors.count("\n") == 1


def test_not_executable(site):
    plain = site.put("plain", "#!/bin/sh\necho no\n", 0o644)
    garbage = site.put("garbage", b"\x00\x01\x02\x03", 0o755)
    for name in (plain, garbage, site.ws):
        result = site.run(name)
        assert result.code == 126, result
        assert result.errors.startswith("immure: "), result


def test_missing_interpreter(site):
    script = site.put("script", "#!/no/such/interpreter\n", 0o755)
    assert site.run(script).code in (126, 127)


def test_command_own_126_and_127(site):
    for code in (124, 125, 126, 127):
        result = site.sh(f"exit {code}", record=True)
        assert result.code == code and result.record["outcome"] == "exited", result


def test_script_without_shebang_is_not_guessed(site):
    assert site.run(site.put("s", "echo hi\n", 0o755)).code == 126


def test_path_lookup_uses_the_inner_path(site):
    site.put("bin/tool", "#!/bin/sh\necho mine\n", 0o755)
    result = site.run("tool", env={"PATH": f"{site.ws}/bin:/usr/bin:/bin"})
    assert result.text == "mine\n", result


def test_timeout(site):
    result = site.run("/bin/sleep", "60", flags=["--timeout", "300ms"], record=True)
    assert result.code == 124, result
    assert result.record["verdict"] == "timeout"


def test_timeout_of_one_that_will_not(site):
    result = site.sh("trap '' TERM INT HUP; while :; do sleep 1; done",
                     flags=["--timeout", "200ms"], record=True)
    assert result.code == 124 and result.record["verdict"] == "timeout", result


def test_timeout_of_a_family(site):
    result = site.sh("for i in 1 2 3; do (trap '' TERM; setsid sleep 60) & done; sleep 60",
                     flags=["--timeout", "300ms"])
    assert result.code == 124, result


def test_fast_command_is_not_timed_out(site):
    result = site.sh("exit 5", flags=["--timeout", "30s"], record=True)
    assert result.code == 5 and result.record["verdict"] == "none"


def ready(process):
    """The command says so itself: nothing is guessed from time."""
    assert process.stdout.readline() == b"ready\n"


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT"])
def test_signal_is_forwarded(site, name):
    number = getattr(signal, "SIG" + name)
    script = f"import signal,sys\n" \
             f"signal.pthread_sigmask(signal.SIG_BLOCK, [{int(number)}])\n" \
             "print('ready', flush=True)\n" \
             f"signal.sigwait([{int(number)}])\nsys.exit(42)\n"
    process = site.spawn(site.immure, "run", "--", "/usr/bin/python3", "-c", script)
    ready(process)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 42, (process.returncode, out, err)


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT"])
def test_signal_kills_by_default(site, name):
    number = getattr(signal, "SIG" + name)
    process = site.spawn(site.immure, "run", "--", "/bin/sh", "-c", "echo ready; exec sleep 60")
    ready(process)
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == 128 + number


def test_second_signal_kills(site):
    script = "trap '' INT TERM HUP QUIT; echo ready; while :; do sleep 1; done"
    process = site.spawn(site.immure, "run", "--result", str(site.path / "r"), "--", "/bin/sh",
                         "-c", script)
    ready(process)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGKILL
    assert '"interrupted"' in (site.path / "r").read_text()


def test_background_children_end_with_the_command(site):
    result = site.sh("(setsid sleep 300 >/dev/null 2>&1 &) ; exit 3", timeout=20)
    assert result.code == 3


def test_output_cap(site):
    result = site.sh("head -c 100000 /dev/zero | tr '\\0' x; echo done >&2; exit 9",
                     flags=["--output", "1000"], record=True)
    assert result.code == 9, result
    assert result.out.startswith(b"x" * 900) and len(result.out) < 1200
    assert b"immure" in result.out + result.err and b"limit" in result.out + result.err
    assert result.record["verdict"] == "output_cap"


def test_output_over_the_cap_may_end_it(site):
    """limits.output_over: everything that it started ends with it, as after any kill."""
    flags = ["--output", "1000", "--output-over", "fail"]
    result = site.sh("/usr/bin/setsid -f sleep 1000; yes; echo not reached > mark", flags=flags, record=True)
    assert result.code == 137 and len(result.out) < 1200 and b"output limit" in result.out
    assert result.record["verdict"] == "output_cap" and "killed" in result.errors
    assert not (site.ws / "mark").exists()
    result = site.sh("head -c 5000 /dev/zero >&2", flags=flags, record=True)  # over before we looked
    assert result.code == 137 and result.record["verdict"] == "output_cap"
    result = site.sh("head -c 1000 /dev/zero", flags=flags, record=True)
    assert result.code == 0 and len(result.out) == 1000 and result.record["verdict"] == "none"


def test_output_cap_does_not_block(site):
    result = site.sh("head -c 50000000 /dev/zero; exit 4", flags=["--output", "10"], record=True)
    assert result.code == 4 and len(result.out) < 200
    assert result.record["verdict"] == "output_cap"


def test_output_below_the_cap_is_exact(site):
    result = site.sh("printf 12345", flags=["--output", "5"], record=True)
    assert result.out == b"12345" and result.record["verdict"] == "none"
    assert result.record["usage"]["bytes_out"] == 5


def test_usage(site):
    usage = site.python("x = bytearray(60 << 20)\nfor i in range(3000000): pass",
                        record=True).record["usage"]
    assert usage["peak_memory_bytes"] > 50 << 20
    assert usage["cpu_user_us"] + usage["cpu_system_us"] > 10000
    assert usage["wall_ms"] > 0


def test_usage_counts_processes(site):
    record = site.sh("for i in 1 2 3 4 5 6 7 8; do /bin/true; done", record=True).record
    assert record["usage"]["processes"] >= 9


def test_many_at_once(site):
    processes = [site.spawn(site.immure, "run", "--", "/bin/sh", "-c", f"echo {i}; exit {i}")
                 for i in range(12)]
    for i, process in enumerate(processes):
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (i, f"{i}\n".encode()), err


def test_no_terminal_is_needed(site):
    process = site.spawn(site.immure, "run", "--", "/bin/sh", "-c", "tty; echo $?",
                         start_new_session=True)
    out, _ = process.communicate(timeout=30)
    assert out == b"not a tty\n1\n"


def test_inherited_signal_state(site):
    """Signals that the caller ignores or blocks are as the shell would have them."""
    def odd():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM})

    process = site.spawn(site.immure, "run", "--", "/bin/grep", "Sig", "/proc/self/status",
                         preexec_fn=odd)
    out, err = process.communicate(timeout=30)
    blocked = [line for line in out.decode().splitlines() if line.startswith("SigBlk")]
    assert process.returncode == 0 and blocked, err
    own = 1 << (signal.SIGCHLD - 1)
    assert not int(blocked[0].split()[1], 16) & own, "a mask of the launcher's leaked in"


def test_deleted_cwd(site):
    script = 'mkdir gone && cd gone && rmdir ../gone && exec "$0" run --workspace .. -- /bin/echo ok'
    result = site.call("/bin/sh", "-c", script, site.immure)
    assert result.code in (0, 125), result
    if result.code == 0:
        assert result.out == b"ok\n"
    result = site.call("/bin/sh", "-c",
                       f'mkdir gone && cd gone && rmdir ../gone && exec "$0" run --workspace '
                       f'{site.ws} -- /bin/pwd', site.immure)
    assert (result.code, result.text) == (0, f"{site.ws}\n"), result


def test_home_missing(site):
    for env in ({"HOME": None}, {"HOME": ""}, {"HOME": "/no/such/home"}, {"HOME": "relative"}):
        result = site.run("/bin/echo", "ok", env=env)
        assert (result.code, result.out) == (0, b"ok\n"), (env, result)


def test_empty_environment(site):
    result = site.call("/usr/bin/env", "-i", site.immure, "run", "--", "/bin/echo", "ok")
    assert (result.code, result.out) == (0, b"ok\n"), result


def test_two_megabytes_of_arguments(site):
    args = ["x" * 100000] * 19
    result = site.run("/bin/sh", "-c", 'echo $# ${#1}', "sh", *args)
    assert (result.code, result.text) == (0, "19 100000\n"), repr(result)[:300]


def test_arguments_are_exact(site):
    odd = ["", " ", "\n", "a b", "'", '"', "\\", "$HOME", "-x", "--", "*", b"\xff\xfe", "é"]
    script = "import sys,os; sys.stdout.buffer.write(b'\\0'.join(os.fsencode(a) for a in sys.argv[1:]))"
    result = site.run("/usr/bin/python3", "-c", script, *odd)
    assert result.out.split(b"\0") == [os.fsencode(a) for a in odd], result


def test_argv0_is_kept(site):
    result = site.run("/bin/sh", "-c", "tr '\\0' '\\n' < /proc/$$/cmdline; :")
    assert result.text.startswith("/bin/sh\n"), result


def test_umask_is_kept(site):
    result = site.call("/bin/sh", "-c", 'umask 027; exec "$0" run -- /bin/sh -c umask', site.immure)
    assert result.text.strip() in ("0027", "027"), result


def test_nice_is_kept(site):
    result = site.call("/usr/bin/nice", "-n", "5", site.immure, "run", "--", "/usr/bin/nice")
    assert int(result.text) == min(os.nice(0) + 5, 19), result  # the suite may be nice itself


def test_messages_are_one_printable_line(site):
    result = site.run("/no/such\x1b]0;evil\x07\n/thing")
    assert result.code == 127
    assert b"\x1b" not in result.err and b"\x07" not in result.err
    assert result.errors.count("\n") == 1, result
