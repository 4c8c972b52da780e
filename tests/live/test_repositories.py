# SPDX-License-Identifier: Apache-2.0
"""What a command can do to git inside must not run anything on the host: after
each attempt the host's git is asked for the status wherever it could be asked."""

import os
import subprocess
import time

import pytest

TRAP = "trap-ran"


def git(site, *argv, cwd=None):
    result = site.call("/usr/bin/git", *argv, cwd=cwd)
    assert result.code == 0, result
    return result


@pytest.fixture
def repo(site):
    git(site, "init", "-q")
    git(site, "-c", "user.name=n", "-c", "user.email=e", "commit", "-q", "--allow-empty", "-m", "x")
    return site


def asked_everywhere(site):
    """git status and a commit in every directory, by the user on the host."""
    for top, dirs, files in os.walk(site.ws):
        for argv in (["status", "-s"], ["commit", "-q", "--allow-empty", "-m", "y"]):
            site.call("/usr/bin/git", "-c", "user.name=n", "-c", "user.email=e", *argv, cwd=top)
    return not (site.path / TRAP).exists() and not (site.ws / TRAP).exists()


def bad(site):
    return f'printf "[core]\\n\\tfsmonitor = touch {site.path}/{TRAP}; false\\n" >>'


def hook(site, path):
    return f'printf "#!/bin/sh\\ntouch {site.path}/{TRAP}\\n" > {path}; chmod +x {path}'


ATTACKS = {
    "commondir": lambda s: f"mkdir ev; cp -r .git/config .git/objects .git/refs ev; {bad(s)} "
                           "ev/config; echo ../ev > .git/commondir",
    "pointer to one in halves": lambda s: "mkdir -p w ev co/objects co/refs; echo 'gitdir: ../ev' > w/.git; "
                                          f"echo 'ref: refs/heads/m' > ev/HEAD; echo ../co > ev/commondir; {bad(s)} co/config",
    "halves, with hooks": lambda s: "mkdir -p w a/worktrees/ev a/objects a/refs a/hooks; "
                                    "echo 'gitdir: ../a/worktrees/ev' > w/.git; echo ../.. > a/worktrees/ev/commondir; "
                                    "echo 'ref: refs/heads/m' > a/worktrees/ev/HEAD; printf '[core]\n' > a/config; "
                                    + hook(s, "a/hooks/pre-commit"),
    "hooks elsewhere": lambda s: f"git init -q n; rm -rf n/.git/hooks; mkdir h; {hook(s, 'h/pre-commit')}; ln -s ../../h "
                                 "n/.git/hooks",
    "new repository": lambda s: f"git init -q n; {bad(s)} n/.git/config",
    "new hook": lambda s: f"git init -q n; {hook(s, 'n/.git/hooks/pre-commit')}",
    "bare below": lambda s: f"git init -q --bare n; {bad(s)} n/config; "
                            "git config -f n/config core.bare false; "
                            "git config -f n/config core.worktree .",
    "bare at the top": lambda s: f"rm -rf n; git init -q --bare n; mv n/* .; {bad(s)} config; "
                                 "git config -f config core.bare false; "
                                 "git config -f config core.worktree .",
    "pointer": lambda s: f"git init -q --bare n; {bad(s)} n/config; mkdir w; "
                         "git config -f n/config core.bare false; "
                         "git config -f n/config core.worktree ../w; echo 'gitdir: ../n' > w/.git",
    "hook of a bare one": lambda s: f"git init -q --bare n; {hook(s, 'n/hooks/pre-commit')}; "
                                    "git config -f n/config core.bare false; "
                                    "git config -f n/config core.worktree .",
    "hooks path": lambda s: f"git init -q n; mkdir h; {hook(s, 'h/pre-commit')}; "
                            f"git -C n config core.hooksPath ../h",
    "include": lambda s: f"git init -q n; {bad(s)} n/.git/inc; git -C n config include.path inc",
    "continued line": lambda s: "git init -q n; printf '[core]\\n\\tfs\\\\\\nmonitor=x\\n"
                                f"# \\\\\\n[core] fsmonitor = touch {s.path}/{TRAP}; false\\n' "
                                ">> n/.git/config",
    "same line": lambda s: f"git init -q n; printf '[core] fsmonitor = \"touch {s.path}/{TRAP}; "
                           "false\"\\n' >> n/.git/config",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_git_runs_nothing_later(site, attack):
    if "top" not in attack:
        git(site, "init", "-q")
        git(site, "-c", "user.name=n", "-c", "user.email=e", "commit", "-q", "--allow-empty",
            "-m", "x")
    result = site.sh(ATTACKS[attack](site))
    assert result.code == 0, result
    assert asked_everywhere(site), result


@pytest.mark.parametrize("attack", [a for a in ATTACKS if a != "continued line"])
def test_and_without_us_it_would(site, attack):
    """The control: the same acts outside, in a directory made for it."""
    git(site, "init", "-q") if "top" not in attack else None
    site.call("/bin/sh", "-c", ATTACKS[attack](site))
    assert not asked_everywhere(site)


def test_existing_repository_below(repo):
    """One that was there, its config written in place and a hook of its replaced."""
    site = repo
    git(site, "init", "-q", "n")
    old = site.put("n/.git/hooks/pre-commit", "#!/bin/sh\nexit 0\n", 0o755)
    result = site.sh(f"{bad(site)} n/.git/config; {hook(site, old)}")
    assert result.code == 0 and asked_everywhere(site), result


def test_submodule(repo):
    site = repo
    git(site, "init", "-q", "m")
    git(site, "-c", "user.name=n", "-c", "user.email=e", "commit", "-q", "--allow-empty", "-m", "x",
        cwd=site.ws / "m")
    git(site, "-c", "protocol.file.allow=always", "submodule", "add", "-q", "./m", "mod")
    result = site.sh(f"{bad(site)} .git/modules/mod/config; "
                     f"{hook(site, '.git/modules/mod/hooks/pre-commit')}")
    assert result.code == 0 and asked_everywhere(site), result


def test_ordinary_work_is_left_alone(repo):
    site = repo
    result = site.sh("set -e; git init -q n; cd n; git config user.email a@b; git config user.name c; "
                     "echo 1 > f; git add f; git commit -q -m 1; git checkout -q -b topic; cd ..; "
                     "git clone -q n c; git -C c pull -q; git clone -q --bare n b; "
                     "git -C c remote add other ../b; git -C c fetch -q other; git -C n worktree add -q -b side ../t", record=True)
    assert result.code == 0, result
    assert result.err == b"", result
    for path in ("n/.git/config", "c/.git/config", "b/config", "n/.git/worktrees/t/commondir"):
        assert (site.ws / path).exists(), result.record["found"]
    assert {f["action"] for f in result.record["found"]} <= {"reported"}


def test_a_file_that_stays_by_another_name(repo):
    """What is put aside is not executable, and is a file of the tree's nevertheless."""
    repo.put("Makefile", "all:\n", 0o644)
    result = repo.sh("ln Makefile .envrc; echo > .exrc; chmod 755 .exrc", record=True)
    assert {f["action"] for f in result.record["found"] if not f["path"].endswith("Makefile")} == {"quarantined"}, result
    assert (repo.ws / "Makefile").stat().st_mode & 0o777 == 0o644
    (aside,) = [f["to"] for f in result.record["found"] if f["path"].endswith(".exrc")]
    assert os.stat(aside).st_mode & 0o777 == 0o400


def test_links_on_the_way(repo):
    """What is obeyed by a longer name is obeyed behind a link, too."""
    repo.put("was/x")
    os.symlink("x", repo.put("was/f").parent / ".vscode")
    # What was made in the tick of the start counts as made after it; 5 is the coarse clock.
    while time.clock_gettime_ns(5) <= os.lstat(repo.ws / "was/.vscode").st_ctime_ns:
        pass
    links = "n/.vscode", ".cargo", "a/.jj/repo", ".svn"
    script = "mkdir -p n a/.jj x; echo [] > x/tasks.json; ln -s x n/other; ln -s x .git2; " + \
             "".join(f"ln -s $PWD/x {link}; " for link in links)
    result = repo.sh(script, record=True)
    assert result.code == 0, result
    put_aside = {f["path"] for f in result.record["found"] if f["action"] == "quarantined"}
    assert put_aside == {os.path.join(repo.ws, link) for link in links}, result.record
    assert os.path.islink(repo.ws / "was/.vscode") and os.path.islink(repo.ws / "n/other")


def test_names_that_fold(repo):
    """On a file system that folds case they are .envrc and a repository."""
    names = "n/.env\u00adrc", "n/.g\u200cIt/con\u200dfig", "b/\ufeffHEAD", "b/objects/x", "b/re\u200bfs/x", "b/config"
    result = repo.python(f"import os\nfor n in {names!r}:\n  os.makedirs(os.path.dirname(n), exist_ok=True)\n"
                         "  open(n, 'w').write('[core]\\nfsmonitor=x')", record=True, env={"PYTHONUTF8": "1"})
    assert result.code == 0, result
    put_aside = {f["path"] for f in result.record["found"] if f["action"] == "quarantined"}
    assert put_aside == {os.path.join(repo.ws, n) for n in (names[0], names[1], names[5])}, result.record


def test_change_by_the_host_meanwhile_stays(repo):
    """The config at the top is read-only inside, so a change of it is the user's own."""
    site = repo
    process = site.spawn(site.immure, "run", "--", "/bin/sh", "-c", "echo go; read line",
                         stdin=subprocess.PIPE)
    assert process.stdout.readline() == b"go\n"
    git(site, "config", "core.fsmonitor", "true")
    _, err = process.communicate(b"\n", timeout=30)
    assert process.returncode == 0 and err == b"", err
    assert "fsmonitor" in (site.ws / ".git/config").read_text()
