# SPDX-License-Identifier: Apache-2.0
"""Open pools: the secrets, and the name of the agent, of whoever acquires a session."""

import json
import os
import subprocess

import pytest

from netlab import allow
from test_intercept import GET, HOST
from test_intercept_secrets import canary, policy
from pools import acquire
from sessions import runtime
from test_pool_open import Open

pytestmark = pytest.mark.modes("root", "user")


def ask(net, pool, env, flags=()):
    """What the server saw of a request from a session of the pool; and the variable inside."""
    script = "import os, sys\nprint(os.environ.get('API_KEY', ''), file=sys.stderr)\n" + GET
    done = pool.run("/usr/bin/python3", "-c", script, json.dumps([["GET", f"https://{HOST}/headers"]]), flags=flags,
                    env=env, cwd=net.ws)
    return done


def in_use(net, pool):
    return next(s["session"] for s in json.loads(net.call(net.immure, "ps", "--json").out)
                if s["labels"].get("pool") == pool.name and s["state"] == "RUNNING")


def sent(net):
    return [e[2] for e in net.lab.seen().log if e[0] == "field" and e[2].startswith("Authorization")]


@pytest.mark.parametrize("source", ["env", "file"])
def test_secrets_of_this_caller(net, source):
    """Values come with the caller who acquires, not with who started the pool; each session has its own
    placeholder, and nobody's value is there for the next."""
    mine, yours, starters = canary(), canary(), canary()
    flags, _ = policy(net, starters, source)
    with Open(net, *flags, size=1, env={"API_KEY": starters}) as pool:
        seen = []
        for value in (mine, yours):
            if source == "file":
                net.put("../out/key", (value + "\n").encode())
            done = ask(net, pool, {"API_KEY": value})
            assert done.code == 0 and json.loads(done.out)[0][0] == 200, done
            seen.append(done.errors.strip())
            assert value not in done.text + done.errors
        assert sent(net) == [f"Authorization: Bearer {value}" for value in (mine, yours)]
        if source == "env":
            assert all(s.startswith("immure-placeholder-") for s in seen) and seen[0] != seen[1], seen
        where = [net.run_dir, net.home, net.ws]
        texts = [p.read_bytes() for top in where if top.exists() for p in top.rglob("*") if p.is_file()]
        assert not any(value.encode() in text for text in texts for value in (mine, yours))


def test_a_secret_that_the_caller_has_not(net):
    flags, env = policy(net, canary())
    with Open(net, *flags, size=1, env=env) as pool:
        done = ask(net, pool, {"API_KEY": None})
        assert done.code == 125 and "no such variable in the caller's environment" in done.errors, done
        # Nor does its supervisor take what it has itself, which was the starter's.
        running = net.spawn(net.immure, "run", "--pool", pool.name, "--pool-wait", "10s", "--", "/bin/sh", "-c",
                            "echo ready; cat", cwd=net.ws, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert running.stdout.readline() == b"ready\n"
        data = (runtime(net) / "sessions" / in_use(net, pool) / "plan").read_bytes()
        running.communicate(timeout=20)
        assert env["API_KEY"].encode() not in data
        with pool.connect() as client:
            answer, session = acquire(client, wait_ms=10000)
            fd = os.memfd_create("plan", os.MFD_ALLOW_SEALING)
            os.write(fd, data)
            told = session.ask("take", [fd], plan={"fd": 0}, secrets=[])
            assert not told["ok"] and "no such variable" in told["error"]["text"], told
            session.socket.close()


def test_rules_inside_tls(net):
    with Open(net, "--no-policy", *allow(f"GET {HOST}/open/*"), size=1) as pool:
        script = json.dumps([["GET", f"https://{HOST}/open/x"], ["GET", f"https://{HOST}/closed"]])
        done = pool.run("/usr/bin/python3", "-c", GET, script, cwd=net.ws)
        assert done.code == 0 and [g[0] for g in json.loads(done.out)] == [200, 403], done


def test_on_whose_behalf(net):
    """That of the caller, and in the session's journal; a pool of somebody's is his alone."""
    with Open(net, "--no-policy", size=1) as pool:
        running = net.spawn(net.immure, "run", "--pool", pool.name, "--agent", "alpha", "--", "/bin/sh", "-c",
                            "echo ready; cat", cwd=net.ws, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert running.stdout.readline() == b"ready\n"
        told = json.loads(net.call(net.immure, "journal", "--json", in_use(net, pool)).out)["records"]
        running.communicate(timeout=20)
        assert any(r["kind"] == "session" and "agent=alpha" in r.get("detail", "") for r in told), told
    with Open(net, "--no-policy", "--agent", "alpha", size=1) as pool:
        assert pool.run("true", flags=["--agent", "alpha"], cwd=net.ws).code == 0
        refused = pool.run("true", flags=["--agent", "beta"], cwd=net.ws)
        assert refused.code == 125 and "agent" in refused.errors, refused
