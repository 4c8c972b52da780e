# SPDX-License-Identifier: Apache-2.0
"""Unix sockets of the host: lent by name (network.sockets), all others closed."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess

import pytest

import harness
from netlab import allow
from sessions import Session

CONNECT = ("import socket,sys\n"
           "for p in sys.argv[1:]:\n"
           "  s=socket.socket(socket.AF_UNIX)\n"
           "  try: s.connect(p); print(s.recv(9).decode())\n"
           "  except OSError as e: print(e.errno)\n")
EACCES, ENOENT = "13", "2"
AGENT = "$SSH_AUTH_SOCK"


@pytest.fixture
def host():
    """Sockets of the host: each says its word to whoever connects."""
    with contextlib.ExitStack() as stack:
        def listen(path, word="reached"):
            server = stack.enter_context(socket.socket(socket.AF_UNIX))
            server.bind(str(path))
            server.listen()
            os.chmod(path, 0o777)
            code = "import socket,sys\ns=socket.socket(fileno=0)\n" \
                   "while 1: s.accept()[0].sendall(sys.argv[1].encode())\n"
            process = subprocess.Popen(["/usr/bin/python3", "-c", code, word], stdin=server)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return path

        yield listen


def words(site, *paths, flags=(), **kw):
    result = site.run("/usr/bin/python3", "-c", CONNECT, *paths, flags=flags, **kw)
    assert result.code == 0, result
    return result.text.split()


def lend(*paths):
    return [word for path in paths for word in ("--socket", str(path))]


@pytest.mark.parametrize("profile", ["dev", "strict"])
def test_one_socket_and_no_other(site, host, profile):
    mine, other = host(site.path / "a.sock"), host(site.path / "b.sock")
    closed = EACCES if profile == "dev" else ENOENT
    flags = ["--profile", profile]
    assert words(site, mine, other, flags=flags) == [closed, closed]
    assert words(site, mine, other, flags=flags + lend(mine)) == ["reached", closed]


def test_lists_of_files_lend_too(site, host):
    mine, other = host(site.path / "a.sock"), host(site.path / "b.sock")
    assert words(site, mine, other, flags=["--read", mine]) == ["reached", EACCES]
    assert words(site, mine, other, flags=["--read", site.path]) == [EACCES, EACCES]


def test_in_the_workspace(site, host):
    mine, other = host(site.ws / "a.sock"), host(site.ws / "b.sock")
    assert words(site, mine, other, flags=lend("a.sock")) == ["reached", EACCES]
    assert site.sh("mv a.sock c.sock || rm -f a.sock", flags=lend("a.sock")).code != 0
    assert words(site, mine, flags=lend(mine)) == ["reached"]


def test_all_below_a_directory(site, host):
    lent = site.ws / "lent"
    lent.mkdir()
    (lent / "deep").mkdir()
    os.chown(lent, site.uid, site.gid)
    inside = [host(lent / "a.sock"), host(lent / "deep/b.sock")]
    beside = host(site.ws / "lent.sock")
    denied = host(lent / "c.sock")
    flags = lend(f"{lent}/") + ["--deny", denied]
    assert words(site, *inside, beside, denied, flags=flags) == ["reached"] * 2 + [EACCES] * 2
    assert site.sh("touch lent/new && rm lent/new", flags=flags).code == 0, "no writing taken away"


def test_what_a_directory_lends_later(site, host):
    lent = site.path / "lent"
    lent.mkdir()
    host(lent / "first.sock")
    with Session(site, *lend(f"{lent}/")) as s:
        later = host(lent / "later.sock")
        assert s.exec("/usr/bin/python3", "-c", CONNECT, later).text == "reached\n"
        assert s.sh(f"touch {lent}/new").code != 0


def test_places_of_secrets_stay_closed_below_a_lent_directory(site, host):
    secret = site.home / ".gnupg"
    secret.mkdir()
    os.chown(secret, site.uid, site.gid)
    agent, plain = host(secret / "S.gpg-agent"), host(site.home / "plain.sock")
    assert words(site, agent, plain, flags=lend(f"{site.home}/")) == [EACCES, "reached"]
    assert words(site, agent, flags=lend(agent)) == ["reached"]


def test_a_link_means_what_it_leads_to(site, host):
    mine, other = host(site.path / "a.sock"), host(site.path / "b.sock")
    link = site.path / "link.sock"
    link.symlink_to(mine)
    flags = lend(link)
    assert words(site, link, mine, other, flags=flags) == ["reached", "reached", EACCES]
    assert words(site, link, flags=["--profile", "strict", *flags]) == ["reached"]


def test_what_takes_its_place(site, host):
    """The service is started anew, or somebody else took the name: that is another socket.
    Where the view is the host's own tree the kernel shows what it finds there."""
    mine = host(site.path / "a.sock", "first")
    lent = site.path / "lent"
    lent.mkdir()
    host(lent / "b.sock", "first")
    with Session(site, "--profile", "strict", *lend(mine, f"{lent}/")) as s:
        assert s.exec("/usr/bin/python3", "-c", CONNECT, mine, lent / "b.sock").text == \
            "first\nfirst\n"
        for path in (mine, lent / "b.sock"):
            path.unlink()
            host(path, "second")
        said = s.exec("/usr/bin/python3", "-c", CONNECT, mine, lent / "b.sock").text.split()
        assert said[0] != "second" and said[1] == "second", said


def test_what_cannot_be_lent_is_refused(site, host):
    mine = host(site.path / "a.sock")
    (site.path / "state/immure").mkdir(parents=True)
    site.own(site.path / "state")
    for path, why in ((site.path / "out/ro.txt", "not a socket"), (site.path / "out", "not a socket"),
                      (site.path / "nothing", "does not exist"), (f"{mine}/", "not a directory"),
                      (AGENT, "SSH_AUTH_SOCK names no socket"), ("/", "cannot be lent"),
                      ("/proc/", "cannot be lent"), ("$HOME/x", "only $SSH_AUTH_SOCK"),
                      (f"{site.path}/state/immure/", "own state")):
        result = site.run("/bin/true", flags=lend(path))
        assert result.code == 125 and why in result.err.decode(), (path, result)
    for path in (site.path / "nothing", AGENT, site.path / "nowhere/"):
        assert site.run("/bin/true", flags=lend(f"?{path}")).code == 0


def test_a_file_in_its_place_at_the_start(site, host):
    """Between planning and starting it became something else."""
    path = host(site.path / "a.sock")
    script = ("import os, sys\n"
              "sys.path.insert(0, sys.argv[1])\n"
              "os.environ['IMMURE_LIBRARY'] = sys.argv[2]\n"
              "import immure\n"
              "p = immure.Policy.load(profile='dev', settings={'network.sockets': [sys.argv[3]]},\n"
              "                       discover=False)\n"
              "plan = immure.Plan.create(p, ['/bin/true'])\n"
              "os.unlink(sys.argv[3]); open(sys.argv[3], 'w').close()\n"
              "try: immure.run(plan, programs=immure.Programs(sys.argv[4]))\n"
              "except immure.Error as e: print(e)\n")
    root = pathlib.Path(__file__).resolve().parents[2]
    library = pathlib.Path(os.environ.get("IMMURE_BUILD", root / "build")) / "src/lib/libimmure.so"
    result = site.call("/usr/bin/python3", "-c", script, root / "bindings/python", library, path,
                       site.immure, env=harness.for_the_library())
    # As musl says it, and glibc.
    assert result.text in (f"{path}: Not a socket\n", f"{path}: Socket operation on non-socket\n"), result


def test_plan(site, host):
    mine = host(site.path / "a.sock")
    plan = json.loads(site.call(site.immure, "plan", "--json", *lend(mine, f"{site.out}/"), "--",
                                "/bin/true").out)
    lent = {op["dst"]: op["flags"] for op in plan["operations"]
            if op.get("key") == "network.sockets"}
    assert "socket" in lent[str(mine)] and "socket" in lent[str(site.out)], lent
    text = site.call(site.immure, "plan", *lend(mine, f"{site.out}/"), "--", "/bin/true").text
    assert f"  socket {mine} " in text and f"  sockets below {site.out} " in text, text
    bare = json.loads(site.call(site.immure, "plan", "--json", "--backend", "landlock", *lend(mine),
                                "--", "/bin/true").out)
    assert any(gap["key"] == "network.sockets" for gap in bare["gaps"]), bare["gaps"]


# ---- a real agent ------------------------------------------------------------------------


@pytest.fixture
def agent(net, ssh):
    """ssh-agent on the host, with the lab's key and nothing else of it at hand."""
    options = ["-o", "IdentitiesOnly=no", *net.key()]
    path = net.path / "agent"
    path.mkdir()
    os.chown(path, net.uid, net.gid)
    path = path / "ssh.sock"
    process = net.spawn("ssh-agent", "-D", "-a", path, stdin=-1)
    try:
        assert harness.until(path.exists, 10)
        assert net.call("ssh-add", "-q", "id", env={"SSH_AUTH_SOCK": str(path)}).code == 0
        (net.ws / "id").unlink()
        yield path, options
    finally:
        process.terminate()
        process.communicate()


def test_an_agent_lends_its_keys(net, agent):
    path, options = agent
    env = {"SSH_AUTH_SOCK": str(path)}
    login = ["ssh", *options, "lab@ssh.example.net", "echo in"]
    flags = allow("ssh.example.net:22")
    assert net.run("ssh-add", "-l", env=env).code == 2, "no agent without the rule"
    listed = net.run("ssh-add", "-l", flags=lend(AGENT), env=env)
    assert listed.code == 0 and "ED25519" in listed.text, listed
    result = net.run(*login, flags=flags + lend(AGENT), env=env)
    assert result.text == "in\n", result
    with Session(net, *flags, *lend(AGENT), env=env) as s:
        assert s.exec("ssh-add", "-l", env=env).code == 0


def test_proof_with_an_agent(net, agent):
    path, _ = agent
    result = net.call(net.immure, "prove", *lend(AGENT), env={"SSH_AUTH_SOCK": str(path)},
                      timeout=120)
    assert result.code == 0, result
