# SPDX-License-Identifier: Apache-2.0
"""A session under attack: by clients that mean no good, and from inside."""

import base64
import os
import resource
import time

import pytest

import harness
from sessions import Session

pytestmark = pytest.mark.modes("root", "user")


def cpu_of(pid):
    with open(f"/proc/{pid}/stat") as f:
        return sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13])) / os.sysconf("SC_CLK_TCK")


def b64(data):
    return base64.b64encode(data).decode()


def mark(site, name, seconds=0.5):
    """Whether a command that makes this file runs."""
    return harness.until(lambda: (site.ws / name).exists(), seconds)


# ---- clients ------------------------------------------------------------------


def test_a_refused_command_does_not_run(site):
    """A connection that follows all it may follow is refused before anything is started."""
    with Session(site) as s, s.connect() as c:
        sleeper = c.ask("exec", argv=["/bin/sleep", "60"])["exec"]
        while c.ask("wait", exec=sleeper)["ok"]:
            pass
        line = ["/bin/sh", "-c", "echo ran >> refused"]
        for _ in range(2):
            assert not c.ask("exec", argv=line, key="k")["ok"]
        assert not mark(site, "refused")
        with s.connect() as d:  # nor does the key stand for it
            assert d.run(*line, key="k")[0]["code"] == 0
        assert (site.ws / "refused").read_text() == "ran\n"


def test_a_key_stands_for_all_of_the_request(site):
    with Session(site) as s, s.connect() as c:
        given = {"argv": ["/bin/cat"], "key": "k"}
        c.run(*given["argv"], key="k", stdin={"data": b64(b"one")})
        for other in ({"stdin": {"data": b64(b"two")}}, {}, {"stdin": {"data": b64(b"one")}, "pty": {}},
                      {"stdin": {"data": b64(b"one")}, "clear_env": True, "env": {}},
                      {"stdin": {"data": b64(b"one")}, "limits": {"open_files": 9}}):
            refused = c.ask("exec", **given, **other)
            assert not refused["ok"], other
        assert c.ask("exec", **given, stdin={"data": b64(b"one")})["replayed"]


def test_input_is_answered_when_its_reader_ends(site):
    """Somebody else still holds the pipe, so it never says that it is broken."""
    with Session(site) as s, s.connect() as c:
        script = "exec 3<&0; (sleep 60 >/dev/null 2>&1) <&3 & sleep 0.5"
        number = c.ask("exec", argv=["/bin/sh", "-c", script], stdin="stream", stdout="null",
                       stderr="null")["exec"]
        c.socket.settimeout(5)
        assert c.ask("input", exec=number, data=b64(b"x" * 40000))["ok"]
        answer = c.ask("input", exec=number, data=b64(b"x" * 40000))  # more than a pipe holds
        assert not answer["ok"] and answer["error"]["errno"] == 32


def test_long_names_do_not_hide_the_list(site):
    """What one client runs does not keep others from asking what runs."""
    deep = ["\x01" * 200] * 19
    with Session(site) as s, s.connect() as c:
        name = "./" + "/".join(deep) + "/true"
        made = s.sh(f"""d=$(printf '\\001%.0s' $(seq 200)); for i in $(seq 19); do mkdir "$d"; cd "$d"; done;
                    cp /bin/true true""")
        assert made.code == 0, made
        for _ in range(8):
            assert c.run(name)[0]["code"] == 0
        listed = c.ask("execs")
        assert listed["ok"] and len(listed["execs"]) == 9


def test_many_mounts_do_not_hide_the_session(site):
    with Session(site) as s, s.connect() as c:
        deep = "/".join(["/tmp"] + ["\x01" * 200] * 9)
        made = s.sh("""d=$(printf '\\001%.0s' $(seq 200)); cd /tmp
                       for i in $(seq 9); do mkdir "$d"; cd "$d"; done""")
        assert made.code == 0, made
        for i in range(8):
            done = c.ask("mount", source=str(site.ws), target=f"{deep}/{i}")
            assert done["ok"], done
        seen = c.ask("inspect")
        assert seen["ok"] and seen["mounts_truncated"] and seen["mounts"][0]["target"].endswith("/7")


@pytest.mark.modes("root")  # others may not look at their server
def test_no_descriptor_left_is_no_busy_loop(site):
    with Session(site) as s, s.connect() as c:
        server = c.ask("inspect")["supervisor_pid"]
        taken = {int(n) for n in os.listdir(f"/proc/{server}/fd")}
        used = next(n for n in range(1000) if n not in taken)
        before = resource.prlimit(server, resource.RLIMIT_NOFILE)
        resource.prlimit(server, resource.RLIMIT_NOFILE, (used, before[1]))
        with s.connect(hello=False) as waiting:
            spent = cpu_of(server)
            time.sleep(1)
            assert cpu_of(server) - spent < 0.3
            resource.prlimit(server, resource.RLIMIT_NOFILE, before)
            assert waiting.ask("hello", protocol=1)["ok"]


# ---- from inside --------------------------------------------------------------


def test_unmount_is_not_led_astray(site):
    """The way to what was attached is another one now: nothing else is unmounted."""
    with Session(site) as s, s.connect() as c:
        target = "/tmp/a/proc"
        assert s.sh("mkdir /tmp/a").code == 0
        done = c.ask("mount", source=str(site.ws), target=target)
        assert done["ok"], done
        assert s.sh("mv /tmp/a /tmp/b && ln -s / /tmp/a").code == 0
        assert not c.ask("unmount", target=target)["ok"]
        assert s.sh("test -e /proc/self/status").code == 0
        assert s.sh("rm /tmp/a && mv /tmp/b /tmp/a").code == 0
        assert c.ask("unmount", target=target)["ok"]


def test_stopping_newborns_does_not_keep_init(site):
    """What is stopped between its making and its exec holds up neither init nor a deadline."""
    stop = ("import os, signal\nopen('go', 'w').close()\nwhile True:\n"
            "    try:\n        os.kill(-1, signal.SIGSTOP)\n    except OSError:\n        pass\n")
    with Session(site) as s, s.connect() as c, s.connect() as d:
        number = c.ask("exec", argv=["/usr/bin/python3", "-c", stop], timeout_ms=4000, grace_ms=500)["exec"]
        assert mark(site, "go", 10)
        for _ in range(20):
            d.number += 1
            d.send({"id": d.number, "op": "exec", "argv": ["/bin/true"], "follow": False})
        exited = c.event("exited", number)
        assert exited["timed_out"]
        assert s.sh("exit 7").code == 7
