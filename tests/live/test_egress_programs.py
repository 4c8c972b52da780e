# SPDX-License-Identifier: Apache-2.0
"""Programs that people use, with nothing set for them: they reach by name what is
allowed, and nothing else leaves the host. One test for each program."""

import os
import pathlib
import shutil
import subprocess

import pytest

import harness
import netlab
import netlab_zone as zone
from netlab import allow

WEB, SECURE = "web.example.net", "secure.example.net"


def need(*programs):
    for name in programs:
        if not netlab.which(name):
            pytest.skip(f"{name} is not installed")


# The proxy is at an IPv4 address: a client that is told to use IPv6 alone cannot have it.
PLAIN = ["--proxy", "false"]


def ok(result):
    assert result.code == 0, result
    return result.text


def test_curl_http(net, family):
    need("curl")
    text = ok(net.run("curl", f"-{family}", "-sS", f"http://{WEB}/a", flags=allow(f"{WEB}:80")))
    assert text == f"web {WEB} /a\n"
    net.lab.seen().only(f"{WEB}:80")


def test_curl_https(net, family):
    need("curl")
    text = ok(net.run("curl", f"-{family}", "-sS", f"https://{SECURE}/a",
                      flags=allow(SECURE) + PLAIN))
    assert text == f"web {SECURE} /a\n"
    assert ("sni", SECURE, "") in net.lab.seen().only(f"{SECURE}:443").log


def test_curl_without_any_variable(net, family):
    """No proxy variable is needed: where one is set, it is taken away here."""
    need("curl")
    text = ok(net.sh(f"exec env -i /usr/bin/curl -{family} -sS https://{SECURE}/b",
                     flags=allow(SECURE)))
    assert text == f"web {SECURE} /b\n"
    net.lab.seen().only(f"{SECURE}:443")


def test_curl_refuses_others(net, family):
    need("curl")
    script = f"curl -{family} -sS -m 5 https://other.example.net/; echo $?; " \
             f"curl -{family} -sS -m 5 https://{SECURE}:8443/; echo $?"
    result = net.sh(script, flags=allow(SECURE) + PLAIN)
    assert result.text.split() == ["6", "7"], result  # not resolved, not connected
    net.lab.seen().only()


def test_curl_by_the_proxy(net):
    """As the variables tell it to."""
    need("curl")
    script = f"curl -sS https://{SECURE}/v 2>&1; curl -sS https://other.example.net/ 2>&1"
    result = net.sh(script, flags=allow(SECURE))
    assert f"web {SECURE} /v" in result.text and "403" in result.text, result
    net.lab.seen().only(f"{SECURE}:443")


def test_curl_follows_a_redirect_to_allowed_places_only(net):
    need("curl")
    result = net.sh(f"curl -sSL -m 5 'http://{WEB}/redirect?http://other.example.net/'; echo $?; "
                    f"curl -sSL -m 5 'http://{WEB}/redirect?http://{WEB}/there'",
                    flags=allow(f"{WEB}:80"))
    assert result.text == f"6\nweb {WEB} /there\n", result
    net.lab.seen().only(f"{WEB}:80")


def test_wget(net, family):
    need("wget")
    text = ok(net.run("wget", f"-{family}", "-q", "-O", "-", f"https://{SECURE}/w",
                      flags=allow(SECURE) + PLAIN))
    assert text == f"web {SECURE} /w\n"
    net.lab.seen().only(f"{SECURE}:443")


def test_git_https(net):
    need("git")
    net.lab.repository("one.git", {"f": "content\n"})
    script = "set -e; export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a " \
             "GIT_COMMITTER_EMAIL=a@b\n" \
             "git clone -q https://git.example.net/git/one.git copy; cd copy; cat f\n" \
             f"git checkout -qb side-$$; echo more >g; git add g; git commit -qm two\n" \
             "git push -q origin HEAD 2>&1; git ls-remote --heads origin | wc -l"
    out = ok(net.sh(script, flags=allow("git.example.net:443"))).split()
    assert out[0] == "content" and int(out[-1]) >= 2
    net.lab.seen().only("git.example.net:443")


def test_git_ssh(net, ssh):
    need("git", "ssh")
    bare = net.lab.repository("two.git", {"f": "by ssh\n"})
    command = " ".join(["ssh", *net.key()])
    text = ok(net.run("git", "clone", "-q", f"ssh://lab@git.example.net{bare}", "copy",
                      flags=allow("ssh://git.example.net:22") + [
                          "--env", f"GIT_SSH_COMMAND={command}"]))
    assert text == "" and (net.ws / "copy/f").read_text() == "by ssh\n"
    net.lab.seen().only("git.example.net:22")


def test_ssh(net, family, ssh):
    need("ssh")
    text = ok(net.run("ssh", f"-{family}", *net.key(), "lab@ssh.example.net", "echo from $USER",
                      flags=allow("ssh.example.net:22")))
    assert text == "from lab\n"
    net.lab.seen().only("ssh.example.net:22")


@pytest.mark.parametrize("scheme", ["", "tls://"])
@pytest.mark.parametrize("proxy", [[], ["--noproxy", "*"]], ids=["proxy", "plain"])
def test_http2(net, family, http2, scheme, proxy):
    """It is chosen inside TLS, and passes untouched."""
    need("curl")
    port = zone.HTTP2
    text = ok(net.run("curl", "-sS", f"-{family}", "--http2", *proxy, "-w", "%{http_version}",
                      f"https://{SECURE}:{port}/x", flags=allow(f"{scheme}{SECURE}:{port}")))
    assert text == f"h2 {SECURE}:{port} /x\n2"
    net.lab.seen().only(f"{SECURE}:{port}")


def test_http2_of_node(net, http2):
    script = f"""const c = require('http2').connect('https://{SECURE}:{zone.HTTP2}');
let n = 0, got = '';
for (let i = 0; i < 20; i++) {{
  const r = c.request({{ ':path': '/' + i }}); r.setEncoding('utf8');
  r.on('data', d => got += d); r.on('end', () => {{ if (++n == 20) {{ console.log(got); c.close(); }} }});
}}"""
    flags = allow(f"tls://{SECURE}:{zone.HTTP2}") + [
        "--env", f"NODE_EXTRA_CA_CERTS={net.lab.path}/ca.pem"]
    text = ok(net.run("node", "-e", script, flags=flags))
    assert sorted(text.split()) == sorted(f"h2 {SECURE}:{zone.HTTP2} /{i}".split()[k]
                                          for i in range(20) for k in range(3))


def test_python(net):
    script = f"import urllib.request as u; print(u.urlopen('https://{SECURE}/p').read().decode())"
    assert ok(net.python(script, flags=allow(SECURE))).strip() == f"web {SECURE} /p"
    net.lab.seen().only(f"{SECURE}:443")


def test_python_asyncio(net, family):
    """Happy eyeballs and many at once, on one name."""
    script = f"""import asyncio
async def one(i):
    r, w = await asyncio.open_connection('echo.example.net', {zone.ECHO},
                                         happy_eyeballs_delay=0.1)
    w.write(b'%d' % i); w.write_eof()
    data = await r.read(); w.close()
    assert data == b'%d' % i, data
async def main():
    await asyncio.gather(*[one(i) for i in range(50)])
asyncio.run(main()); print('all')
"""
    assert ok(net.python(script, flags=allow(f"echo.example.net:{zone.ECHO}"))) == "all\n"
    net.lab.seen().only(f"echo.example.net:{zone.ECHO}")


def test_node(net):
    need("node")
    script = f"fetch('https://{SECURE}/n').then(r => r.text()).then(t => console.log(t))"
    # It trusts what was compiled in, and what this names: the lab's authority.
    flags = allow(SECURE) + ["--env", f"NODE_EXTRA_CA_CERTS={net.lab.path}/ca.pem"]
    assert ok(net.run("node", "-e", script, flags=flags)).strip() == f"web {SECURE} /n"
    net.lab.seen().only(f"{SECURE}:443")


GO = """package main

import ("fmt"; "io"; "net/http"; "os")

func main() {
	r, err := http.Get(os.Args[1])
	if err != nil { fmt.Println(err); os.Exit(1) }
	b, _ := io.ReadAll(r.Body)
	fmt.Print(string(b))
}
"""


@pytest.fixture(scope="module")
def go_client(base):
    """Built outside once: static, with Go's own resolver."""
    need("go")
    place = base / "go-client"
    place.mkdir()
    (place / "main.go").write_text(GO)
    subprocess.run(["go", "build", "-o", "client", "main.go"], cwd=place, check=True,
                   stdin=subprocess.DEVNULL, capture_output=True,
                   env={"PATH": netlab.PATH, "HOME": str(place), "CGO_ENABLED": "0",
                        "GOCACHE": str(place / "cache"), "GO111MODULE": "off", "GOFLAGS": "-p=2"})
    data = (place / "client").read_bytes()
    subprocess.run(["chmod", "-R", "u+w", place], check=True)
    harness.remove_tree(place)
    return data


def test_go(net, go_client):
    net.put("client", go_client, 0o755)
    assert ok(net.run("./client", f"https://{SECURE}/g", flags=allow(SECURE))) == (
        f"web {SECURE} /g\n")
    net.lab.seen().only(f"{SECURE}:443")


JAVA = """
import java.net.*; import java.net.http.*; import java.io.*; import java.security.*;
import java.security.cert.*; import javax.net.ssl.*;
class Client {
  public static void main(String[] a) throws Exception {
    KeyStore ks = KeyStore.getInstance("PKCS12"); ks.load(null, null);
    try (InputStream in = new FileInputStream(a[1])) {
      ks.setCertificateEntry("lab", CertificateFactory.getInstance("X.509").generateCertificate(in));
    }
    TrustManagerFactory t = TrustManagerFactory.getInstance("PKIX"); t.init(ks);
    SSLContext c = SSLContext.getInstance("TLS"); c.init(null, t.getTrustManagers(), null);
    HttpClient h = HttpClient.newBuilder().sslContext(c).build();
    System.out.print(h.send(HttpRequest.newBuilder(URI.create(a[0])).build(),
                            HttpResponse.BodyHandlers.ofString()).body());
    try (Socket s = new Socket("echo.example.net", 7)) {
      s.getOutputStream().write("raw".getBytes()); s.shutdownOutput();
      System.out.println(new String(s.getInputStream().readAllBytes()));
    }
  }
}
"""


def test_java(net):
    need("java", "javac")
    net.put("Client.java", JAVA)
    text = ok(net.run("java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "Client.java",
                      f"https://{SECURE}/j", net.lab.path / "ca.pem",
                      flags=allow(SECURE, "echo.example.net:7")))
    assert text == f"web {SECURE} /j\nraw\n"
    net.lab.seen().only(f"{SECURE}:443", "echo.example.net:7")


def cargo_program():
    """Not the wrapper of rustup, which wants its own home."""
    found = [pathlib.Path(p) for p in (netlab.which("cargo"),) if p]
    found += sorted(pathlib.Path.home().glob(".rustup/toolchains/*/bin/cargo"))
    return next((p for p in found if os.access(p, os.X_OK)), None)


def test_cargo(net):
    """A dependency from a git repository over https, by cargo's own client."""
    need("git")
    program = cargo_program()
    if not program:
        pytest.skip("cargo is not installed")
    net.lab.repository("labcrate.git", {
        "Cargo.toml": "[package]\nname = \"labcrate\"\nversion = \"0.1.0\"\n",
        "src/lib.rs": "pub fn one() -> u32 { 1 }\n"})
    net.put("Cargo.toml", "[package]\nname = \"app\"\nversion = \"0.1.0\"\n[dependencies]\n"
                          "labcrate = { git = \"https://git.example.net/git/labcrate.git\" }\n")
    net.put("src/main.rs", "fn main() { println!(\"{}\", labcrate::one()); }\n")
    shutil.copy(program, net.ws / "cargo-client")
    os.chmod(net.ws / "cargo-client", 0o755)
    net.own(net.ws)
    flags = allow("git.example.net:443") + [
        "--env", f"CARGO_HOME={net.ws}/ch", "--env",
        "CARGO_HTTP_CAINFO=/etc/ssl/certs/ca-certificates.crt"]
    result = net.run("./cargo-client", "generate-lockfile", flags=flags)
    assert result.code == 0, result
    assert "git.example.net/git/labcrate.git" in (net.ws / "Cargo.lock").read_text()
    net.lab.seen().only("git.example.net:443")


def test_psql(net, postgres):
    need("psql")
    text = ok(net.run("psql", "-h", "db.example.net", "-U", "lab", "postgres", "-Atc",
                      "select 6 * 7", flags=allow("db.example.net:5432")))
    assert text == "42\n"
    net.lab.seen().only("db.example.net:5432")


def test_redis_cli(net, redis):
    need("redis-cli")
    script = "redis-cli -h cache.example.net set k v && redis-cli -h cache.example.net get k"
    assert ok(net.sh(script, flags=allow("tcp://cache.example.net:6379"))).split() == ["OK", "v"]
    net.lab.seen().only("cache.example.net:6379")


def test_nc(net, family):
    need("nc")
    script = f"printf 'one\\ntwo\\n' | nc -{family} -N echo.example.net {zone.ECHO}"
    assert ok(net.sh(script, flags=allow(f"echo.example.net:{zone.ECHO}"))) == "one\ntwo\n"
    net.lab.seen().only(f"echo.example.net:{zone.ECHO}")


def test_nc_where_the_server_speaks_first(net, family):
    need("nc")
    text = ok(net.sh(f"echo quit | nc -{family} -N echo.example.net {zone.GREET}",
                     flags=allow(f"echo.example.net:{zone.GREET}")))
    assert text == "220 server speaks first\r\n"
    net.lab.seen().only(f"echo.example.net:{zone.GREET}")


def test_bash(net):
    need("bash")
    script = f"exec 3<>/dev/tcp/echo.example.net/{zone.GREET}; head -n 1 <&3"
    assert "220" in ok(net.run("bash", "-c", script,
                               flags=allow(f"echo.example.net:{zone.GREET}")))


def test_getent(net):
    need("getent")
    result = net.sh("getent ahosts web.example.net && getent hosts other.example.net; echo $?",
                    flags=allow(WEB))
    assert "STREAM" in result.text and result.text.endswith("2\n"), result
    net.lab.seen().only()


def test_dig(net):
    need("dig")
    script = "dig +short web.example.net A; dig +short +tcp web.example.net A; " \
             "dig web.example.net TXT | grep -c NOERROR; dig other.example.net | grep -c NXDOMAIN; " \
             "dig +short -x $(dig +short web.example.net A)"
    out = ok(net.sh(script, flags=allow(WEB))).split()
    assert out[0] == out[1] and out[0].startswith(("198.18.", "198.19.")), out
    assert out[2:] == ["1", "1", "web.example.net."]
    net.lab.seen().only()


def test_perl(net):
    need("perl")
    script = "use IO::Socket::INET; $s = IO::Socket::INET->new('echo.example.net:%d') or die $!; " \
             "print scalar <$s>" % zone.GREET
    assert "220" in ok(net.run("perl", "-e", script, flags=allow(
        f"echo.example.net:{zone.GREET}")))
