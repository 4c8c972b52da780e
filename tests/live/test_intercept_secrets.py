# SPDX-License-Identifier: Apache-2.0
"""Secrets: outside they are in the request, inside nowhere."""

import json
import os
import signal
import subprocess

import pytest

import harness
from netlab import allow
from test_gatekeeper import network
from test_intercept import HOST, Standing, children, impostors, raw, request, requests, run  # noqa: F401

pytestmark = pytest.mark.modes("root", "user")
OTHER = "other.example.net"
SOURCES = ["env", "file"]


def canary():
    return "canary" + os.urandom(12).hex()


@pytest.fixture
def value():
    return canary()


def policy(net, value, source="env", to=(HOST,), how="bearer", allowed=(HOST, OTHER), **more):
    """Flags and environment with which the secret "api" is there."""
    env = {}
    if source == "env":
        env, origin = {"API_KEY": value}, "env:API_KEY"
    else:
        net.put("../out/key", (value + "\n").encode())
        origin = f"file:{net.out / 'key'}"
    text = {"secrets": {"api": {"from": origin, "to": list(to), "as": how}}, **more}
    net.put("policy.json", json.dumps(text).encode())
    return ["--policy", "policy.json", *allow(*allowed), "--env", "WHO=me"], env


def seen_headers(answer):
    return dict(line.split(": ", 1) for line in answer[1].splitlines() if ": " in line)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("how,field,text", [("bearer", "Authorization", "Bearer {}"),
                                            ("header:X-Api-Key", "X-Api-Key", "{}")])
def test_it_is_sent_and_not_seen(net, value, source, how, field, text):
    flags, env = policy(net, value, source, how=how)
    got = requests(net, flags, ["GET", f"https://{HOST}/headers"], ["GET", f"https://{OTHER}/headers"],
                   env=env)
    stars = text.format("*" * len(value))
    assert seen_headers(got[0])[field] == stars, got
    assert field not in seen_headers(got[1]), got
    log = [e for e in net.lab.seen().log if e[0] == "field" and value in str(e)]
    assert [e[1:] for e in log] == [(HOST, f"{field}: " + text.format(value))], log


def test_it_is_nowhere_else(net, value):
    """Not in the environment, any process's memory or arguments inside, the plan, the record or
    what was written."""
    script = """
import json, os, glob
out = {"key": os.environ.get("API_KEY", ""), "found": []}
word = os.environ["WORD"][::-1].encode()
for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
    try:
        if word in open(path, "rb").read(): out["found"].append(path)
    except OSError: pass
print(json.dumps(out))
"""
    flags, env = policy(net, value)
    flags += ["--env", f"WORD={value[::-1]}"]
    got = run(net, script, flags=flags, env=env)
    assert got["key"].startswith("immure-placeholder-") and len(got["key"]) > 40, got
    assert not got["found"], got
    again = run(net, script, flags=flags, env=env)
    assert again["key"] != got["key"]
    plan = net.call(net.immure, "plan", "--json", *flags, "--", "/bin/true", env=env)
    assert plan.code == 0 and "secret_to" in plan.text, plan
    texts = [net.last.out, net.last.err, json.dumps(net.last.record).encode(), plan.out]
    texts += [p.read_bytes() for top in (net.ws, net.run_dir, net.home, net.path / "state") if top.exists()
              for p in top.rglob("*") if p.is_file()]
    assert len(texts) > 5 and all(value.encode() not in t for t in texts)


def test_what_the_client_sends_itself_is_replaced(net, value):
    """So nobody's own account at that host is a way out."""
    flags, env = policy(net, value, allowed=(HOST,))
    flags += ["--proxy", "false"]
    result = net.run("/usr/bin/python3", "-c", f"""
import http.client
for fields in ({{"Authorization": "Bearer mine"}}, {{"aUTHORIZATION": "x"}}):
    c = http.client.HTTPSConnection("{HOST}", timeout=10); c.request("GET", "/headers", headers=fields)
    print(c.getresponse().read().decode())
""", flags=flags, env=env)
    assert result.code == 0 and "mine" not in result.text, result
    said = [e[2] for e in net.lab.seen().log if e[0] == "field" and e[2].startswith("Authorization")]
    assert said == [f"Authorization: Bearer {value}"] * len(said) and said, said


def test_the_placeholder_elsewhere(net, value):
    script = f"""
import http.client, os, json
out = []
for host in ("{HOST}", "{OTHER}"):
    c = http.client.HTTPSConnection(host, timeout=10)
    c.request("GET", "/open/x", headers={{"Authorization": "Bearer " + os.environ["API_KEY"]}})
    try: out.append(c.getresponse().status)
    except OSError as e: out.append(type(e).__name__)
    except http.client.HTTPException as e: out.append(type(e).__name__)
print(json.dumps(out))
"""
    flags, env = policy(net, value, allowed=(HOST, f"https://{OTHER}/open/*"))
    got = run(net, script, flags=flags, env=env)
    assert got[0] == 200 and got[1] != 200, got
    why = [d["why"] for d in network(net.last)["denied"]]
    assert why == [f"{OTHER}:443 is not where the secret api goes"], why
    assert [e[1] for e in net.lab.seen().reached("request")] == [HOST]


def test_only_by_verified_tls(net, value, impostors):
    """Not to a server that cannot prove itself, not without TLS, not to another name there."""
    port = impostors["self"]
    flags, env = policy(net, value, to=(f"{HOST}:{port}", HOST), allowed=(f"{HOST}:{port}", HOST))
    got = requests(net, flags, ["GET", f"https://{HOST}:{port}/"], ["GET", f"http://{HOST}/headers"], env=env)
    assert got[0][0] == 0 and got[1][0] == 200 and "Authorization" not in got[1][1], got
    got = raw(net, flags, (request("/headers", host=OTHER), HOST, None), (request("/headers"), OTHER, None),
              env=env)
    assert got[0].startswith("HTTP/1.1 403") and not got[1].startswith("HTTP"), got


@pytest.mark.parametrize("bad,why", [("with\nnewline", "no field of a request can have"),
                                     ("", "empty"), ("x" * 20000, "cannot be read")])
def test_values_that_are_refused(net, bad, why):
    flags, env = policy(net, bad, "file")
    result = net.run("/bin/true", flags=flags, env=env)
    assert result.code == 125 and why in result.errors and "api" in result.errors, result


def test_a_secret_that_is_not_there(net):
    flags, _ = policy(net, "x")
    result = net.run("/bin/true", flags=flags)
    assert result.code == 125 and "no such variable" in result.errors, result
    flags, _ = policy(net, "x", "file")
    (net.out / "key").unlink()
    result = net.run("/bin/true", flags=flags)
    assert result.code == 125 and "secret api" in result.errors, result


def test_basic(net, value):
    flags, env = policy(net, f"user:{value}", how="basic")
    got = requests(net, flags, ["GET", f"https://{HOST}/headers"], env=env)
    assert value not in got[0][1] and "Basic ****" in got[0][1], got


def test_only_for_those_requests(net, value):
    flags, env = policy(net, value, to=(f"GET {HOST}/headers",))
    got = requests(net, flags, ["GET", f"https://{HOST}/headers"], ["POST", f"https://{HOST}/headers"], env=env)
    assert "Authorization: Bearer ***" in got[0][1] and "Authorization" not in got[1][1], got


def test_whoever_holds_it_cannot_be_looked_into(net, value):
    """Its memory is in no dump and nobody's to read, its own user's neither."""
    flags, env = policy(net, value)
    process = net.spawn(net.immure, "run", *flags, "--", "/bin/sh", "-c", "echo; read x", env=env,
                        stdin=subprocess.PIPE)
    assert process.stdout.readline() == b"\n", process.stderr.read()
    worker, = [p for p in children(process.pid)
               if b"immure-intercept" in open(f"/proc/{p}/cmdline", "rb").read()]
    assert os.stat(f"/proc/{worker}/mem").st_uid == 0  # not dumpable: root's, whoever's it is
    assert "0" == next(line.split()[4] for line in open(f"/proc/{worker}/limits") if "core file" in line)
    assert value.encode() not in open(f"/proc/{worker}/environ", "rb").read()
    process.communicate(b"\n", timeout=30 * harness.SLOWER)


@pytest.mark.parametrize("source", SOURCES)
def test_whoever_comes_after_has_it_too(net, value, source):
    """And not what lies at the file's path by then, which others may have put there."""
    flags, env = policy(net, value, source, allowed=(HOST,))
    s = Standing(net, flags, env=env)
    assert s.ask("new", "/headers") == "200"
    if source == "file":
        (net.out / "key").rename(net.out / "old")
        net.put("../out/key", b"another\n")
    old = s.worker()
    os.kill(old, signal.SIGKILL)
    s.worker(but=old)
    assert harness.until(lambda: s.ask("new", "/headers") == "200", 10)
    s.end()
    said = [e[2] for e in net.lab.seen().log if e[0] == "field" and e[2].startswith("Authorization")]
    assert len(said) >= 2 and set(said) == {f"Authorization: Bearer {value}"}, said


SPOKEN = """
import os, sys, time, urllib.error, urllib.request
value = os.environ["WORD"][::-1]
def out(text): os.write(1, text.encode()); os.write(2, text.encode())
out("whole " + value + "\\n")
out("halves " + value[:9]); time.sleep(0.3); out(value[9:] + "\\n")
out("x" * 65530 + value + "\\n")
for text in (value, value[::-1] + "!"):
    try: urllib.request.urlopen("https://%s/closed/%s" % (os.environ["HOST"], text))
    except urllib.error.HTTPError as e: out(str(e.code) + "\\n")
out("end\\n")
"""


def test_what_is_kept_of_a_session_has_none(net, value):
    """However the command came by it: what it says, and what it was denied."""
    flags, env = policy(net, value, "file", allowed=(f"https://{HOST}/open/*",))
    name = f"s{os.urandom(4).hex()}"
    made = net.call(net.immure, "create", "--name", name, *flags, "--env", f"WORD={value[::-1]}", "--env",
                    f"HOST={HOST}", env=env)
    assert made.code == 0, made
    try:
        said = net.call(net.immure, "exec", "--detach", name, "--", "/usr/bin/python3", "-c", SPOKEN)
        assert said.code == 0, said
        assert harness.until(lambda: net.call(net.immure, "logs", name).out.count(b"end\n") >= 1, 20)
        shown = [net.call(net.immure, *what).out for what in (["logs", name], ["net", "show", name, "--json"],
                                                              ["inspect", "--json", name], ["journal", name])]
        stars = "*" * len(value)
        assert shown[0].count(stars.encode()) >= 3 and b"halves " + stars.encode() in shown[0], shown[0][-400:]
        assert f"/closed/{stars}".encode() in shown[1] and value[::-1].encode() + b"!" in shown[1], shown[1]
        texts = shown + [p.read_bytes() for top in (net.run_dir, net.path / "state") if top.exists()
                         for p in top.rglob("*") if p.is_file()]
        assert b"denial" in shown[3] and all(value.encode() not in t for t in texts)
        assert shown[0].startswith(f"whole {stars}".encode()), shown[0][:100]
        # What goes straight to a descriptor of the caller's is not looked at.
        passed = net.call(net.immure, "exec", name, "--", "/bin/sh", "-c", "echo $WORD | rev")
        assert passed.text.strip() == value, passed
    finally:
        net.call(net.immure, "rm", "--force", name)


def proof(net, flags, env):
    done = net.call(net.immure, "prove", "--json", *flags, env=env)
    points = {p["id"]: p for p in json.loads(done.out)["points"]}
    return done.code, points


@pytest.mark.parametrize("source", SOURCES)
def test_it_is_proven_to_be_nowhere_inside(net, value, source):
    flags, env = policy(net, value, source)
    if source == "file":
        flags += ["--deny", str(net.out / "key")]
    code, points = proof(net, flags, env)
    assert points["secret_read.value"]["verdict"] == "held", points["secret_read.value"]
    if source == "env":
        assert points["control.secret-placeholder"]["verdict"] == "held", points
    short = {i: p for i, p in points.items() if p["verdict"] == "fell_short"}
    assert code == 0, short


@pytest.mark.parametrize("leak", ["file", "environment", "where it is from"])
def test_a_leak_is_found(net, value, leak):
    """What makes it fall short: the same value in the workspace, in a variable, in a file that is seen."""
    flags, env = policy(net, value, "file" if leak == "where it is from" else "env")
    if leak == "file":
        net.put("a/b/notes", b"x" * 70000 + value.encode() + b"y")
    elif leak == "environment":
        flags += ["--env", f"OTHER=a{value}b"]
    code, points = proof(net, flags, env)
    assert code == 1 and points["secret_read.value"]["verdict"] != "held", points["secret_read.value"]
