# SPDX-License-Identifier: Apache-2.0
"""immure mcp: sandboxes as tools of the Model Context Protocol, as a client drives it."""

import base64
import json
import subprocess

import pytest

import harness
from sessions import mark, of_policy

pytestmark = pytest.mark.modes("root", "user")

TOOLS = {"create_sandbox", "destroy_sandbox", "list_sandboxes", "execute_command", "execute_code",
         "read_file", "write_file", "list_dir", "make_dir", "stat", "remove_file", "rename",
         "snapshot", "fork"}


class Client:
    def __init__(self, site, *flags):
        self.process = site.spawn(site.immure, "mcp", *mark(site), *flags, stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.number = 0
        self.answers = {}

    def __enter__(self):
        assert self.ask("initialize", protocolVersion="2025-06-18", capabilities={},
                        clientInfo={"name": "t", "version": "0"})["protocolVersion"] == "2025-06-18"
        self.notify("notifications/initialized")
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        said = self.process.stderr.read()
        assert self.process.wait(30) == 0 and said == b"", said

    def raw(self, text):
        self.process.stdin.write(text if isinstance(text, bytes) else text.encode())
        self.process.stdin.flush()

    def notify(self, method, **params):
        self.raw(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}) + "\n")

    def begin(self, method, **params):
        self.number += 1
        self.raw(json.dumps({"jsonrpc": "2.0", "id": self.number, "method": method,
                             "params": params}) + "\n")
        return self.number

    def next(self):
        line = self.process.stdout.readline()
        assert line, "the server has ended"
        return json.loads(line)

    def end(self, number):
        while number not in self.answers:
            got = self.next()
            self.answers[got["id"]] = got
        return self.answers.pop(number)

    def ask(self, method, **params):
        got = self.end(self.begin(method, **params))
        return got["result"] if "result" in got else got["error"]

    def start(self, tool, **arguments):
        return self.begin("tools/call", name=tool, arguments=arguments)

    def result(self, number):
        got = self.end(number)["result"]
        assert json.loads(got["content"][0]["text"]) == got["structuredContent"]
        return got["structuredContent"], got["isError"]

    def tool(self, tool, **arguments):
        body, failed = self.result(self.start(tool, **arguments))
        assert not failed, body
        return body

    def fails(self, tool, **arguments):
        body, failed = self.result(self.start(tool, **arguments))
        assert failed and body["ok"] is False and body["message"], body
        return body

    def sh(self, script, **arguments):
        return self.tool("execute_command", command=script, **arguments)


def test_introduces_itself(site):
    with Client(site) as c:
        assert c.ask("ping") == {}
        tools = {t["name"]: t for t in c.ask("tools/list")["tools"]}
        assert set(tools) == TOOLS
        for tool in tools.values():
            assert tool["description"] and tool["inputSchema"]["type"] == "object"
            assert set(tool["inputSchema"]["required"]) <= set(tool["inputSchema"]["properties"])
        assert c.ask("initialize", protocolVersion="1999-01-01")["protocolVersion"] == "2025-06-18"
        assert c.ask("initialize", protocolVersion="2024-11-05")["protocolVersion"] == "2024-11-05"


def test_one_command(site):
    """A sandbox of its own, sealed in by the server's policy, gone with it."""
    with Client(site, "--deny", site.deny) as c:
        done = c.sh(f"cat {site.deny}/secret; echo out; cat; exit 7", stdin="in\n")
        assert (done["exit_code"], done["stdout"], done["ok"]) == (7, "out\nin\n", False)
        assert "Permission denied" in done["stderr"]
        done = c.tool("execute_command", command=["/bin/echo", "a  b", "$HOME"])
        assert done["stdout"] == "a  b $HOME\n" and done["ok"]
        c.sh("echo x > /tmp/kept")
        assert c.sh("test -e /tmp/kept")["exit_code"] == 1
        assert c.tool("list_sandboxes")["sandboxes"] == []
        assert c.sh("echo $A; pwd", env={"A": "b"}, cwd="/usr")["stdout"] == "b\n/usr\n"
        assert c.sh("kill -9 $$")["exit_code"] == 137


def test_a_client_cannot_widen_the_policy(site):
    with Client(site) as c:
        for more in {"policy": {}}, {"network": "host"}, {"write": ["/"]}:
            got = c.ask("tools/call", name="create_sandbox", arguments=more)
            assert got["code"] == -32602 and "no such argument" in got["message"]
        done = c.fails("execute_command", command="true", env={"LD_PRELOAD": "/x.so"})
        assert "LD_PRELOAD" in done["message"]


def test_sandbox_keeps_its_state(site):
    with Client(site) as c:
        box = c.tool("create_sandbox")["sandbox_id"]
        other = c.tool("create_sandbox")["sandbox_id"]
        c.sh("echo kept > /tmp/file", sandbox_id=box)
        assert c.sh("cat /tmp/file", sandbox_id=box)["stdout"] == "kept\n"
        assert c.sh("cat /tmp/file", sandbox_id=other)["exit_code"] == 1
        assert {s["sandbox_id"] for s in c.tool("list_sandboxes")["sandboxes"]} == {box, other}
        assert c.tool("destroy_sandbox", sandbox_id=box)["destroyed"]
        assert "no such sandbox" in c.fails("execute_command", command="true", sandbox_id=box)["message"]
        # One that is ended from outside is gone as well.
        assert site.call(site.immure, "stop", "--force", other).code == 0
        c.fails("stat", path="/", sandbox_id=other)
        assert harness.until(lambda: c.tool("list_sandboxes")["sandboxes"] == [], 10)
    assert harness.until(lambda: of_policy(site, *mark(site)) == [], 10)


def test_files(site):
    with Client(site) as c:
        box = c.tool("create_sandbox")["sandbox_id"]
        here = {"sandbox_id": box}
        c.tool("make_dir", path="/tmp/d", **here)
        assert c.tool("write_file", path="/tmp/d/f", content="one\n", **here)["written"] == 4
        c.tool("write_file", path="/tmp/d/f", content="zwei ü\n", append=True, **here)
        got = c.tool("read_file", path="/tmp/d/f", **here)
        assert (got["content"], got["encoding"]) == ("one\nzwei ü\n", "utf8")
        data = bytes(range(256)) * 100
        c.tool("write_file", path="/tmp/d/b", content=base64.b64encode(data).decode(),
               encoding="base64", **here)
        got = c.tool("read_file", path="/tmp/d/b", **here)
        assert got["encoding"] == "base64" and base64.b64decode(got["content"]) == data
        c.tool("rename", **{"from": "/tmp/d/b", "to": "/tmp/d/c"}, **here)
        entries = {e["name"]: e for e in c.tool("list_dir", path="/tmp/d", **here)["entries"]}
        assert set(entries) == {"f", "c"} and entries["c"]["bytes"] == len(data)
        assert c.tool("stat", path="/tmp/d", **here)["type"] == "directory"
        c.tool("remove_file", path="/tmp/d/c", **here)
        assert "No such file" in c.fails("stat", path="/tmp/d/c", **here)["message"]
        # A link inside leads nowhere else from here either.
        c.sh(f"ln -s {site.out} /tmp/d/link; ln -s /etc/shadow /tmp/d/shadow", **here)
        assert c.tool("stat", path="/tmp/d/link", **here)["type"] == "link"
        c.fails("write_file", path="/tmp/d/link/new", content="x", **here)
        assert not (site.out / "new").exists()
        assert "base64" in c.fails("write_file", path="/tmp/x", content="?", encoding="base64", **here)["message"]


def test_snapshot(site):
    """Files are kept, more than once begun with, and stay when the server ends."""
    with Client(site, "--deny", site.deny) as c:
        box = c.tool("create_sandbox")["sandbox_id"]
        c.sh("echo one > /tmp/f; sleep 1000 > /dev/null 2>&1 &", sandbox_id=box)
        kept = c.tool("snapshot", sandbox_id=box, name="kept")
        assert kept["contains"] == ["files"] and {"processes", "memory", "secrets"} <= set(kept["excludes"])
        assert (kept["bytes"], kept["left_out"]) == (4, 0) and kept["entries"] >= 1
        assert "policy" not in json.dumps(kept)
        c.sh("echo two > /tmp/f", sandbox_id=box)
        for _ in range(2):
            again = c.tool("create_sandbox", snapshot_id=kept["snapshot_id"])["sandbox_id"]
            done = c.sh(f"cat /tmp/f; pgrep sleep; cat {site.deny}/secret", sandbox_id=again)
            assert done["stdout"] == "one\n" and "Permission denied" in done["stderr"]
        assert c.sh("cat /tmp/f; pgrep -c sleep", sandbox_id=box)["stdout"] == "two\n1\n"
        assert "of that name" in c.fails("snapshot", sandbox_id=box, name="kept")["message"]
        assert "a name is" in c.fails("snapshot", sandbox_id=box, name="../x")["message"]
        assert "no such sandbox" in c.fails("snapshot", sandbox_id="0")["message"]
    made = site.call(site.immure, "resume", "--json", "kept")
    assert made.code == 0, made
    session = json.loads(made.out)["session"]
    assert site.call(site.immure, "exec", session, "--", "cat", "/tmp/f").text == "one\n"
    assert site.call(site.immure, "stop", "--force", "--rm", session).code == 0
    with Client(site) as c:  # of another server, which may have another policy
        for name in kept["snapshot_id"], kept["snapshot_id"][:6], "kept":
            assert "no snapshot of this server" in c.fails("create_sandbox", snapshot_id=name)["message"]
    assert site.call(site.immure, "snapshot", "rm", kept["snapshot_id"]).code == 0


def test_fork(site):
    with Client(site, "--deny", site.deny) as c:
        box = c.tool("create_sandbox")["sandbox_id"]
        c.sh("echo base > /tmp/f; echo no > /tmp/closed", sandbox_id=box)
        assert site.call(site.immure, "tighten", "deny", box, "/tmp/closed").code == 0
        running = c.start("execute_command", command="mkfifo /tmp/p; read x < /tmp/p; echo $x", sandbox_id=box)
        while c.sh("test -p /tmp/p", sandbox_id=box)["exit_code"]:
            pass
        fork = c.tool("fork", sandbox_id=box)["sandbox_id"]
        assert fork != box and {s["sandbox_id"] for s in c.tool("list_sandboxes")["sandboxes"]} == {box, fork}
        done = c.sh(f"cat /tmp/f; echo mine > /tmp/f; cat /tmp/closed; cat {site.deny}/secret", sandbox_id=fork)
        assert done["stdout"] == "base\n" and done["stderr"].count("Permission denied") == 2
        assert c.sh("cat /tmp/f; echo on > /tmp/p", sandbox_id=box)["stdout"] == "base\n"
        assert c.result(running)[0]["stdout"] == "on\n"  # what ran there goes on
        c.tool("destroy_sandbox", sandbox_id=box)
        assert c.sh("cat /tmp/f", sandbox_id=fork)["stdout"] == "mine\n"
        assert json.loads(site.call(site.immure, "snapshot", "ls", "--json").out) == []
    assert harness.until(lambda: of_policy(site, *mark(site), "--deny", site.deny) == [], 10)


def test_code(site):
    with Client(site) as c:
        done = c.tool("execute_code", language="python", code="import sys\nprint(sum(range(10)))\nsys.exit(3)")
        assert (done["stdout"], done["exit_code"]) == ("45\n", 3)
        assert c.tool("execute_code", language="bash", code="x=(1 2); echo ${#x[@]}")["stdout"] == "2\n"
        got = c.ask("tools/call", name="execute_code", arguments={"language": "cobol", "code": ""})
        assert got["code"] == -32602


def test_many_at_once_in_any_order(site):
    with Client(site) as c:
        box = c.tool("create_sandbox")["sandbox_id"]
        slow = c.start("execute_command", command="read x < /tmp/fifo; echo $x", sandbox_id=box) \
            if c.sh("mkfifo /tmp/fifo", sandbox_id=box)["ok"] else None
        others = [c.start("execute_command", command=f"echo {i}", sandbox_id=box) for i in range(8)]
        assert [c.result(n)[0]["stdout"] for n in others] == [f"{i}\n" for i in range(8)]
        assert c.ask("ping") == {}
        c.sh("echo now > /tmp/fifo", sandbox_id=box)
        assert c.result(slow)[0]["stdout"] == "now\n"


def test_time_and_output_are_bounded(site):
    with Client(site) as c:
        done = c.sh("sleep 60", timeout_ms=300)
        assert done["timed_out"] and done["exit_code"] == 124
        done = c.sh("head -c 6000000 /dev/zero | tr '\\\\0' x; echo end >&2")
        assert done["truncated"] and len(done["stdout"]) == 4 << 20 and done["exit_code"] == 0


def test_cancelled(site):
    with Client(site) as c:
        box = c.tool("create_sandbox")["sandbox_id"]
        number = c.start("execute_command", command="echo $$ > /tmp/pid; sleep 60", sandbox_id=box)
        while c.sh("test -s /tmp/pid", sandbox_id=box)["exit_code"]:
            pass
        c.notify("notifications/cancelled", requestId=number)
        while c.tool("list_sandboxes")["sandboxes"][0]["running"]:
            pass
        assert c.sh("kill -0 $(cat /tmp/pid)", sandbox_id=box)["exit_code"] == 1
        assert number not in c.answers  # nobody waits for it


def test_what_is_no_request(site):
    with Client(site) as c:
        for text, code in [("{", -32700), ("[]", -32600), ('{"id":1}', None), ('{"jsonrpc":"2.0","id":1}', None),
                           ('{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600),
                           ('{"jsonrpc":"2.0","id":[],"method":"ping"}', -32600),
                           ('{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', -32600),
                           ('{"jsonrpc":"2.0","id":1,"method":"nothing"}', -32601),
                           ('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}', -32602),
                           ('{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', -32700), ("", None),
                           ('{"jsonrpc":"2.0","method":"nothing"}', None)]:
            c.raw(text + "\n")
            if code:
                assert c.next()["error"]["code"] == code, text
        assert c.ask("ping") == {}
        for wrong in {"command": ""}, {"command": 3}, {"command": []}, {"command": ["a", 1]}, {}, \
                {"command": "x" * 70000}, {"command": "true", "timeout_ms": 0}, \
                {"command": "true", "env": {"A": 1}}, {"command": "true", "cwd": 1}:
            assert c.ask("tools/call", name="execute_command", arguments=wrong)["code"] == -32602
        c.raw(b'{"jsonrpc":"2.0","id":9,"method":"ping","params":{"x":"' + b"y" * (17 << 20) + b'"}}\n')
        assert c.next()["error"]["code"] == -32600
        assert c.ask("ping") == {}
        assert "no-such-program" in c.fails("execute_command", command=["no-such-program"])["message"]


def test_at_most_so_many(site):
    with Client(site) as c:
        boxes = [c.tool("create_sandbox")["sandbox_id"] for _ in range(64)]
        kept = [c.tool("snapshot", sandbox_id=boxes[1])["snapshot_id"] for _ in range(64)]
        assert "64 snapshots" in c.fails("snapshot", sandbox_id=boxes[1])["message"]
        for tool, arguments in ("create_sandbox", {}), ("create_sandbox", {"snapshot_id": kept[63]}), \
                ("fork", {"sandbox_id": boxes[1]}):
            assert "64 sandboxes" in c.fails(tool, **arguments)["message"]
        c.tool("destroy_sandbox", sandbox_id=boxes[0])
        c.tool("create_sandbox", snapshot_id=kept[63])
    assert site.call(site.immure, "snapshot", "rm", *kept).code == 0


def test_nothing_left_when_the_server_is_killed(site):
    c = Client(site)
    c.__enter__()
    c.tool("create_sandbox")
    c.start("execute_command", command="sleep 1000")
    c.process.kill()
    c.process.wait()
    for stream in (c.process.stdin, c.process.stdout, c.process.stderr):
        stream.close()
    assert harness.until(lambda: of_policy(site, *mark(site)) == [], 10)


def test_wrong_policy_is_said_at_once(site):
    result = site.call(site.immure, "mcp", "--memory", "much", input=b"")
    assert result.code == 125 and "--memory" in result.errors
    result = site.call(site.immure, "mcp", "extra", input=b"")
    assert result.code == 125 and result.errors.count("\n") == 1


def test_config_for_a_client(site):
    result = site.call(site.immure, "mcp", "--config", "--profile", "strict")
    server = json.loads(result.out)["mcpServers"]["immure"]
    assert server["args"] == ["mcp", "--profile", "strict"]
    assert server["command"] == str(site.immure)
