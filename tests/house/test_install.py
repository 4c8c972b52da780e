# SPDX-License-Identifier: Apache-2.0
"""make install puts everything where programs look for it, and make uninstall
takes all of it away again. The prefix is the one that was built for, so that
nothing is compiled anew."""
import json
import os
import pathlib
import re
import subprocess

import pytest

PROGRAM = """
#include <immure/immure.h>
#include <stdio.h>
int main(void)
{
	char *text = NULL;
	if (immure_policy_profiles(&text, NULL) < 0)
		return 1;
	printf("%u %s", immure_api_version() >> 8, text);
	immure_string_free(text);
	return 0;
}
"""


def option(build, name):
    done = subprocess.run(["meson", "introspect", str(build), "--buildoptions"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
    return next(o["value"] for o in json.loads(done.stdout) if o["name"] == name)


@pytest.fixture(scope="module")
def prefix(build):
    return option(build, "prefix")


@pytest.fixture(scope="module")
def tree(root, build, prefix, run, tmp_path_factory):
    """An installed tree; what it holds is removed by the last test."""
    dest = tmp_path_factory.mktemp("install")
    r = run(root / "tools/install.sh", "install", build, prefix, dest, cwd=root)
    assert r.status == 0, r
    return dest


def below(tree, prefix, path):
    return pathlib.Path(str(tree) + prefix) / path


def find(tree, name):
    found = [p for p in tree.rglob(name)]
    assert found, "%s was not installed" % name
    return found[0]


@pytest.mark.parametrize("path", [
    "bin/immure", "bin/immure-sh", "bin/immure-bash", "libexec/immure/immure-full", "libexec/immure/immure-attack",
    "include/immure/immure.h",
    "share/man/man1/immure.1", "share/man/man1/immure-run.1", "share/man/man1/immure-shell.1",
    "share/man/man1/immure-wrap.1", "share/man/man1/immure-sh.1",
    "share/man/man3/libimmure.3", "share/man/man5/immure-policy.5",
    "share/bash-completion/completions/immure", "share/zsh/site-functions/_immure",
    "share/fish/vendor_completions.d/immure.fish",
])
def test_is_there(tree, prefix, path):
    assert below(tree, prefix, path).exists()


def test_runs_where_it_is(tree, prefix, run):
    """Relocated by DESTDIR: the launcher finds the full program beside itself."""
    program = below(tree, prefix, "bin/immure")
    assert run(program, "--version").status == 0
    r = run(program, "policy", "show", "--profile", "strict", "--no-policy")
    assert r.status == 0, r


def test_wrap_names_the_launcher(tree, prefix, run):
    """Not the full program, which is what answers."""
    program = below(tree, prefix, "bin/immure")
    assert run(program, "wrap", "--no-policy").out.startswith("%s run " % program)


def compile_installed(tree, build, prefix, run, source, program, static):
    """With the flags of the installed pkg-config file; the library's path."""
    pc = find(tree, "libimmure.pc").parent
    env = dict(os.environ, PKG_CONFIG_PATH=str(pc), PKG_CONFIG_SYSROOT_DIR=str(tree))
    flags = run("pkg-config", *(["--static"] if static else []), "--cflags", "--libs", "libimmure",
                env=env)
    assert flags.status == 0, flags
    words = flags.out.split()
    library = find(tree, "libimmure.a" if static else "libimmure.so")
    if static:
        words = [str(library) if w == "-limmure" else w for w in words]
    if prefix == "/usr":
        words.append("-I%s" % below(tree, prefix, "include"))
    sanitize = option(build, "b_sanitize")
    if sanitize != "none":
        words.append("-fsanitize=" + sanitize)
    r = run("cc", "-o", program, source, *words)
    assert r.status == 0, r
    return library


@pytest.mark.parametrize("static", [False, True])
def test_a_program_links_against_it(tree, build, prefix, run, tmp_path, static):
    source = tmp_path / "program.c"
    source.write_text(PROGRAM)
    library = compile_installed(tree, build, prefix, run, source, tmp_path / "program", static)
    r = run(tmp_path / "program", env=dict(os.environ, LD_LIBRARY_PATH=str(library.parent)))
    assert r.status == 0, r
    assert "strict" in r.out


def test_examples_build_against_it(tree, root, build, prefix, run, tmp_path):
    """With nothing of this tree, and the program from where it was installed."""
    os.chmod(tmp_path, 0o755)
    for source in sorted((root / "examples").glob("*.c")):
        if source.stem != "primes":
            library = compile_installed(tree, build, prefix, run, source, tmp_path / source.stem,
                                        False)
    env = dict(os.environ, LD_LIBRARY_PATH=str(library.parent),
               IMMURE_PROGRAM=str(below(tree, prefix, "bin/immure")))
    r = run(tmp_path / "session", env=env, cwd=tmp_path)
    assert r.status == 0 and "written by one command" in r.out, r


def test_only_the_api_is_exported(tree, root, run):
    r = run("nm", "-D", "--defined-only", find(tree, "libimmure.so"))
    names = [line.split()[-1].split("@")[0] for line in r.out.splitlines()]
    names = sorted(n for n in names if n != "IMMURE_0.1")
    header = (root / "include/immure/immure.h").read_text()
    assert names and all(n.startswith("immure_") and n + "(" in header for n in names), names
    declared = sorted(set(re.findall(r"IMMURE_API\s[^;]*?\b(immure_\w+)\(", header)))
    assert names == declared


def test_uninstall_leaves_nothing(tree, root, build, prefix, run):
    r = run(root / "tools/install.sh", "uninstall", build, prefix, tree, cwd=root)
    assert r.status == 0, r
    assert [p for p in tree.rglob("*") if not p.is_dir()] == []
    assert not below(tree, prefix, "libexec/immure").exists()
