# SPDX-License-Identifier: Apache-2.0
"""Settings of other sandboxes: golden files, what is never widened, hostile text.

The expected files are what the program prints: after a change that is meant, run
    for f in tests/house/import/*.expected: immure policy import --json ... > it
"""
import json
import pathlib

import pytest

HERE = pathlib.Path(__file__).parent / "import"
FILES = ["srt.json", "claude.json", "codex.toml", "codex-profile.toml", "firejail.profile"]


def format_of(name):
    return name.split(".")[0].split("-")[0]


@pytest.fixture
def take(full, run, tmp_path):
    """(notes by kind, policy as a dict) of a text."""
    def start(form, text):
        path = tmp_path / "settings"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        done = run(full, "policy", "import", "--json", "--from", form, path)
        assert done.status in (0, 1), done
        got = json.loads(done.out)
        made = tmp_path / "policy.json"
        made.write_text(got["policy"])
        assert run(full, "policy", "check", made).status == 0
        notes = {}
        for note in got["notes"]:
            notes.setdefault(note["kind"], []).append(note["what"] + ": " + note["why"])
        assert done.status == (1 if "lost" in notes else 0)
        lines = [line.split(" // ")[0] for line in got["policy"].splitlines()
                 if not line.lstrip().startswith("//")]
        return notes, json.loads("\n".join(lines))
    return start


@pytest.mark.parametrize("name", FILES)
def test_golden(full, run, name):
    done = run(full, "policy", "import", "--from", format_of(name), name, cwd=HERE)
    text = done.out + "---- notes, status %d ----\n" % done.status + done.err
    assert text == (HERE / (name + ".expected")).read_text()


@pytest.mark.parametrize("name", FILES)
def test_result_can_be_planned_and_run(full, build, run, tmp_path, name):
    """With its own program: nothing in it is refused but what this version lacks."""
    done = run(full, "policy", "import", "--from", format_of(name), HERE / name)
    file = tmp_path / "policy.json"
    file.write_text(done.out)
    shown = run(full, "policy", "show", "--policy", file)
    assert shown.status == 0, shown
    assert run(full, "policy", "check", file).status == 0


def test_standard_input_and_quiet(full, run):
    with open(HERE / "srt.json", "rb") as text:
        done = run(full, "policy", "import", "-q", "--from", "srt", "-", stdin=text)
    assert done.status == 1 and "(standard input)" in done.out
    assert all(": LOST: " in line for line in done.err.splitlines()) and done.err


@pytest.mark.parametrize("argv, said", [
    ([], "--from is missing"), (["x"], "--from is missing"), (["--from", "srt"], "expected one file"),
    (["--from", "srt", "a", "b"], "expected one file"), (["--from", "nope", "x"], "is not one of"),
    (["--from", "srt", "/no/such/file"], "No such file"), (["--from", "srt", "/"], "directory"),
], ids=str)
def test_usage(full, run, argv, said):
    done = run(full, "policy", "import", *argv)
    assert done.status == 125 and done.out == "" and said in done.err, done


def test_help(full, run):
    done = run(full, "policy", "import", "--help")
    assert done.status == 0 and "--from" in done.out


# ---- nothing is wider than theirs ----

SRT = '{"network": {"allowedDomains": %s, "deniedDomains": %s}, "filesystem": %s}'
FS = '{"denyRead": %s, "allowRead": %s, "allowWrite": %s, "denyWrite": %s}'


@pytest.mark.parametrize("allowed, denied, mode, allow", [
    ("[]", "[]", "none", None),
    ('["a.example"]', "[]", "limited", ["a.example"]),
    ('["a.example"]', '["*"]', "none", None),
    ('["a.example:22", "b.example"]', '["*:22"]', "limited", ["b.example"]),
    ('["a.example:22", "b.example"]', '["*:443"]', "limited", ["a.example:22"]),
    ('["*"]', "[]", "none", None),
    ('["*.com", "http://x.example/", "ssh://x.example"]', "[]", "none", None),
])
def test_hosts(take, allowed, denied, mode, allow):
    _, policy = take("srt", SRT % (allowed, denied, "{}"))
    assert policy["network"]["mode"] == mode
    if allow:
        assert policy["network"]["+allow"][:1] == allow[:1]
    else:
        assert "+allow" not in policy["network"]


@pytest.mark.parametrize("fs, workspace, gone, lost", [
    (FS % ("[]", "[]", "[]", "[]"), "ro", None, False),
    (FS % ("[]", "[]", '["."]', "[]"), "rw", None, False),
    (FS % ("[]", "[]", '["."]', '["."]'), "ro", None, False),
    (FS % ("[]", "[]", '["."]', '["/"]'), "ro", None, False),
    (FS % ("[]", "[]", '["/srv/a/b"]', '["/srv/a"]'), "ro", "/srv/a/b", False),
    (FS % ("[]", "[]", '["/", "~"]', "[]"), "ro", "/", False),
    (FS % ('["/srv/a"]', "[]", '["/srv/a/b"]', "[]"), "ro", "/srv/a/b", False),
    (FS % ('["**/x"]', "[]", "[]", "[]"), "ro", None, True),
    (FS % ('["."]', "[]", "[]", "[]"), "ro", None, True),
    (FS % ('[1]', "[]", "[]", "[]"), "ro", None, True),
    (FS % ('"~/.ssh"', "[]", "[]", "[]"), "ro", None, True),
    (FS % ("[]", "[]", "[]", '["a*b"]'), "ro", None, True),
])
def test_files(take, fs, workspace, gone, lost):
    notes, policy = take("srt", SRT % ("[]", "[]", fs))
    assert policy["workspace"]["mode"] == workspace
    assert gone not in policy.get("files", {}).get("+write", [])
    assert ("lost" in notes) == lost, notes


def test_what_may_be_read_again(take):
    """allowRead within denyRead is theirs to give; writing there is not."""
    _, policy = take("srt", SRT % ("[]", "[]", FS % ('["/srv"]', '["/srv/a"]', '["/srv/a", "/srv/b"]',
                                                     "[]")))
    assert policy["files"] == {"+read": ["/srv/a"], "+write": ["/srv/a"], "+deny": ["/srv"]}


@pytest.mark.parametrize("allow, deny, gone", [
    ("Read(~/x/y)", "Read(~/x)", ("+read", "~/x/y")),
    ("Edit(~/x/y/**)", "Read(~/x/**)", ("+write", "~/x/y")),
    ("Edit(~/x/y)", "Edit(~/x)", ("+write", "~/x/y")),
    ("Edit(~/x)", "Write(~/x)", ("+write", "~/x")),
])
def test_denials_of_claude_win(take, allow, deny, gone):
    _, policy = take("claude", json.dumps({"permissions": {"allow": [allow], "deny": [deny]}}))
    assert gone[1] not in policy["files"].get(gone[0], [])


@pytest.mark.parametrize("text, workspace, network, write", [
    ("", "ro", "none", None),
    ('sandbox_mode = "read-only"', "ro", "none", None),
    ('sandbox_mode = "read-only"\n[sandbox_workspace_write]\nnetwork_access = true', "ro", "none", None),
    ('sandbox_mode = "workspace-write"', "rw", "none", None),
    ('sandbox_mode = "workspace-write"\n[sandbox_workspace_write]\nnetwork_access = true', "rw",
     "host", None),
    ('sandbox_mode = "workspace-write"\nsandbox_workspace_write.writable_roots = ["/", "/a"]', "rw",
     "none", ["/a"]),
    ('sandbox_mode = "danger-full-access"', "rw", "none", None),
    ('sandbox_mode = "else"', "ro", "none", None),
    ('sandbox_mode = 1', "ro", "none", None),
    ('profile = "x"\nsandbox_mode = "workspace-write"\n[profiles.x]\nsandbox_mode = "read-only"',
     "ro", "none", None),
    ('default_permissions = ":workspace"', "rw", "none", None),
    ('default_permissions = ":danger-full-access"', "rw", "none", None),
    ('default_permissions = ":read-only"\n', "ro", "none", None),
    ('default_permissions = "gone"', "ro", "none", None),
    ('default_permissions = "p"\n[permissions.p.network]\nenabled = true', "ro", "none", None),
    ('default_permissions = "p"\n[permissions.p.network]\nenabled = true\n'
     '[permissions.p.network.domains]\n"*" = "allow"', "ro", "host", None),
    ('default_permissions = "p"\n[permissions.p.network]\nenabled = true\n'
     '[permissions.p.network.domains]\n"*" = "allow"\n"b.example" = "deny"', "ro", "none", None),
    ('default_permissions = "p"\nsandbox_mode = "read-only"\n[permissions.p.network]\nenabled = true\n'
     '[permissions.p.network.domains]\n"*" = "allow"', "ro", "none", None),
])
def test_modes_of_codex(take, text, workspace, network, write):
    _, policy = take("codex", text)
    assert (policy["workspace"]["mode"], policy["network"]["mode"]) == (workspace, network)
    assert policy.get("files", {}).get("+write") == write


@pytest.mark.parametrize("text, passed", [
    ("inherit = 'none'", []),
    ("inherit = 'core'\nexclude = ['P*']",
     ["HOME", "LOGNAME", "SHELL", "USER", "USERNAME", "TMPDIR", "TEMP", "TMP"]),
    ("include_only = ['PATH', 'A_TOKEN', 'X*', '[ab]c']", ["PATH"]),
    ("include_only = ['A_TOKEN', 'X*']\nignore_default_excludes = true", ["A_TOKEN", "X*"]),
    ("include_only = ['PATH']\nexclude = ['p?th']", []),
    ("include_only = ['LD_PRELOAD']\nignore_default_excludes = true", []),
])
def test_environment_of_codex(take, text, passed):
    _, policy = take("codex", "[shell_environment_policy]\n" + text)
    assert policy["environment"]["pass"] == passed


def test_exclusions_of_codex_reach_the_profile(take):
    _, policy = take("codex", "[shell_environment_policy]\nexclude = ['git_*', '*flags']")
    passed = policy["environment"]["pass"]
    assert "PATH" in passed and "LANG" in passed
    assert not [p for p in passed if p.startswith("GIT") or p.endswith("FLAGS")]


@pytest.mark.parametrize("line, lost", [
    ("include x.inc", True), ("?HAS_X11: blacklist /x", True), ("blacklist ${HOME}/*.key", True),
    ("blacklist ${DOWNLOADS}", True), ("noexec /tmp", True), ("seccomp.drop ptrace", True),
    ("rlimit-nproc 0", True), ("rlimit-cpu -1", True), ("timeout 99", True), ("unknown", True),
    ("private-bin a", True), ("rmenv PATH", True), ("whitelist /usr/share/x", True),
    ("protocol unix", True), ("blacklist relative", True),
    ("net none", False), ("caps.drop all", False), ("private-tmp", False), ("rmenv FOO", False),
    ("dbus-system none", False), ("read-only ${HOME}", False), ("#include x", False), ("", False),
])
def test_lines_of_firejail(take, line, lost):
    notes, policy = take("firejail", line + "\n")
    assert ("lost" in notes) == lost, notes
    assert policy["network"]["mode"] == "none"


def test_whitelist_within_blacklist(take):
    _, policy = take("firejail", "blacklist ${HOME}/a\nwhitelist ${HOME}/a/b\n")
    assert "+write" not in policy["files"]


# ---- hostile ----

@pytest.mark.parametrize("form, text", [
    ("srt", ""), ("srt", "[]"), ("srt", "{"), ("srt", '{"a":1,"a":2}'), ("srt", '{"a":1} x'),
    ("srt", b'{"\xff":1}'), ("srt", b'{"a":"\0"}'), ("srt", "[" * 5000), ("claude", "null"),
    ("codex", "a"), ("codex", "a = "), ("codex", "a = 1\na = 2"), ("codex", "[a]\n[a]"),
    ("codex", "a = {b = 1}\n[a.c]"), ("codex", 'a = "x'), ("codex", b'a = "\xff"'),
    ("codex", b'a = "\0"'), ("codex", "a = " + "[" * 500), ("codex", "[" + "a." * 500 + "b]"),
    ("codex", "a = 1 b = 2"), ("codex", "a = 01"), ("codex", "a.b = 1\na = 2"),
    ("codex", "[[a]]\n[a]"), ("codex", "a = [1]\n[[a]]"), ("codex", "= 1"), ("codex", "a = tru"),
    ("codex", 'a = "\\x"'), ("codex", 'a = "\\ud800"'), ("codex", "a = {b = 1,}"),
    ("codex", "a=1\n" * 2 + "\n"), ("firejail", b"\0"), ("firejail", "x" * 5000),
    ("firejail", "blacklist /a\n" * 30000),
], ids=lambda v: repr(v)[:24])
def test_refused(full, run, tmp_path, form, text):
    path = tmp_path / "x"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = run(full, "policy", "import", "--from", form, path)
    assert done.status == 125 and done.out == "", done
    assert done.err.startswith("immure: %s" % path) and done.err.count("\n") == 1


def test_too_large(full, run, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"#" * (1024 * 1024 + 1))
    assert run(full, "policy", "import", "--from", "firejail", path).status == 125


def test_many_values_end_in_time(take):
    hosts = json.dumps(["h%d.example" % i for i in range(5000)])
    notes, policy = take("srt", SRT % (hosts, "[]", "{}"))
    assert len(policy["network"]["+allow"]) < 5000 and "dropped" in notes


def test_nothing_of_theirs_leaves_a_comment(full, run, tmp_path):
    """Names and values go into // comments and onto the terminal."""
    path = tmp_path / "a\nb\x1b[31m"
    path.write_text(json.dumps({"filesystem": {"denyRead": ["~/x\n\"y", "*\n{"]},
                                "z\n\x1b": 1}))
    done = run(full, "policy", "import", "--from", "srt", path)
    assert done.status == 1 and "\x1b" not in done.out + done.err, done
    made = tmp_path / "made.json"
    made.write_text(done.out)
    assert run(full, "policy", "check", made).status == 0
