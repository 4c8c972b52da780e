# SPDX-License-Identifier: Apache-2.0
"""Somebody is asked before a command starts (mediator.*): only a well-formed allow in
time lets it."""

import contextlib
import json
import os
import socket
import threading
import time

import pytest

import harness
from sessions import Session

ALLOW = '{"decision":"allow"}\n'

# Everything else is a refusal: each of these is one thing wrong.
REFUSALS = {
    "deny": '{"decision":"deny","reason":"not today"}\n',
    "unknown": '{"decision":"maybe"}\n',
    "case": '{"decision":"ALLOW"}\n',
    "bool": '{"decision":true}\n',
    "missing": '{"reason":"allow"}\n',
    "twice": '{"decision":"deny","decision":"allow"}\n',
    "array": '["allow"]\n',
    "text": "allow\n",
    "trailing": ALLOW + ALLOW,
    "blank-after": ALLOW + " \n",
    "garbage-after": '{"decision":"allow"} allow\n',
    "half": '{"decision":"allow"',
    "empty": "",
    "newline": "\n",
    "long": '{"decision":"allow","reason":"' + "x" * 300 + '"}\n',
    "huge": '{"decision":"allow","x":"' + "x" * 20000 + '"}\n',
    "retry": '{"decision":"allow","retry_after_ms":-1}\n',
    "nul": '{"decision":"allow\\u0000"}\n',
}


class Mediator:
    """Answers with the next of `answers`, the last one for ever; None: says nothing."""

    def __init__(self, site, *answers, name="mediator.sock", uid=None):
        self.path = site.path / name
        self.answers, self.asked = list(answers), []
        self.socket = socket.socket(socket.AF_UNIX)
        # The kernel notes who listens: it has to be that user.
        with as_user(site.uid if uid is None else uid, site):
            self.socket.bind(str(self.path))
            self.socket.listen(8)
        os.chmod(self.path, 0o666)
        self.over = False
        self.kept = []
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while not self.over:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            text = b""
            while not text.endswith(b"\n"):
                got = peer.recv(65536)
                if not got:
                    break
                text += got
            if not text:
                continue
            self.asked.append(json.loads(text))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if answer is None:
                self.kept.append(peer)
                continue
            with contextlib.suppress(OSError):
                peer.sendall(answer.encode())
            peer.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over = True
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(10)
        for peer in self.kept:
            peer.close()


@contextlib.contextmanager
def as_user(uid, site):
    if os.geteuid() != 0 or uid == 0:
        yield
        return
    os.chown(site.path, uid, -1)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


def flags(mediator, *more):
    return ["--mediator", f"unix:{mediator.path}", "--mediator-answer-time", "5s", *more]


def test_allowed(site):
    with Mediator(site, ALLOW) as mediator:
        done = site.run("sh", "-c", "echo ran", flags=flags(
            mediator, "--agent", "helper-1", "--mediator-budget", "budget-7"))
        assert (done.code, done.out) == (0, b"ran\n"), done
    asked, = mediator.asked
    assert asked["action"] == "local.exec" and asked["args"] == ["sh", "-c", "echo ran"]
    assert asked["executable"] == os.path.realpath("/bin/sh")  # links are followed
    assert asked["agent_id"] == "helper-1" and asked["budget_state_ref"] == "budget-7"
    assert asked["cwd"] == str(site.ws) and asked["hitl_mode"] == "sync_wait"
    assert asked["policy_version"].startswith("policy-") and asked["session_id"] is None


@pytest.mark.parametrize("what", REFUSALS)
def test_refused(site, what):
    with Mediator(site, REFUSALS[what]) as mediator:
        done = site.run("/bin/touch", "ran", flags=flags(mediator))
    assert done.code == 125 and "mediator" in done.errors, done
    assert not (site.ws / "ran").exists()
    assert len(mediator.asked) == 1


def test_reason_is_told(site):
    with Mediator(site, REFUSALS["deny"]) as mediator:
        done = site.run("/bin/true", flags=flags(mediator))
    assert "denied by the mediator: not today" in done.errors, done


def test_silence(site):
    with Mediator(site, None) as mediator:
        begun = time.monotonic()
        done = site.run("/bin/touch", "ran", flags=[
            "--mediator", f"unix:{mediator.path}", "--mediator-answer-time", "300ms"])
        assert done.code == 125 and "no answer in time" in done.errors, done
        assert time.monotonic() - begun < 30 * harness.SLOWER
    assert not (site.ws / "ran").exists()


def test_nobody_there(site):
    done = site.run("/bin/touch", "ran", flags=["--mediator", f"unix:{site.path}/none"])
    assert done.code == 125 and "mediator" in done.errors, done
    assert not (site.ws / "ran").exists()


def test_somebody_else_listens(site):
    """A socket of another user's is not believed."""
    if os.geteuid() != 0:
        pytest.skip("needs another user")
    with Mediator(site, ALLOW, uid=65534) as mediator:
        done = site.run("/bin/touch", "ran", flags=flags(mediator))
    assert done.code == 125 and "somebody else" in done.errors, done
    assert not (site.ws / "ran").exists()


def test_pending_is_waited_for(site):
    pending = '{"decision":"pending_hitl","approval_token":"t-1","retry_after_ms":60}\n'
    with Mediator(site, pending, pending, ALLOW) as mediator:
        done = site.run("/bin/echo", "ran", flags=flags(mediator))
        assert (done.code, done.out) == (0, b"ran\n"), done
    assert [a["approval_token"] for a in mediator.asked] == [None, "t-1", "t-1"]


def test_pending_for_ever(site):
    pending = '{"decision":"pending_hitl","retry_after_ms":60}\n'
    with Mediator(site, pending) as mediator:
        done = site.run("/bin/touch", "ran", flags=flags(mediator, "--mediator-wait-time", "300ms"))
    assert done.code == 125 and "nobody decided in time" in done.errors, done
    assert not (site.ws / "ran").exists()


def test_pending_is_sent_away(site):
    pending = '{"decision":"pending_hitl","approval_token":"t-2","retry_after_ms":60000}\n'
    with Mediator(site, pending, ALLOW) as mediator:
        how = flags(mediator, "--mediator-mode", "async_token")
        done = site.run("/bin/touch", "ran", flags=how)
        assert done.code == 125 and "--approval t-2" in done.errors, done
        assert not (site.ws / "ran").exists()
        done = site.run("/bin/touch", "ran", flags=[*how, "--approval", "t-2"])
        assert done.code == 0, done
    assert [a["approval_token"] for a in mediator.asked] == [None, "t-2"]
    assert (site.ws / "ran").exists()


def program(site, text, mode=0o755):
    path = site.path / "ask"
    path.write_text("#!/bin/sh\n" + text)
    os.chown(path, site.uid, site.gid)
    os.chmod(path, mode)
    return path


def test_program(site):
    path = program(site, f"cat > {site.path}/asked; echo '{{\"decision\":\"allow\"}}'\n")
    os.chown(site.path, site.uid, site.gid)
    done = site.run("/bin/echo", "ran", flags=["--mediator", f"program:{path}",
                                               "--mediator-answer-time", "10s"])
    assert (done.code, done.out) == (0, b"ran\n"), done
    assert json.loads((site.path / "asked").read_text())["args"] == ["/bin/echo", "ran"]


@pytest.mark.parametrize("text", ["exit 0\n", "exit 1\n", "sleep 100\n", "echo allow\n"])
def test_program_refuses(site, text):
    path = program(site, text)
    done = site.run("/bin/touch", "ran", flags=["--mediator", f"program:{path}",
                                                "--mediator-answer-time", "400ms"])
    assert done.code == 125, done
    assert not (site.ws / "ran").exists()


def test_program_that_others_write(site):
    path = program(site, "echo '{\"decision\":\"allow\"}'\n", 0o777)
    done = site.run("/bin/touch", "ran", flags=["--mediator", f"program:{path}",
                                                "--mediator-answer-time", "10s"])
    assert done.code == 125 and "somebody else" in done.errors, done


@pytest.mark.parametrize("place", ["ws/ask.sock", "link.sock"])
def test_where_the_command_writes(site, place):
    """A command that can put a socket there would answer itself."""
    if place == "link.sock":
        (site.ws / "s").write_text("")
        os.symlink(site.ws / "s", site.path / "link.sock")
    done = site.run("/bin/true", flags=["--mediator", f"unix:{site.path}/{place}"])
    assert done.code == 125 and "could answer itself" in done.errors, done


def test_settings_without_anybody(site):
    done = site.run("/bin/true", flags=["--mediator-mode", "async_token"])
    assert done.code == 125 and "mediator.ask" in done.errors, done


def test_a_workspace_names_nobody(site):
    """A file in the workspace cannot have a program of its own started."""
    (site.ws / ".immure").mkdir()
    (site.ws / ".immure/policy.json").write_text(
        json.dumps({"mediator": {"ask": f"program:{site.ws}/evil"}}))
    site.own(site.ws)
    done = site.run("/bin/true")
    assert done.code == 125 and "mediator" in done.errors, done


def test_agent(site):
    assert site.run("/bin/true", flags=["--set", "require.agent=true"]).code == 125
    assert site.run("/bin/true", flags=["--set", "require.agent=true", "--agent", "a.b-1"]).code == 0
    recorded = site.out / "record.json"
    assert site.run("/bin/true", flags=["--agent", "a.b-1", "--result", recorded]).code == 0
    assert json.loads(recorded.read_text())["agent"] == "a.b-1"
    session = site.call(site.immure, "create", "--agent", "a.b-1").text.strip()
    try:
        assert "agent=a.b-1" in site.call(site.immure, "journal", session).text
    finally:
        site.call(site.immure, "stop", "--rm", session)
    for bad in ("", "Upper", "-a", "a b", "x" * 65, "agent/1"):
        assert site.run("/bin/true", flags=["--agent", bad]).code == 125, bad


def test_interrupted(site):
    with Mediator(site, None) as mediator:
        process = site.spawn(site.immure, "run", "--mediator", f"unix:{mediator.path}",
                             "--mediator-answer-time", "60s", "--", "/bin/touch", "ran")
        assert harness.until(lambda: mediator.asked, 20)
        process.terminate()
        process.communicate(timeout=30)
        assert process.returncode == 125
    assert not (site.ws / "ran").exists()


# ---- sessions ----


def test_session(site):
    pending = '{"decision":"pending_hitl","retry_after_ms":60}\n'
    with Mediator(site, ALLOW, pending, ALLOW, REFUSALS["deny"]) as mediator:
        with Session(site, *flags(mediator)) as session:
            assert session.sh("echo one").out == b"one\n"
            assert session.sh("echo two").out == b"two\n"
            denied = session.sh("touch ran")
            assert denied.code == 125 and "not today" in denied.errors, denied
            assert all(a["session_id"] == session.id for a in mediator.asked)
    assert len(mediator.asked) == 4 and not (site.ws / "ran").exists()


def test_session_input_is_kept(site):
    """The request waits whole: its descriptors as well."""
    with Mediator(site, ALLOW) as mediator, Session(site, *flags(mediator)) as session:
        done = session.exec("/bin/cat", input=b"through")
        assert done.out == b"through", done


def test_session_has_no_lane(site):
    with Mediator(site, ALLOW) as mediator, Session(site, *flags(mediator)) as session, \
            session.connect() as client:
        answer = client.ask("lane")
        assert not answer["ok"] and answer["error"]["subject"] == "mediator.ask", answer
        assert not mediator.asked


def test_session_goes_on_meanwhile(site):
    with Mediator(site, None) as mediator:
        how = ["--mediator", f"unix:{mediator.path}", "--mediator-answer-time", "60s"]
        with Session(site, *how) as session, session.connect() as client:
            client.send({"id": 7, "op": "exec", "argv": ["/bin/touch", "ran"]})
            assert harness.until(lambda: mediator.asked, 20)
            assert session.json("inspect")["state"] == "RUNNING"
    assert not (site.ws / "ran").exists()


def test_client_goes_away(site):
    """What nobody waits for any more is not started when it is allowed."""
    with Mediator(site, None) as mediator:
        how = ["--mediator", f"unix:{mediator.path}", "--mediator-answer-time", "60s"]
        with Session(site, *how) as session:
            with session.connect() as client:
                client.send({"id": 7, "op": "exec", "argv": ["/bin/touch", "ran"]})
                assert harness.until(lambda: mediator.asked, 20)
            assert session.json("inspect")["state"] == "RUNNING"
            with contextlib.suppress(OSError):
                mediator.kept[0].sendall(ALLOW.encode())
            with session.connect() as client:
                assert client.ask("execs")["execs"] == []
    assert not (site.ws / "ran").exists()


def test_no_template(site):
    with Mediator(site, ALLOW) as mediator:
        done = site.call(site.immure, "pool", "start", "--mode", "zygote", "--name", f"m{os.getpid()}",
                         *flags(mediator))
        assert done.code == 125 and "who could ask" in done.errors, done


def test_codes_of_the_protocol(site):
    pending = '{"decision":"pending_hitl","approval_token":"t-3"}\n'
    with Mediator(site, pending, REFUSALS["deny"], ALLOW) as mediator:
        how = flags(mediator, "--mediator-mode", "async_token")
        with Session(site, *how) as session, session.connect() as client:
            codes = []
            for _ in range(2):
                answer = client.ask("exec", argv=["/bin/touch", "ran"])
                codes.append(answer["error"]["code"])
            assert codes == [15, 14]  # IMMURE_ERR_PENDING, IMMURE_ERR_DENIED
            assert not (site.ws / "ran").exists()
            assert not client.ask("exec", argv=["/bin/true"], approval="x" * 128)["ok"]
            assert client.run("/bin/true", approval="t-3")
    assert [a["approval_token"] for a in mediator.asked] == [None, None, "t-3"]
