# SPDX-License-Identifier: Apache-2.0
"""explain: what a command was refused, and what would allow it. Each advice is taken and
has to help."""

import json
import os
import shlex

import pytest

import harness


def explain(site, *command, flags=(), **kw):
    done = site.call(site.immure, "explain", "--json", *flags, "--", *command, **kw)
    assert done.out, done
    return done, json.loads(done.out)


def about(told, **what):
    found = [r for r in told["refused"] if all(r.get(k) == v for k, v in what.items())]
    assert len(found) == 1, (what, told["refused"])
    return found[0]


def test_nothing(site):
    done = site.call(site.immure, "explain", "--", "/bin/echo", "said")
    assert done.code == 0 and done.out == b"nothing was refused\n" and done.err == b"said\n", done


def test_status_is_the_commands(site):
    assert explain(site, "/bin/sh", "-c", "exit 7")[0].code == 7
    assert explain(site, "/bin/sh", "-c", "kill -9 $$")[0].code == 137
    assert site.call(site.immure, "explain", "--", "/nonexistent").code == 127


@pytest.mark.parametrize("script, what", [
    ("echo x > {out}/ro.txt", "write"),
    ("mkdir {out}/new", "create"),
    ("rm {out}/ro.txt", "create"),
    ("mv {out}/ro.txt {out}/moved", "create"),
])
def test_writes(site, script, what):
    script = script.format(out=site.out)
    _, told = explain(site, "/bin/sh", "-c", script)
    one, = told["refused"]
    assert one["what"] == what and one["key"] == "files.write" and not one["outside"], one
    assert site.sh(script).code != 0
    assert site.sh(script, flags=shlex.split(one["allow"])).code == 0


def test_denied_by_the_policy(site):
    _, told = explain(site, "/bin/cat", str(site.deny / "secret"), flags=["--deny", str(site.deny)])
    one = about(told, path=str(site.deny / "secret"))
    assert one["key"] == "files.deny" and one["error"] == "EACCES", one


def test_sensitive(site):
    script = f"cat {site.home}/.ssh/id_rsa"
    _, told = explain(site, "/bin/sh", "-c", script)
    one = about(told, path=f"{site.home}/.ssh/id_rsa")
    assert one["key"] == "files.sensitive", one
    assert harness.SECRET in site.sh(script, flags=shlex.split(one["allow"])).out


def test_protected(site):
    site.put("Makefile")
    os.makedirs(site.ws / ".git/hooks")
    site.put(".git/hooks/pre-commit")
    site.own(site.ws)
    _, told = explain(site, "/bin/sh", "-c", "echo x > .git/hooks/pre-commit")
    one, = told["refused"]
    assert one["key"] == "files.protected", one


def test_hidden_by_the_view(site):
    script = f"cat {site.out}/ro.txt"
    _, told = explain(site, "/bin/sh", "-c", script, flags=["--profile", "strict"])
    one = about(told, path=f"{site.out}/ro.txt")
    assert one["error"] == "ENOENT" and one["key"] == "files.read", one
    done = site.sh(script, flags=["--profile", "strict", *shlex.split(one["allow"])])
    assert done.out == b"OUTSIDE\n", done


def test_absent_is_no_refusal(site):
    _, told = explain(site, "/bin/sh", "-c", "cat /nonexistent/x; cat nothing")
    assert told["refused"] == [], told


def test_relative_paths(site):
    _, told = explain(site, "/bin/sh", "-c", "cd sub && : > ../../out/./ro.txt")
    assert about(told, what="write")["path"] == f"{site.out}/ro.txt"


def test_by_descriptor(site):
    script = (f"import os\nd = os.open('{site.out}', os.O_RDONLY)\n"
              "try: os.open('ro.txt', os.O_WRONLY, dir_fd=d)\nexcept OSError: pass\n")
    _, told = explain(site, "/usr/bin/python3", "-c", script)
    assert about(told, what="write")["path"] == f"{site.out}/ro.txt"


def test_outside_as_well(site):
    if site.uid == 0:
        pytest.skip("nothing is refused to root outside")
    path = site.path / "closed"
    path.write_text("x")
    if os.geteuid() == 0:
        os.chown(path, 0, 0)
    os.chmod(path, 0o600 if os.geteuid() == 0 else 0)
    _, told = explain(site, "/bin/cat", str(path))
    assert about(told, path=str(path))["outside"]


def test_executables(site):
    flags = ["--executables", "listed", "--execute", "/bin/sh"]
    _, told = explain(site, "/bin/sh", "-c", "/bin/true", flags=flags)
    one = about(told, what="execute")
    assert one["key"] == "files.execute", one
    assert site.sh("/bin/true", flags=flags + shlex.split(one["allow"])).code == 0


def test_network(site):
    script = ("import socket\ns = socket.socket()\ntry: s.connect(('192.0.2.1', 80))\n"
              "except OSError: pass\n")
    _, told = explain(site, "/usr/bin/python3", "-c", script)
    one = about(told, what="connect")
    assert one["address"] == "192.0.2.1:80" and one["key"] == "network.mode", one


def test_a_name_is_asked_for(site):
    """The host's name server is not what a rule should name."""
    script = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('192.0.2.1', 53))"
    one = about(explain(site, "/usr/bin/python3", "-c", script)[1], what="connect")
    assert one["allow"] == "--net limited --allow HOST" and one["key"] == "network.mode", one


def test_calls(site):
    _, told = explain(site, "/usr/bin/unshare", "-U", "/bin/true")
    assert about(told, call="unshare")["key"] == "syscalls"


def test_children_and_counts(site):
    script = f"for i in 1 2 3; do (sh -c 'echo x > {site.out}/ro.txt') 2>/dev/null; done; true"
    done, told = explain(site, "/bin/sh", "-c", script)
    assert done.code == 0 and about(told, what="write")["count"] == 3, told


def test_threads(site):
    script = ("import threading\ndef f():\n"
              f"    try: open('{site.out}/ro.txt', 'r+')\n    except OSError: pass\n"
              "t = [threading.Thread(target=f) for _ in range(20)]\n"
              "[x.start() for x in t]; [x.join() for x in t]\n")
    _, told = explain(site, "/usr/bin/python3", "-c", script)
    assert about(told, what="write")["count"] == 20


def test_nothing_is_weaker(site):
    """Traced, it is refused what it is refused otherwise."""
    script = f"cat {site.home}/.ssh/id_rsa; echo x > {site.out}/ro.txt; grep Seccomp: /proc/self/status"
    done, _ = explain(site, "/bin/sh", "-c", script)
    assert harness.SECRET not in done.err and b"Seccomp:\t2" in done.err, done
    assert (site.out / "ro.txt").read_bytes() == b"OUTSIDE\n"


def test_stopped_and_continued(site):
    script = "sh -c 'kill -STOP $$; echo went on' & sleep 0.2; kill -CONT $!; wait"
    done, _ = explain(site, "/bin/sh", "-c", script)
    assert done.code == 0 and b"went on" in done.err, done


def test_a_killed_explain_leaves_nothing(site):
    process = site.spawn(site.immure, "explain", "--", "/bin/sh", "-c", "echo started >&2; sleep 1000",
                         stderr=-1)
    assert process.stderr.readline() == b"started\n"
    process.kill()
    process.communicate(timeout=30)
    assert harness.until(lambda: not harness.descendants(), 20), harness.descendants()


@pytest.mark.modes("landlock", "bwrap")
def test_other_backends(site):
    backend = ["--backend", site.mode.backend]
    if site.mode.backend == "landlock":
        backend = list(harness.BARE)
    _, told = explain(site, "/bin/sh", "-c", f"echo x > {site.out}/ro.txt", flags=backend)
    one, = [r for r in told["refused"] if r["path"] == f"{site.out}/ro.txt"]
    assert one["key"] == "files.write", one
