# SPDX-License-Identifier: Apache-2.0
"""Real programs, in the default profile: work that must go on as before."""

import os
import shutil
import subprocess

import pytest

import harness


def need(*programs):
    for name in programs:
        if not shutil.which(name, path="/usr/local/bin:/usr/bin:/bin"):
            pytest.skip(f"{name} is not installed")


def ok(result):
    assert result.code == 0, result
    return result.text


def test_git(site):
    need("git")
    script = """set -e
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
git init -q origin && cd origin && echo one > f && git add f && git commit -qm one && cd ..
git clone -q origin copy && cd copy && echo two >> f && git commit -qam two
git checkout -qb other && git rebase -q master 2>/dev/null || git rebase -q main
git gc -q && git fsck && git log --oneline | wc -l && git diff HEAD~1 --stat && git push -q origin other
"""
    assert "2" in ok(site.sh(script)).split()
    assert (site.ws / "copy/f").read_text() == "one\ntwo\n"
    assert (site.ws / "copy/.git/HEAD").exists()


def test_git_in_an_existing_repository(site):
    need("git")
    subprocess.run(["git", "init", "-q", str(site.ws)], check=True, env=site.environment())
    site.own(site.ws)
    script = "git add mine && git -c user.name=a -c user.email=a@b commit -qm one && " \
             "git status --short | head -3 && git stash list && git tag v1 && git log --oneline"
    assert "one" in ok(site.sh(script))


def test_gcc_project(site):
    need("gcc", "make")
    for i in range(6):
        site.put(f"src/f{i}.c", f"int f{i}(int x) {{ return x + {i}; }}\n")
    calls = " + ".join(f"f{i}(1)" for i in range(6))
    decls = "".join(f"int f{i}(int);" for i in range(6))
    site.put("src/main.c", f"#include <stdio.h>\n{decls}\nint main(void)"
                           f"{{ printf(\"%d\\n\", {calls}); return 0; }}\n")
    site.put("Makefile", "O = $(patsubst %.c,%.o,$(wildcard src/*.c))\nall: prog\n"
                         "prog: $O\n\tgcc -O2 -g -o $@ $O\n%.o: %.c\n\tgcc -O2 -g -c -o $@ $<\n")
    assert ok(site.sh("make -j4 >/dev/null && ./prog")).strip() == "21"
    assert (site.ws / "prog").exists()


def test_python_venv(site):
    need("python3")
    script = "/usr/bin/python3 -m venv --without-pip v && ./v/bin/python -c " \
             "'import sys, ssl, sqlite3, ctypes, multiprocessing; print(sys.prefix)'"
    assert ok(site.sh(script)).strip() == f"{site.ws}/v"


def test_python_multiprocessing(site):
    script = "import multiprocessing as m\n" \
             "def f(x): return x*x\n" \
             "if __name__ == '__main__':\n" \
             " with m.Pool(3) as p: print(sum(p.map(f, range(50))))\n" \
             " q=m.Queue(); q.put(1); print(q.get()); s=m.Semaphore(1); s.acquire()\n"
    site.put("mp.py", script)
    assert ok(site.run("/usr/bin/python3", "mp.py")).split() == ["40425", "1"]


def test_python_subprocess_and_threads(site):
    script = "import subprocess,threading,asyncio,tempfile\n" \
             "print(subprocess.check_output(['echo','x']).decode().strip())\n" \
             "t=[threading.Thread(target=lambda: None) for _ in range(30)]\n" \
             "[x.start() for x in t]; [x.join() for x in t]\n" \
             "async def f():\n p=await asyncio.create_subprocess_exec('true'); return await p.wait()\n" \
             "print(asyncio.run(f()))\n" \
             "print(len(tempfile.mkdtemp()) > 0)\n"
    assert ok(site.python(script)).split() == ["x", "0", "True"]


def test_pytest(site):
    if subprocess.run(["/usr/bin/python3", "-m", "pytest", "--version"],
                      capture_output=True).returncode != 0:
        pytest.skip("pytest is not installed for /usr/bin/python3")
    site.put("t/test_one.py", "def test_a(tmp_path):\n    (tmp_path / 'x').write_text('y')\n"
                              "def test_b(capfd):\n    import os; os.system('echo hi')\n"
                              "    assert capfd.readouterr().out == 'hi\\n'\n")
    assert "2 passed" in ok(site.run("/usr/bin/python3", "-m", "pytest", "-q", "t"))


def test_node_worker_threads(site):
    need("node")
    site.put("w.js", """
const {Worker, isMainThread, parentPort} = require('worker_threads');
if (isMainThread) {
  let n = 0;
  for (let i = 0; i < 4; i++) new Worker(__filename).on('message', m => {
    n += m; if (n === 400) { console.log('sum', n);
      require('fs').writeFileSync('out.txt', 'x');
      require('child_process').execSync('true');
      require('http').createServer().listen(0, '127.0.0.1', function () { this.close(); }); } });
} else { parentPort.postMessage(100); }
""")
    assert "sum 400" in ok(site.run("/usr/bin/node", "w.js", timeout=90))


def test_make_parallel(site):
    need("make")
    rules = "".join(f"t{i}:\n\t@sleep 0.02; echo {i}\n" for i in range(30))
    site.put("Makefile", "all: " + " ".join(f"t{i}" for i in range(30)) + "\n" + rules)
    assert len(ok(site.run("/usr/bin/make", "-j8")).split()) == 30


def test_sqlite(site):
    need("sqlite3")
    script = "sqlite3 db.sqlite 'pragma journal_mode=wal; create table t(x); " \
             "insert into t values(1),(2); select sum(x) from t;'"
    assert ok(site.sh(script)).split() == ["wal", "3"]
    assert ok(site.sh("sqlite3 db.sqlite 'select count(*) from t'")).strip() == "2"


def test_tmux(site):
    need("tmux")
    script = """set -e
tmux -f /dev/null new-session -d -s s -x 80 -y 24 'echo inside > made; sleep 30'
for i in $(seq 100); do [ -s made ] && break; sleep 0.05; done
tmux list-sessions | grep -c s: ; cat made; tmux kill-server"""
    assert "inside" in ok(site.sh(script))


def test_java(site):
    need("java")
    result = site.run("/usr/bin/java", "-version", timeout=90)
    assert result.code == 0, result
    site.put("Hello.java", "public class Hello { public static void main(String[] a) throws Exception {"
                           "Thread t = new Thread(() -> System.out.println(\"thread\"));"
                           "t.start(); t.join(); System.out.println(6 * 7); } }")
    if shutil.which("javac"):
        assert ok(site.run("/usr/bin/java", "Hello.java", timeout=120)).split() == ["thread", "42"]


PAGE = """<p id=x>nothing</p><canvas id=c></canvas><script>
const wasm = WebAssembly.validate(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]));
const drawn = document.getElementById("c").toDataURL().length > 100;
document.getElementById("x").textContent = "sum " + (20 + 22) + wasm + drawn;
</script>"""


def test_a_browser_without_its_own_sandbox(site):
    """Its processes and renderers under the filter `default`; its profile lies in the
    private /tmp, because the home cannot be written."""
    need("chromium")
    site.put("page.html", PAGE)
    result = site.run("/usr/bin/chromium", "--headless", "--no-sandbox", "--user-data-dir=/tmp/profile",
                      "--dump-dom", f"file://{site.ws}/page.html", timeout=120)
    assert "sum 42truetrue" in ok(result), result


@pytest.mark.modes("root")
def test_cargo(site):
    cargo = shutil.which("cargo") or "/root/.cargo/bin/cargo"
    if not os.path.exists(cargo):
        pytest.skip("cargo is not installed")
    home = os.path.expanduser("~")
    site.put("c/Cargo.toml", '[package]\nname = "c"\nversion = "0.1.0"\nedition = "2021"\n')
    site.put("c/src/main.rs", 'fn main() { println!("{}", 6 * 7); }\n')
    result = site.sh(f"cd c && {cargo} run -q --offline", timeout=120, flags=[
        "--env", "CARGO_HOME=/tmp/cargo", "--env", f"RUSTUP_HOME={home}/.rustup"],
        env={"HOME": home, "PATH": f"{os.path.dirname(cargo)}:/usr/bin:/bin"})
    assert ok(result).strip() == "42"


def test_go(site):
    go = shutil.which("go", path="/usr/local/go/bin:/usr/bin:/usr/local/bin")
    if not go:
        pytest.skip("go is not installed")
    site.put("g/main.go", 'package main\nimport "fmt"\nfunc main() { c := make(chan int); '
                          'go func() { c <- 42 }(); fmt.Println(<-c) }\n')
    result = site.sh(f"cd g && {go} run main.go", timeout=180,
                     flags=["--env", "GOCACHE=/tmp/go", "--env", "GOFLAGS=-mod=mod",
                            "--env", "GO111MODULE=off"])
    assert ok(result).strip() == "42"


def test_shell_tools(site):
    script = "set -e; tar cf a.tar mine && tar tf a.tar && gzip -k mine && zcat mine.gz && " \
             "find . -name 'mine*' | sort | xargs ls -l | wc -l && sed -i s/mine/yours/ mine && " \
             "cat mine && awk 'BEGIN { print 6*7 }' && date +%Y >/dev/null && id && uname && " \
             "mktemp -d >/dev/null && grep -r yours . | head -1 && flock mine true && nproc && " \
             "timeout 5 true && nohup true && setsid true && nice -n 1 true"
    assert "42" in ok(site.sh(script))


def test_perl(site):
    need("perl")
    assert ok(site.run("/usr/bin/perl", "-e", "use Socket; use POSIX; print 6*7")) == "42"


def test_strace_of_own_children(site):
    need("strace")
    result = site.sh("strace -f -o /tmp/t /bin/true; head -1 /tmp/t")
    assert result.code == 0 and "execve" in result.text, result
