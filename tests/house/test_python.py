# SPDX-License-Identifier: Apache-2.0
"""The Python binding: it is what the header says, installs without a network, and does
what the library does (python_cases.py)."""
import ctypes
import os
import re
import shutil
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(HERE, "python_cases.py")) as f:
    CASES = re.findall(r"^def case_(\w+)", f.read(), re.M)


def sanitized(build):
    return b"asan" in (build / "build.ninja").read_bytes() or "asan" in build.name


@pytest.fixture(scope="module")
def environment(root, build):
    env = {k: v for k, v in os.environ.items() if not k.startswith("IMMURE_")}
    env.update(IMMURE_LIBRARY=str(build / "src/lib/libimmure.so"),
               IMMURE_PROGRAM=str(build / "immure"), PYTHONPATH=str(root / "bindings/python"),
               PYTHONDONTWRITEBYTECODE="1")
    if sanitized(build):
        asan = subprocess.run(["cc", "-print-file-name=libasan.so"], stdout=subprocess.PIPE,
                              check=True).stdout.decode().strip()
        env.update(LD_PRELOAD=asan, ASAN_OPTIONS="detect_leaks=0")
    return env


@pytest.fixture(scope="module")
def native(root):
    sys.path.insert(0, str(root / "bindings/python"))
    try:
        from immure import _native
    finally:
        del sys.path[0]
    return _native


def header(root):
    return (root / "include/immure/immure.h").read_text()


def test_every_function_has_a_prototype(root, native):
    names = set(re.findall(r"IMMURE_API\s[^;]*?\b(immure_\w+)\(", header(root)))
    # To be added in bindings/python/immure/_native.py, and a method where it belongs. One
    # that is not in the header harms nobody: the binding may be newer than the library.
    assert sorted(names - set(native.PROTOTYPES)) == []


def letter(declared):
    """The type of a parameter or result as the table has it."""
    declared = re.sub(r"\b(const|struct)\b", "", declared).strip()
    base = declared.split()[0].rstrip("*")
    stars = declared.count("*")
    if stars == 0:
        return {"void": "v", "int32_t": "i", "uint32_t": "u", "uint64_t": "U", "uint16_t": "h"}[base]
    if base == "char":
        return "s" if stars == 1 else "w"
    return "p"


def test_prototypes_are_the_headers(root, native):
    text = re.sub(r"/\*.*?\*/", "", header(root), flags=re.S)
    for result, name, parameters in re.findall(
            r"IMMURE_API\s+([^;(]*?[\s*])(immure_\w+)\(([^;]*)\);", text):
        want = letter(result) + "".join(letter(p) for p in parameters.split(",")
                                        if p.strip() != "void")
        have = native.PROTOTYPES[name]
        # Strings that are returned by pointer, and bytes with a length, are pointers here.
        assert len(want) == len(have), name
        for w, h in zip(want, have):
            assert w == h or (w in "sw" and h == "p") or (w, h) == ("p", "s"), (name, want, have)


def test_structs_are_the_headers(root, native, run, tmp_path):
    lines = []
    for struct in native.STRUCTS:
        name = struct.__name__
        lines.append('printf("%s %%zu\\n", sizeof(struct %s));' % (name, name))
        for field, _ in struct._fields_:
            lines.append('printf("%s.%s %%zu %%zu\\n", offsetof(struct %s, %s), '
                         "sizeof(((struct %s *)0)->%s));" % (name, field, name, field, name, field))
    source = tmp_path / "sizes.c"
    source.write_text("#include <immure/immure.h>\n#include <stdio.h>\nint main(void)\n{\n%s\n"
                      "return 0;\n}\n" % "\n".join(lines))
    r = run("cc", "-I%s" % (root / "include"), "-o", tmp_path / "sizes", source)
    assert r.status == 0, r
    said = []
    for struct in native.STRUCTS:
        said.append("%s %d" % (struct.__name__, ctypes.sizeof(struct)))
        for field, _ in struct._fields_:
            f = getattr(struct, field)
            said.append("%s.%s %d %d" % (struct.__name__, field, f.offset, f.size))
    assert run(tmp_path / "sizes").out.splitlines() == said
    declared = set(re.findall(r"^struct (immure_\w+) \{", header(root), re.M))
    assert declared == {s.__name__ for s in native.STRUCTS}


def test_error_codes_are_the_headers(root, native):
    from immure import errors
    codes = dict(re.findall(r"IMMURE_ERR_(\w+) = (\d+)", header(root)))
    assert {k: int(v) for k, v in codes.items()} == {c.name: int(c) for c in errors.ErrorCode}
    assert set(errors.CLASSES) == set(errors.ErrorCode)


def test_types_hold(root, run, tmp_path):
    """Whoever checks types gets the truth: py.typed is there, and mypy agrees."""
    if not shutil.which("mypy"):
        pytest.skip("mypy is not there")
    r = run("mypy", "--strict", "--allow-any-generics",
            "--no-warn-return-any", "--cache-dir", tmp_path, "--python-version", "3.9",
            root / "bindings/python/immure")
    assert r.status == 0, r.out


def test_asyncio_has_what_threads_have(root, native):
    """aio.Session has every method of Session, but for those that a loop has no use for."""
    import immure
    from immure import aio
    blocking = {n for n in vars(immure.Session) if not n.startswith("_")}
    assert blocking - {n for n in vars(aio.Session) if not n.startswith("_")} == {
        "fileno", "connect", "list", "remove", "open_file"}


def test_there_are_cases():
    assert len(CASES) >= 15


@pytest.mark.parametrize("case", CASES)
def test_case(environment, root, run, tmp_path, case):
    os.chmod(tmp_path, 0o755)
    r = run(sys.executable, "-W", "error", root / "tests/house/python_cases.py", tmp_path, case,
            env=environment)
    assert (r.status, r.out, r.err) == (0, "", "")


def test_installs_without_a_network(root, build, environment, run, tmp_path):
    """With pip, in a network namespace with nothing in it, from the tree as it is."""
    if sanitized(build):
        pytest.skip("the same as in the plain build")
    alone = ["unshare", "--net", "--"] if os.geteuid() == 0 else ["unshare", "-r", "--net", "--"]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-cache-dir",
           "--quiet", "--root-user-action=ignore"]
    env = {k: v for k, v in environment.items() if k != "PYTHONPATH"}
    r = run(*alone, *pip, "--target", tmp_path / "site", root / "bindings/python", env=env)
    if "No module named pip" in r.err:
        pytest.skip("pip is not there")
    assert r.status == 0, r
    env["PYTHONPATH"] = str(tmp_path / "site")
    r = run(sys.executable, "-c", "import immure; print(immure.__file__, immure.api_version())",
            env=env, cwd=tmp_path)
    assert str(tmp_path / "site") in r.out and "(0, 1, 0)" in r.out, r
    assert (tmp_path / "site/immure/py.typed").exists()


def test_finds_the_library_beside_it(root, build, environment, run, tmp_path):
    package = tmp_path / "immure"
    package.mkdir()
    for p in (root / "bindings/python/immure").iterdir():
        if p.suffix == ".py":
            (package / p.name).write_bytes(p.read_bytes())
    env = {k: v for k, v in environment.items() if k != "IMMURE_LIBRARY"}
    env["PYTHONPATH"] = str(tmp_path)
    os.symlink(build / "src/lib/libimmure.so", package / "libimmure.so.1")
    ask = "import immure; print(immure.api_version()); from immure import _native; " \
          "print(_native.library()._name)"
    r = run(sys.executable, "-c", ask, env=env, cwd=tmp_path)
    assert r.out.splitlines() == ["(0, 1, 0)", str(package / "libimmure.so.1")], r
    env["IMMURE_LIBRARY"] = "/no/such/library.so"
    r = run(sys.executable, "-c", "import immure; immure.api_version()", env=env, cwd=tmp_path)
    assert r.status == 1 and "IMMURE_LIBRARY" in r.err
