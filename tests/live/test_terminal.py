# SPDX-License-Identifier: Apache-2.0
"""A terminal gets one of its own: size, resize, raw mode, job control."""

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import time

import pytest

import harness


class Terminal:
    """A pseudo terminal whose other side is a program of the site's caller."""

    def __init__(self, site, *argv, rows=24, columns=80, env=None):
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        os.fchown(slave, site.uid, site.gid)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.seen = b""

        def own():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = site.spawn(*argv, env={"TERM": "xterm", "PS1": "$ ", **(env or {})},
                                  stdin=slave, stdout=slave, stderr=slave, preexec_fn=own)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, text):
        os.write(self.master, text.encode())

    def read(self, seconds):
        if select.select([self.master], [], [], seconds)[0]:
            try:
                self.seen += os.read(self.master, 65536)
            except OSError:
                return False
            return True
        return False

    def expect(self, pattern, seconds=15):
        """Reads until the pattern is there, and forgets what came before it."""
        end = time.monotonic() + seconds
        while True:
            found = re.search(pattern.encode(), self.seen)
            if found:
                self.seen = self.seen[found.end():]
                return found
            assert time.monotonic() < end and self.process.poll() is None or self.read(0.3), \
                f"{pattern!r} did not come: {self.seen[-2000:]!r}"
            self.read(0.2)

    def wait(self, seconds=15):
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < end, f"did not end: {self.seen[-2000:]!r}"
            self.read(0.02)
        code = self.process.returncode
        return code if code >= 0 else 128 - code

    def modes(self):
        return termios.tcgetattr(self.slave)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal(site):
    made = []

    def make(*argv, **kw):
        made.append(Terminal(site, site.immure, "run", "--", *argv, **kw))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_is_a_terminal_of_its_own(terminal, site):
    term = terminal("/bin/sh", "-c", "tty; test -t 0 && test -t 1 && test -t 2 && echo all")
    outer = os.ttyname(term.slave)
    name = term.expect(r"(/dev/pts/\d+)").group(1).decode()
    term.expect("all")
    assert term.wait() == 0
    assert name == "/dev/pts/0" or name != outer


def test_size_and_resize(terminal):
    script = "import os,signal\n" \
             "def show(*a): print('size', *os.get_terminal_size(), flush=True)\n" \
             "both = [signal.SIGWINCH, signal.SIGINT]\n" \
             "signal.signal(signal.SIGWINCH, show)\n" \
             "signal.pthread_sigmask(signal.SIG_BLOCK, both); show()\n" \
             "while signal.sigwait(both) == signal.SIGWINCH: show()\n"
    term = terminal("/usr/bin/python3", "-c", script, rows=31, columns=97)
    term.expect("size 97 31")
    term.resize(40, 120)
    term.expect("size 120 40")
    term.send("\x03")
    term.wait()


def test_raw_mode_is_kept_apart(terminal):
    script = "import tty,sys,os\ntty.setraw(0)\nos.write(1,b'ready')\n" \
             "os.write(1, b'got:%02x' % os.read(0,1)[0])\n"
    term = terminal("/usr/bin/python3", "-c", script)
    term.expect("ready")
    term.send("\x03")
    term.expect("got:03")
    assert term.wait() == 0
    assert term.modes() == term.before, "the caller's terminal was not restored"


def test_terminal_is_restored_after_kill(terminal):
    term = terminal("/bin/sh", "-c", "stty raw -echo; echo ready; kill -9 $$")
    term.expect("ready")
    assert term.wait() == 137
    assert term.modes() == term.before


def test_interrupt_key(terminal):
    term = terminal("/bin/sh", "-c", "echo ready; exec sleep 60")
    term.expect("ready")
    term.send("\x03")
    assert term.wait() == 130


def test_interrupt_key_leaves_nothing(terminal):
    term = terminal("/bin/sh", "-c", "trap '' INT; (trap '' INT HUP; setsid sleep 300) & "
                                     "echo ready; sleep 1; exit 7")
    term.expect("ready")
    term.send("\x03")
    assert term.wait() in (7, 130)


def test_quit_key(terminal):
    term = terminal("/bin/sh", "-c", "ulimit -c 0; echo ready; exec sleep 60")
    term.expect("ready")
    term.send("\x1c")
    assert term.wait() == 128 + signal.SIGQUIT


def test_end_of_file_key(terminal):
    term = terminal("/bin/cat")
    term.send("hello\n")
    term.expect("hello\r\nhello")
    term.send("\x04")
    assert term.wait() == 0


def test_hangup_ends_it(site):
    term = Terminal(site, site.immure, "run", "--", "/bin/sh", "-c", "echo ready; exec sleep 60")
    term.expect("ready")
    os.close(term.slave)
    os.close(term.master)
    assert harness.until(lambda: term.process.poll() is not None, 10), "still there after a hangup"


def test_hangup_of_a_terminal_that_controls_nobody(site):
    """Nobody is sent SIGHUP for it: the command loses its own, and its input ends."""
    master, slave = pty.openpty()
    os.fchown(slave, site.uid, site.gid)
    child = site.spawn(site.immure, "run", "--", "/bin/sh", "-c",
                       "trap 'echo hup > hung' HUP; echo ready; read x; echo $? >> hung; exit 9",
                       stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    seen = b""
    while b"ready" not in seen:
        assert select.select([master], [], [], 15)[0], seen
        seen += os.read(master, 4096)
    os.close(master)
    assert child.wait(15) == 9
    assert (site.ws / "hung").read_text().split() in (["hup", "1"], ["hup", "129"], ["1"])


def test_job_control_inside(terminal):
    term = terminal("/bin/bash", "--norc", "-i", env={"PS1": "$ "})
    term.expect(r"[$#] ")
    term.send("sleep 100\n")
    term.expect("sleep 100")
    time.sleep(0.1)  # until the shell has handed the terminal over; nothing says when
    term.send("\x1a")
    term.expect("Stopped")
    term.send("jobs; echo second\n")
    term.expect("second\r")
    # Until the shell itself knows: it refuses to leave stopped jobs behind.
    term.send("kill -KILL %1; while kill -0 %1; do :; done 2>/dev/null; echo third\n")
    term.expect("third\r")
    term.send("exit 5\n")
    assert term.wait() == 5


def test_shell_command(site):
    term = Terminal(site, site.immure, "shell", env={"SHELL": "/bin/bash", "PS1": "$ "})
    try:
        term.expect(r"[#$] ")
        term.send("echo sum $((40 + 2)); pwd\n")
        term.expect("sum 42")
        term.expect(re.escape(str(site.ws)))
        term.send("exit 3\n")
        assert term.wait() == 3
    finally:
        term.close()


def test_shell_without_a_terminal(site):
    result = site.call(site.immure, "shell", env={"SHELL": "/bin/sh"}, input=b"echo $((1+1)); exit 4\n")
    assert (result.code, result.out) == (4, b"2\n"), result


def test_typed_ahead_does_not_reach_the_caller(terminal):
    """TIOCSTI, with and without high bits, from a process on the terminal."""
    script = "import ctypes,os\nl=ctypes.CDLL(None,use_errno=True)\n" \
             "for r in (0x5412, 0x5412|1<<32, 0x541c):\n" \
             " x=l.syscall(16, 0, ctypes.c_ulong(r), b'X'); print('rc', x, ctypes.get_errno(), flush=True)\n"
    if os.uname().machine != "x86_64":
        pytest.skip("the number of ioctl is x86-64's here")
    term = terminal("/usr/bin/python3", "-c", script)
    for _ in range(3):
        assert term.expect(r"rc (-?\d+) (\d+)").group(1) == b"-1"
    term.wait()


def test_large_paste(terminal):
    term = terminal("/bin/sh", "-c", "stty raw -echo; echo ready; head -c 200000 | md5sum")
    term.expect("ready")
    data = b"0123456789" * 20000
    sent = 0
    while sent < len(data):
        sent += os.write(term.master, data[sent:sent + 4096])
        term.read(0)
    import hashlib
    term.expect(hashlib.md5(data).hexdigest())
    assert term.wait() == 0


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_the_terminal_is_there_before_the_command(site):
    """However slow the supervisor is: what a command sets its terminal to stays."""
    term = Terminal(site, "strace", "-qq", "-o", os.devnull, "-e", "trace=ioctl", "-e",
                    "inject=ioctl:delay_enter=100000", site.immure, "run", "--", "/bin/sh", "-c",
                    "stty -echo -icanon; sleep 1.5; stty -a")
    try:
        modes = term.expect(r"(isig.*)echonl").group(1)
        assert b" -icanon " in modes and b" -echo " in modes, modes
        assert term.wait() == 0
    finally:
        term.close()


def test_only_output_is_a_terminal(site):
    master, slave = pty.openpty()
    os.fchown(slave, site.uid, site.gid)
    process = site.spawn(site.immure, "run", "--", "/bin/sh", "-c", "cat; test -t 1 && echo tty",
                         stdin=subprocess.PIPE, stdout=slave)
    process.communicate(b"in\n", timeout=20)
    os.close(slave)
    out = os.read(master, 1000)
    os.close(master)
    assert process.returncode == 0 and b"in" in out and b"tty" in out


def test_output_to_a_slow_terminal_is_whole(terminal):
    term = terminal("/bin/sh", "-c", "seq 1 20000; echo end")
    term.expect("19999\r\n20000\r\nend", seconds=30)
    assert term.wait() == 0


def test_callers_terminal_is_out_of_reach(site):
    """No stream is a terminal, but the caller has one: /dev/tty must not be it."""
    script = f"exec {site.immure} run -- /bin/sh -c 'echo x > /dev/tty && echo reached || echo no' " \
             f"< /dev/null > {site.path}/out.txt 2>/dev/null"
    term = Terminal(site, "/bin/sh", "-c", script)
    try:
        term.wait()
        assert (site.path / "out.txt").read_text() == "no\n"
    finally:
        term.close()
