# SPDX-License-Identifier: Apache-2.0
"""Open pools: the workspace, environment and rules of whoever acquires a session are
attached to one that was made without any."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time

import pytest

import harness
from pools import Pool, acquire
from sessions import Session, runtime

everybody = pytest.mark.modes("root", "user", "nocgroup")


class Open(Pool):
    def __init__(self, site, *flags, **kw):
        super().__init__(site, *flags, workspace=None, **kw)
        assert self.first["open"]


def project(site, name, **files):
    """A workspace beside the site's own, with these files."""
    top = site.ws.parent / name
    top.mkdir()
    for path, text in {"mine": name, **files}.items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text(text)
    site.own(top)
    return top


@contextlib.contextmanager
def projects(site, *names, **files):
    made = [project(site, n, **files) for n in names]
    try:
        yield made
    finally:
        for top in made:
            harness.remove_tree(top)


def sealed_plan(site, workspace, *flags):
    """The bytes of a plan, as a session of it has them on record."""
    with Session(site, *flags, cwd=workspace) as session:
        return (session.directory / "plan").read_bytes()


def take(session, data):
    """Asks an acquired session to become what this plan says."""
    fd = os.memfd_create("plan", os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    session.number += 1
    socket.send_fds(session.socket, [json.dumps({"id": session.number, "op": "take",
                                                 "plan": {"fd": 0}}).encode()], [fd])
    os.close(fd)
    return json.loads(session.socket.recv(1 << 16))


# ---- the workspace -----------------------------------------------------------------


@everybody
@pytest.mark.parametrize("profile", ("dev", "strict"))
def test_each_caller_has_its_own_workspace_and_no_other(site, profile):
    with Open(site, "--no-policy", "--profile", profile) as pool, \
            projects(site, "one", "two") as (one, two):
        for ws, other in ((one, two), (two, one), (one, two)):
            done = pool.sh(f"pwd; cat mine; echo seen > new-{ws.name}; cat {ws}/mine; "
                           f"echo x 2>/dev/null > {other}/planted; ls {other} >&2", cwd=ws)
            assert done.text == f"{ws}\n{ws.name}{ws.name}", done
            assert not (other / "planted").exists()
            if profile != "dev":
                assert "No such file" in done.errors, done
            # Of the one before nothing is left but what it wrote where it may.
            assert sorted(p.name for p in ws.iterdir()) == ["mine", f"new-{ws.name}"]
        mounts = pool.sh("cat /proc/self/mountinfo", cwd=one).text
        assert str(one) in mounts and str(two) not in mounts
        pool.settles(idle=2, in_use=0, failed=0)


@everybody
def test_the_view_is_that_of_a_run(site):
    """Mounts, what can be read and written, identity, limits: all as without a pool."""
    look = ("cut -d' ' -f5- /proc/self/mountinfo | sed 's/ - .*//;s/master:[0-9]*//;s/shared:[0-9]*//' | sort; "
            "cat /proc/self/status | grep -E 'Cap|Seccomp|NoNewPrivs|Uid|Gid'; ulimit -a | grep -v ^locks; hostname; "
            "cat /proc/self/uid_map; pwd; env | grep -v IMMURE_ | sort; ls -la /dev /tmp | grep -v total")
    with projects(site, "one", **{".git/hooks/pre-commit": "x", ".vscode/tasks.json": "{}"}) as (ws,), \
            Open(site, "--no-policy") as pool:
        plain = site.call(site.immure, "run", "--no-policy", "--", "/bin/sh", "-c", look, cwd=ws)
        pooled = pool.sh(look, cwd=ws)
        assert (plain.code, pooled.code) == (0, 0), (plain, pooled)
        assert pooled.text.splitlines() == plain.text.splitlines()
        assert f"{ws}/.git/hooks" in pooled.text


@everybody
def test_masks_and_protected_files_of_the_callers_workspace(site):
    with projects(site, "one", **{".git/config": "c", ".git/hooks/pre-commit": "h", "keys/id": "SECRET",
                                  "src/a": "a", "out/o": "o"}) as (ws,), \
            Open(site, "--no-policy", "--deny", "keys", "--set", "files.protect=src") as pool:
        denied = pool.sh("cat keys/id; echo x > src/a; echo x > .git/hooks/pre-commit; mv .git elsewhere; "
                         "mv keys k; rm -r src; echo fine > out/o", cwd=ws)
        assert "SECRET" not in denied.text and denied.errors.count("ermission denied") >= 1
        assert (ws / "src/a").read_text() == "a" and (ws / ".git/hooks/pre-commit").read_text() == "h"
        assert (ws / "keys/id").read_text() == "SECRET" and (ws / "out/o").read_text() == "fine\n"
        assert sorted(p.name for p in ws.iterdir()) == [".git", "keys", "mine", "out", "src"]


@everybody
def test_what_the_host_would_obey_is_put_aside(site):
    with Open(site, "--no-policy") as pool, projects(site, "one") as (ws,):
        (ws / ".envrc").write_text("before")  # after the pool was made, before the session was taken
        site.own(ws)
        done = pool.sh("mkdir -p sub; echo evil > sub/.envrc; echo evil > .gitmodules; echo fine > plain", cwd=ws)
        assert done.code == 0, done
        assert harness.until(lambda: not (ws / "sub/.envrc").exists(), 10)
        pool.settles(in_use=0)
        assert (ws / ".envrc").read_text() == "before", "what was there is not the command's"
        assert (ws / "plain").read_text() == "fine\n"


@everybody
def test_a_workspace_that_cannot_be_changed(site):
    with Open(site, "--profile", "readonly", "--no-policy") as pool, projects(site, "one") as (ws,):
        assert pool.sh("cat mine; echo x > new", cwd=ws).text == "one"
        more = pool.run("true", flags=["--workspace-mode", "rw"], cwd=ws)
        assert more.code == 125 and "workspace.mode" in more.errors and len(more.errors.splitlines()) == 1
        assert not (ws / "new").exists()


@everybody
def test_workspaces_that_are_refused(site):
    with Open(site, "--no-policy") as pool, projects(site, "one") as (ws,):
        for where in ("/", "/proc", str(site.home / ".ssh"), str(ws / "absent"), str(ws / "mine"),
                      str(runtime(site))):
            refused = pool.run("true", flags=["--workspace", where], cwd=ws)
            assert refused.code == 125 and len(refused.errors.splitlines()) == 1, refused
        stats = pool.stats()
        assert stats["created"] == 2 and stats["hits"] == stats["misses"] == 0, "a refusal takes nothing"
        assert pool.run("cat", "mine", flags=["--workspace", str(ws)], cwd="/").text == "one"


@everybody
def test_a_workspace_that_is_gone_again(site):
    """Planned for, then removed: init cannot show it, so nothing runs."""
    with Open(site, "--no-policy", size=1) as pool, projects(site, "one") as (ws,):
        plan = sealed_plan(site, ws, "--no-policy")
        ws.rename(ws.parent / "moved")
        with pool.connect() as client:
            answer, session = acquire(client)
            refused = take(session, plan)
            assert not refused["ok"] and "No such file" in refused["error"]["text"], refused
            assert session.socket.recv(100) == b"", "and it has ended"
            session.socket.close()
        (ws.parent / "moved").rename(ws)
        pool.settles(idle=1, in_use=0)


# ---- what else is the caller's -----------------------------------------------------


@everybody
def test_the_environment_is_the_callers(site):
    with Open(site, "--no-policy", "--set", "+environment.pass=COLOUR", "--env", "FIXED=pool") as pool:
        def env(*flags, **extra):
            done = pool.run("env", flags=flags, env=site.environment(**extra))
            assert done.code == 0, done
            return dict(line.split("=", 1) for line in done.text.splitlines())

        one = env(COLOUR="red", SECRET="s", LD_PRELOAD="/evil.so")
        assert one["COLOUR"] == "red" and one["FIXED"] == "pool"
        assert "SECRET" not in one and "LD_PRELOAD" not in one
        assert "COLOUR" not in env() and env(COLOUR="blue")["COLOUR"] == "blue"
        assert env("--env", "MORE=1")["MORE"] == "1"
        assert "MORE" not in env(), "nothing of it stays"


@everybody
def test_labels_are_the_callers(site):
    with Open(site, "--no-policy", size=1) as pool:
        running = site.spawn(site.immure, "run", "--pool", pool.name, "--label", "who=me", "--label", "of=a-test",
                             "--", "/bin/sh", "-c", "echo ready; cat", cwd=site.ws, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
        assert running.stdout.readline() == b"ready\n"
        listed = json.loads(site.call(site.immure, "ps", "--json").out)
        assert [s["labels"] for s in listed if s["labels"].get("who")] == [
            {"pool": pool.name, "who": "me", "of": "a-test"}]
        running.communicate(timeout=20)
        pool.settles(in_use=0, idle=1)
        assert not [s for s in json.loads(site.call(site.immure, "ps", "--json").out) if "who" in s["labels"]]
        wrong = pool.run("true", flags=["--label", "no label"])
        assert wrong.code == 125 and len(wrong.errors.splitlines()) == 1
        assert site.call(site.immure, "run", "--label", "a=b", "--", "true").code == 125


@everybody
def test_a_request_may_only_narrow(site):
    with Open(site, "--no-policy", "--net", "limited", "--allow", "a.example:443", "--allow", "b.example:443",
              "--deny-host", "c.example") as pool, projects(site, "one") as (ws,):
        for flags, key in ((["--allow", "d.example:443"], "network.allow"),
                           (["--net", "host"], "network.mode"),
                           (["--set", "-network.deny"], "network.deny"),
                           (["--write", str(site.out)], "files.write"),
                           (["--set", "files.sensitive=false"], "files.sensitive"),
                           (["--set", "files.protected=false"], "files.protected"),
                           (["--set", "identity=root"], "identity") if site.uid else
                           (["--set", "syscalls=default", "--set", "-files.tmp"], "files.tmp"),
                           (["--set", "limits.memory=1G"], None), (["--profile", "strict"], None)):
            refused = pool.run("true", flags=flags, cwd=ws)
            assert refused.code == 125 and len(refused.errors.splitlines()) == 1, (flags, refused)
            assert not key or key in refused.errors, refused
        assert pool.run("true", flags=["--set", "network.allow=a.example:443", "--deny", "mine"], cwd=ws).code == 0


@everybody
def test_the_rules_of_this_caller_are_in_force(site):
    with Open(site, "--no-policy", "--net", "limited", "--allow", "a.example:443", "--allow",
              "b.example:443") as pool, projects(site, "one") as (ws,):
        def rules(*flags):
            running = site.spawn(site.immure, "run", "--pool", pool.name, *flags, "--", "/bin/sh", "-c",
                                 "echo ready; cat", cwd=ws, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            assert running.stdout.readline() == b"ready\n"
            used = [s["session"] for s in json.loads(site.call(site.immure, "ps", "--json").out) if s["labels"].get("pool") == pool.name
                and s["state"] == "RUNNING"]
            shown = json.loads(site.call(site.immure, "net", "show", "--json", used[0]).out)
            running.communicate(timeout=20)
            pool.settles(in_use=0)
            return shown["network"]["allow"], shown["network"]["deny"]

        assert rules() == (["a.example:443", "b.example:443"], [])
        assert rules("--set", "network.allow=b.example:443") == (["b.example:443"], [])
        assert rules("--deny-host", "c.example") == (["a.example:443", "b.example:443"], ["c.example"])
        assert rules() == (["a.example:443", "b.example:443"], [])


# ---- over the protocol -------------------------------------------------------------


@everybody
def test_nothing_runs_before_it_is_taken(site):
    with Open(site, "--no-policy", size=1) as pool, pool.connect() as client:
        answer, session = acquire(client)
        assert answer["ok"] and answer["open"]
        assert session.ask("inspect")["state"] == "PREPARED"
        for op, arguments in (("exec", {"argv": ["/bin/true"]}), ("lane", {}), ("root", {}),
                              ("mount", {"source": "/tmp", "target": "/mnt"}), ("freeze", {})):
            assert "PREPARED" in session.ask(op, **arguments)["error"]["text"], op
        # Somebody else of the same user who finds it by its id may not take it.
        site_plan = sealed_plan(site, site.ws, "--no-policy")
        stranger = type("At", (), {"directory": runtime(site) / "sessions" / answer["session"]})
        from sessions import Client
        with Client(stranger) as other:
            assert "gave it to" in take(other, site_plan)["error"]["text"]
        assert take(session, site_plan)["ok"]
        assert not take(session, site_plan)["ok"], "once"
        assert session.run("/bin/pwd", stdin="null", stdout="stream")[1].decode().strip() == str(site.ws)
        inspected = json.loads(site.call(site.immure, "inspect", "--json", answer["session"]).out)
        assert inspected["state"] == "RUNNING"
        session.socket.close()


@everybody
def test_plans_that_are_none_or_do_not_fit(site):
    with Open(site, "--no-policy", size=1) as pool, pool.connect() as client, \
            projects(site, "one") as (ws,):
        good = sealed_plan(site, ws, "--no-policy")
        other = [sealed_plan(site, ws, "--no-policy", *flags) for flags in (
            ["--write", str(site.out)], ["--set", "network.mode=host"], ["--profile", "strict"],
            ["--set", "syscalls=strict"], ["--set", "limits.wall_time=9m"])]
        answer, session = acquire(client)
        for data in (b"", b"x", good[:-1], good[:100], good[:-1] + bytes([good[-1] ^ 1]), *other):
            refused = take(session, data)
            assert not refused["ok"], refused
        assert session.ask("inspect")["state"] == "PREPARED"
        assert take(session, good)["ok"], "and it can still become what fits"
        assert session.run("/bin/cat", "mine", stdin="null", stdout="stream")[1] == b"one"
        session.socket.close()


@pytest.mark.modes("root")
def test_a_plan_that_is_changed_after_it_was_looked_at(site):
    """The server and init look at the same bytes, whoever still has them open."""
    with Open(site, "--no-policy", size=1) as pool, pool.connect() as client, \
            projects(site, "one", "two") as (one, two):
        good, other = (sealed_plan(site, ws, "--no-policy") for ws in (one, two))
        answer, session = acquire(client)
        directory = runtime(site) / "sessions" / answer["session"]
        server = json.loads(site.call(site.immure, "inspect", "--json", answer["session"]).out)["supervisor_pid"]
        (init,) = map(int, pathlib_children(server))
        fd = os.memfd_create("plan", os.MFD_ALLOW_SEALING)
        os.write(fd, good)
        os.kill(init, signal.SIGSTOP)
        session.number += 1
        socket.send_fds(session.socket, [json.dumps({"id": session.number, "op": "take",
                                                     "plan": {"fd": 0}}).encode()], [fd])
        assert harness.until(lambda: (directory / "plan").read_bytes() == good, 10)
        os.pwrite(fd, other, 0)
        os.ftruncate(fd, len(other))
        os.close(fd)
        os.kill(init, signal.SIGCONT)
        assert json.loads(session.socket.recv(1 << 16))["ok"]
        assert session.run("/bin/cat", "mine", stdin="null", stdout="stream")[1] == b"one"
        session.socket.close()


@everybody
def test_a_lane_comes_with_the_answer(site):
    import fcntl
    with Open(site, "--no-policy", size=1) as pool, pool.connect() as client, projects(site, "one") as (ws,):
        _, session = acquire(client)
        fd = os.memfd_create("plan", os.MFD_ALLOW_SEALING)
        os.write(fd, sealed_plan(site, ws, "--no-policy"))
        fcntl.fcntl(fd, 1033, 0xf)  # F_ADD_SEALS: as the library does
        session.number += 1
        socket.send_fds(session.socket, [json.dumps({"id": session.number, "op": "take", "plan": {"fd": 0},
                                                     "lane": True}).encode()], [fd])
        os.close(fd)
        answer, fds, _, _ = socket.recv_fds(session.socket, 1 << 16, 4)
        assert json.loads(answer)["ok"] and len(fds) == 1 and "timeout_ms" in json.loads(answer)
        assert "has a lane" in session.ask("lane")["error"]["text"]
        assert session.run("/bin/cat", "mine", stdin="null", stdout="stream")[1] == b"one"
        os.close(fds[0])
        session.socket.close()


# ---- ends --------------------------------------------------------------------------


@everybody
def test_sessions_that_wait_are_looked_after(site):
    with Open(site, "--no-policy", size=2) as pool:
        one, two = pool.entries()
        listed = {s["session"]: s for s in json.loads(site.call(site.immure, "ps", "--json").out)}
        assert listed[one]["state"] == listed[two]["state"] == "PREPARED"
        supervisor = json.loads(site.call(site.immure, "inspect", "--json", one).out)["supervisor_pid"]
        os.kill(supervisor, signal.SIGSTOP)  # does not answer
        assert harness.until(lambda: one not in pool.entries(), 20)
        inits = [int(p) for p in pathlib_children(json.loads(
            site.call(site.immure, "inspect", "--json", two).out)["supervisor_pid"])]
        for pid in inits:
            os.kill(pid, signal.SIGKILL)
        assert harness.until(lambda: two not in pool.entries(), 20)
        pool.settles(idle=2, evictions=2)
        assert pool.sh("echo well").text == "well\n"


def pathlib_children(pid):
    return open(f"/proc/{pid}/task/{pid}/children").read().split()


@everybody
def test_nothing_is_left_of_a_holder_killed_at_any_moment(site):
    with projects(site, "one") as (ws,):
        for moment in (0, 0.002, 0.01):
            with Open(site, "--no-policy", size=2) as pool:
                running = site.spawn(site.immure, "run", "--pool", pool.name, "--", "/bin/cat", cwd=ws,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                time.sleep(moment)  # not to wait for something: any point will do
                os.kill(pool.holder, signal.SIGKILL)
                running.communicate(b"", timeout=20)
                assert running.returncode in (0, 125)
                assert harness.until(lambda: not pool.entries(), 10)
                site.call(site.immure, "gc")  # of others' remains it may have something to say
                assert not pool.directory.exists()


# ---- while it waited ---------------------------------------------------------------


def replace(path, text):
    """As editors and useradd(8) do it: the name stays, the file is another."""
    other = path.with_name(path.name + ".new")
    other.write_text(text)
    other.chmod(0o644)
    os.rename(other, path)


@everybody
@pytest.mark.parametrize("kind", (Open, Pool), ids=("open", "fixed"))
def test_what_the_host_replaced_meanwhile_is_hidden_and_protected(site, kind):
    """A mount goes with the file or directory that it was made on."""
    top = site.ws.parent / "kept"
    (top / "dir").mkdir(parents=True)
    (top / "work/.git/hooks").mkdir(parents=True)
    for name in ("file", "dir/file", "work/.git/hooks/pre-commit", "work/.envrc"):
        (top / name).write_text("SECRET")
    site.own(top)
    flags = ["--no-policy", "--deny", str(top / "file"), "--deny", str(top / "dir"), "--write", str(top / "work")]
    try:
        with kind(site, *flags, size=1) as pool:
            replace(top / "file", "SECRET too")
            os.rename(top / "dir", top / "gone")
            (top / "dir").mkdir()
            (top / "dir/file").write_text("SECRET as well")
            os.rename(top / "work/.git/hooks", top / "work/hooks")
            (top / "work/.git/hooks").mkdir()
            replace(top / "work/.git/hooks/pre-commit", "mine")
            replace(top / "work/.envrc", "mine")
            site.own(top)
            done = pool.sh(f"cat {top}/file {top}/dir/file; echo x > {top}/work/.git/hooks/pre-commit; "
                           f"echo x > {top}/work/.git/hooks/pre-push; echo x > {top}/work/.envrc")
            assert "SECRET" not in done.text and done.errors.count("ermission denied") == 2, done
            assert (top / "work/.git/hooks/pre-commit").read_text() == "mine"
            assert (top / "work/.envrc").read_text() == "mine"
            assert not (top / "work/.git/hooks/pre-push").exists()
            stats = pool.stats()
            if kind is Open:
                assert stats["hits"] == 1 and stats["evictions"] == 0, "what was made long ago was made right"
    finally:
        harness.remove_tree(top)


@everybody
def test_what_came_meanwhile_is_hidden(site):
    """A place of secrets that was not there when the session was made."""
    with Open(site, "--no-policy", size=1) as pool:
        netrc = site.home / ".netrc"
        assert not netrc.exists()
        netrc.write_text("SECRET")
        site.own(netrc)
        try:
            done = pool.sh(f"cat {netrc}")
            assert "SECRET" not in done.text and "ermission denied" in done.errors, done
        finally:
            netrc.unlink()
