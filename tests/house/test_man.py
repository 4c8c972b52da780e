# SPDX-License-Identifier: Apache-2.0
"""The man pages are complete, current and well-formed."""
import re
import shutil
import sys

import pytest

PAGES = ["immure.1", "immure-run.1", "immure-plan.1", "immure-prove.1", "immure-doctor.1",
         "immure-policy.5", "libimmure.3", "immure-wrap.1", "immure-gc.1",
         "immure-session.1", "immure-pool.1", "immure-explain.1",
         "immure-apply.1"]


def exported(root):
    """The functions of the public header."""
    text = (root / "include/immure/immure.h").read_text()
    return sorted(set(re.findall(r"IMMURE_API\s[^;]*?\b(immure_\w+)\(", text)))


def page(root, build, name):
    for path in (build / "man" / name, root / "man" / name):
        if path.exists():
            return path
    pytest.fail("%s is not there" % name)


def plain(text):
    """Roff text without the escapes that matter here."""
    return text.replace("\\-", "-").replace("\\fB", "").replace("\\fI", "").replace("\\fR", "")


def test_every_function_is_documented(root):
    text = (root / "man/libimmure.3").read_text()
    names = exported(root)
    assert len(names) > 40
    assert [n for n in names if not re.search(r"\b%s\b" % n, text)] == []


def test_nothing_else_is_documented(root):
    text = (root / "man/libimmure.3").read_text()
    named = set(re.findall(r"\b(immure_\w+) ?\(", text))
    assert sorted(named - set(exported(root))) == []


def header(root):
    return re.sub(r"/\*.*?\*/", "", (root / "include/immure/immure.h").read_text(), flags=re.S)


def test_every_constant_is_documented(root):
    text = plain((root / "man/libimmure.3").read_text())
    names = re.findall(r"\b(IMMURE_[A-Z_]+) =", header(root))
    assert len(names) > 60
    assert [n for n in names if not re.search(r"\b%s\b" % n, text) and
            not n.startswith("IMMURE_VERSION_")] == []


def test_every_field_is_documented(root):
    text = plain((root / "man/libimmure.3").read_text())
    structs = re.findall(r"struct (\w+) \{\n(.*?)\n\};", header(root), re.S)
    assert len(structs) >= 14
    for name, body in structs:
        assert re.search(r"struct %s\b" % name, text), name
        fields = set(re.findall(r"(\w+)(?=[,;\[])", body)) - {"size", "reserved"}
        assert [f for f in fields if not re.search(r"\b%s\b" % f, text)] == [], name


def test_the_map_is_the_header(root):
    """Each pattern of the version script exports something that is declared, and
    everything that is declared is exported."""
    patterns = re.findall(r"\b(immure_[\w*]+);", (root / "src/lib/version.map").read_text())
    used = {p: [n for n in exported(root) if re.fullmatch(p.replace("*", r"\w*"), n)]
            for p in patterns}
    assert [p for p, names in used.items() if not names] == []
    assert set(exported(root)) == {n for names in used.values() for n in names}


def test_every_command_has_a_page(root, full, run):
    """Of its own, or one that it shares, and then it is named there."""
    meson = (root / "man/meson.build").read_text()
    lists = re.findall(r"'([\w-]+)'", meson)
    # `--help` says all there is to say of these.
    commands = set(re.findall(r"^  (\w+) ", run(full, "help").out, re.M)) - {"help", "bench", "mcp"}
    assert "create" in commands and len(commands) > 30
    for command in sorted(commands):
        assert re.search("immure-%s.[15]" % command, meson) or command in lists, command
        named = [p for p in (root / "man").glob("*.in")
                 if re.search(r"immure\\-%s\b" % command, p.read_text().split(".SH SYNOPSIS")[0])]
        assert named or command == "shell", command


@pytest.mark.parametrize("name", PAGES)
def test_well_formed(root, build, run, name):
    path = page(root, build, name)
    text = path.read_text()
    assert "@" not in re.sub(r"\S+@\S+", "", text), "a part was not filled in"
    if not shutil.which("groff"):
        pytest.skip("groff is not there")
    r = run("groff", "-man", "-Tutf8", "-ww", "-z", path)
    assert r.err == ""


@pytest.mark.parametrize("command", ["run", "shell"])
def test_every_option_is_documented(root, build, run, full, command):
    shown = run(full, "help", command).out
    options = re.findall(r"^ +(?:-\w, )?(--[\w-]+)", shown, re.M)
    assert len(options) > 8
    text = plain(page(root, build, "immure-run.1").read_text())
    assert [o for o in options if o not in text] == []


def test_every_command_is_documented(root, build, run, full):
    shown = run(full, "help").out
    commands = re.findall(r"^  (\w+) ", shown, re.M)
    assert "run" in commands and "doctor" in commands
    text = plain(page(root, build, "immure.1").read_text())
    assert [c for c in commands if "immure %s" % c not in text] == []


def test_example_compiles(root, run, tmp_path):
    text = (root / "man/libimmure.3").read_text()
    code = re.search(r"^\.EX\n(.*?)^\.EE", text, re.M | re.S).group(1)
    source = tmp_path / "example.c"
    source.write_text(code.replace("\\-", "-").replace("\\en", "\\n"))
    r = run("cc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-fsyntax-only",
            "-I%s" % (root / "include"), source)
    assert r.status == 0, r


def test_header_is_c99_and_cxx(root, run, tmp_path):
    for suffix, argv in ((".c", ["cc", "-std=c99", "-pedantic-errors"]),
                         (".cc", ["c++", "-std=c++11"])):
        if not shutil.which(argv[0]):
            continue
        source = tmp_path / ("h" + suffix)
        source.write_text("#include <immure/immure.h>\nint main(void){return 0;}\n")
        r = run(*argv, "-Wall", "-Wextra", "-Werror", "-fsyntax-only",
                "-I%s" % (root / "include"), source)
        assert r.status == 0, r


def test_generator_fills_every_part(root, run, full, tmp_path):
    source = tmp_path / "x.in"
    source.write_text("a @VERSION@\n@COMMANDS@\n@OPTIONS run@\n@OPTIONS\n")
    r = run(sys.executable, root / "tools/genman.py", full, "9.9", source)
    assert r.status == 0
    assert r.out.startswith("a 9.9\n.TP\n")
    assert "\\-\\-profile" in r.out and r.out.endswith("@OPTIONS\n")
