# SPDX-License-Identifier: Apache-2.0
"""The completions are valid scripts and know every flag that the help shows."""
import re
import shutil
import subprocess

import pytest

SHELLS = ["bash", "zsh", "fish"]


@pytest.fixture(scope="module", params=SHELLS)
def script(request, run, full, tmp_path_factory):
    r = run(full, "help", "--completions", request.param)
    assert r.status == 0
    path = tmp_path_factory.mktemp("completions") / request.param
    path.write_text(r.out)
    return request.param, path


def test_syntax(script, run):
    shell, path = script
    if not shutil.which(shell):
        pytest.skip("%s is not there" % shell)
    r = run(shell, "-n", path)
    assert (r.status, r.err) == (0, "")


def test_every_flag(script, run, full):
    _, path = script
    text = path.read_text()
    for command in ["run", "shell", "wrap", "plan", "prove", "doctor"]:
        for name in re.findall(r"--([\w-]+)", run(full, "help", command).out):
            assert re.search(r"(--|-l )%s\b" % name, text), (command, name)


def complete(path, words):
    """What bash would offer for the last of words."""
    code = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _immure; '
            'printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(["bash", "-c", code, "x", path, *words], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, check=True)
    return done.stdout.decode().split()


@pytest.fixture(scope="module")
def bash_script(run, full, tmp_path_factory):
    path = tmp_path_factory.mktemp("bash") / "immure"
    path.write_text(run(full, "help", "--completions", "bash").out)
    return path


@pytest.mark.parametrize("words, offered", [
    (["immure", "ru"], ["run"]),
    (["immure", "run", "--prof"], ["--profile"]),
    (["immure", "run", "--net", ""], ["none", "limited", "host"]),
    (["immure", "policy", "sch"], ["schema"]),
    (["immure", "tighten", "read"], ["read-only"]),
    (["immure", "pool", "sta"], ["start", "stats"]),
    (["immure", "crea"], ["create"]),
    (["immure", "create", "--max-l"], ["--max-life"]),
])
def test_bash_offers(bash_script, words, offered):
    assert complete(bash_script, words) == offered


def test_bash_completes_the_command(bash_script):
    assert "true" in complete(bash_script, ["immure", "run", "tru"])


def test_unknown_shell(run, full):
    r = run(full, "help", "--completions", "tcsh")
    assert r.status == 125
    assert "bash, zsh or fish" in r.err
