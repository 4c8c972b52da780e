#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""docs/seeds.md is true: what it says is there is there and used by some test, and nothing
of the five systems was forgotten (tests/house/seeds.names has their names).

    test_seeds.py --stale    rows called missing although what they name exists
"""
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
STATUS = {"works", "partial", "missing", "declined"}

# What must have a row, by section: operations, types and values of the five.
ITEMS = {
    "A": """kind|prepare(|enforce_network(|verify_fail_closed(|start_agent(|teardown(|secret_shim_support
        |build_backend(|1 parse|2 prepare|3, 4|5 not structural|6 start network|7 resolve seccomp|8 build env
        |9 executable|10, 11|12 stop|13 teardown|bwrap|vz, wsl2|firecracker|linux_network_namespace
        |macos_sandbox_network_deny|macos_vz_guest|kvm_micro_vm|proxy_only|sandbox_user, host_user
        |compile_on_launch, precompiled_only|sole, append_system_roots|sync_wait, async_token|disabled, file
        |SidecarEndpoint|WslKind|sandbox_id, session_id|agent_id|execution_profile|env_passthrough, env_set
        |mounts source|mount roles|seccomp_policy|allowed_domains|enforce_network_namespace|identity_mode
        |capability{|sidecar_local_exec|executable_policies|use_http_proxy|allow_non_structural|Merge order
        |lists replaced|generic|codex|claude-code|copilot|vscode|DEFAULT_SENSITIVE|preflight|die-with-parent
        |unshare-net|mount plan 1|6 tmpfs|7 /dev|8, 11|9, 12|10 masks|symlinked policy|host procfs|passwd
        |resolver file|proxy bridge|DNS stub|connect guard|six proxy|attribution headers|audit queue
        |policy_id|system.execute|wrong arch|aarch64|artifact layout|pending_hitl|REQUESTS_CA_BUNDLE
        |system bundle|Vz compatibility|Vz network-deny|Vz guest|WSL2 wrapper|guest invariants|INT, TERM
        |128+signal|stable error names|`firma run`|print-effective-config|`firma doctor`|`firma monitor`
        |sidecar status|config discovery|state dir|t_backend_ready|no resource limits""",
    "B": """name|capabilities {|provision(|attach_filesystem(|apply_network_policy(|exec(id|snapshot, resume
        |terminate(|session_id, labels|NetworkPolicy unrestricted|limited, allowed_hosts|read_only, read_write
        |FilesystemMount|fresh directory|wall_time, cpu_count, memory_mb|idle_timeout
        |provisioned, running, suspended, terminated|SandboxSession|command, args, cwd, env|stdin text
        |ExecRequest timeout|stdout, stderr|exit_code, timed_out|session_not_found|unsupported{|invalid_request
        |/mnt/memory|ids, time-ordered|env keys|empty command|cwd:|request's timeout|historical bug
        |PermissionPolicy|llm{|compose|version =|lint|net contains|ladder|local_dev|worktree, wasi, os_hardened
        |typed refusal|off, warn, enforce|dimensions|presets|read_deny_roots|allow_tcp_loopback
        |unix_socket_roots|allow_child_workspace_write|denials recorded|Landlock ABI|`/` cannot be listed
        |complement rules|allow-list, EPERM|read roots|fd-pinned|refuses LD_|functional probe|TMPDIR
        |SBPL|re-exec guardian|--write-root|--no-sandbox|allow-process-network|one-line disclosure""",
    "C": """prepare(|wrap(|probe(|shutdown|C1|C2|C3|C4|ExecSandboxContext|WrappedCommand
        |fully_enforced, partial, unavailable|read_only|repo_write, no_network|full_dev|ci_only|refuse|degrade
        |profile, egress|held root fd|cleared env|exit 124|drained|grep, glob|allow, deny, confirm|CommandPlan
        |child_started|ProbeReport|auto, native|bubblewrap, landlock|sandbox_runtime|sandbox_exec|Backend none
        |fail_closed, warn|secrets_deny|cpu_seconds, memory_bytes, pids_max|always fail-closed|auto order
        |/workspace|browser profiles|write outside workspace|read a secret|host pid|non-allowlisted
        |allowlisted host reachable|limits attached|systemd-run|cgroup race|launcher path|directory-only
        |must report partial|disk limit""",
    "D": """runtime_ref|capability_report|prepare_session|resolve_image|prepare_rootfs|resolve_mounts
        |configure_network|prepare_secrets|prepare_environment|start_process|stream_io|signal_process
        |collect_stats|cleanup|detach|reclaim|registry|IsolationClass host_process|IsolationClass sandbox
        |container, lightweight_vm|remote_sandbox|not a total order|IsolationRuntimeKind|test_only_fake|Health
        |IsolationFallback deny|allow_if_package|accepted_classes|test_only_host_process|requirement builder
        |read_only_root|writable_layer|mount_read_only_enforcement|single_file_mount_expansion_audit
        |no_network_guarantee|egress_allowlist|secret_isolation|secret_mount|secret_redaction|process_timeout
        |process_signal|process_rlimits|content_ref_io|io_redaction|process_stats|audit_log|Trust locality
        |Trust tenancy|Trust auditability|Trust cleanup|Trust data_residency|Trust secret_isolation
        |RootFilesystemMode read_only|RootFilesystemMode writable_layer|live_read_only, live_writable
        |WorkspaceMountMode snapshot|WorkspaceMountMode none|WorkspaceMountMode scratch|MountMode
        |SymlinkPolicy|SingleFileMountExpansionPolicy|NetworkIsolationPolicy disabled|egress_scoped
        |socket_relay|exposed_ports|adapter_defined_denied|AmbientSecretPolicy|ephemeral_cleanup_required
        |reusable_if_policy_allows|CleanupMode always|on_success, host_policy|agent_owned
        |host_managed, detached_by_intent|terminate_after_grace|require_exit_or_cleanup|preserve_by_policy
        |DetachPolicy|ContentCaptureMode off|metadata_only|redacted_summary|truncate_with_marker
        |fail_if_exceeded|ContentRefMode|TerminalMode|StdinPolicy closed|StdinPolicy content_ref|Signals
        |repair_needed|MountPolicy|MountExpansionAudit|ResourceLimits|capture cap|process spec|env refs
        |idempotency|24 typed ids|Fingerprint|lifecycle of|journal:|recovery:|fail closed|downgrade needs
        |preference never|orphaning|cleanup failure|raw content""",
    "E": """new(|execute(argv)|create_pty|read_file|snapshot, fork|destroy|execute(command|exec(argv)
        |execute_code|stream_execute|with env|http_request|id, list, info|metrics|is_ready|with_pool
        |from_snapshot|FileType|fs_readonly|deny_network|memory_limit_mb|max_processes|cpu_quota_us|timeout_secs
        |Essential|NetworkWithFork|allow_fork|allowed_http_domains|namespace_degradation|http_acl|env_vars
        |Auto, Os|Wasm|MicroVm|Trusted, SemiTrusted, Untrusted|AllowAll|default read-only|sandbox_tmp_dir
        |vm_vcpu_count|env merge|ExecutionFailureKind|SandboxError|with_suggestion|command_timeout
        |file_not_found|http_denied_host|sandbox_not_ready|PtyEvent|SandboxMetrics memory|io bytes|IsolationReport
        |HTTP ACL|PoolConfig|PoolStats|PoolError|new, warm|PooledSandbox|output cap|pids.max|whole group
        |in-band|1 Landlock|2 fds|3 wrong|4 no readable|5, 6|7 RLIMIT_AS|8 no UDP|9 allocation|10, 11|12 docs
        |macOS sandbox_init|KVM microVM|HTTP proxy|`run`|`code`|`ls`|`shell`|`snapshot`|`bench|`doctor`
        |`setup`|`mcp-init`|`completions`|`version`|JSON envelope""",
}


def rows():
    """(section, theirs, ours, status, line) of every row of a map."""
    section, inside = None, False
    for number, line in enumerate((ROOT / "docs/seeds.md").read_text().splitlines(), 1):
        heading = re.match(r"## (\w)", line)
        if heading:
            section = heading.group(1) if line[4] == "." else "all"
        if line.startswith("| ") and section:
            cells = [c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]]
            assert len(cells) == 3, (number, line)
            if cells[2] != "status":
                yield section, *cells, number


def corpus():
    """What the tests say, and that with what calls the library on their behalf."""
    def text(*globs):
        return "\n".join(p.read_text() for g in globs for p in sorted(ROOT.glob(g))
                         if p.name not in ("test_seeds.py", "_native.py"))

    tests = text("tests/**/*.py", "tests/**/*.c", "tests/**/*.sh")
    return tests, tests + text("examples/**/*.[cp]*", "src/cli/*.c", "bindings/python/immure/*.py")


class Things:
    """Everything that a row may name."""

    def __init__(self, program):
        def ask(*argv):
            return subprocess.run([program, *argv], stdin=subprocess.DEVNULL, check=True,
                                  stdout=subprocess.PIPE).stdout.decode()

        header = (ROOT / "include/immure/immure.h").read_text()
        self.header = set(re.findall(r"\b(?:immure|IMMURE)_\w+", header))
        self.exported = (ROOT / "src/lib/version.map").read_text()
        self.functions = set(re.findall(r"IMMURE_API\s[^;]*?\b(immure_\w+)\(", header))
        self.fields = {}
        for name, body in re.findall(r"struct (\w+) \{\n(.*?)\n\};", header, re.S):
            self.fields[name] = set(re.findall(r"(\w+)(?=[,;\[])", body))
        self.commands = set(re.findall(r"^  (\w+) ", ask("help"), re.M))
        self.subcommands = set(re.findall(r"^  (\w+) ", ask("policy", "--help"), re.M))
        self.flags = {"--version", "--help"}
        for command in self.commands - {"help"}:
            self.flags |= set(re.findall(r"(--[\w-]+)", ask("help", command)))
        self.keys = dict.fromkeys(ask("policy", "reference", "keys").split(), None)
        self.flag_of = {}
        source = "".join(p.read_text() for p in (ROOT / "src/policy/keys").glob("*.inc"))
        for key, body in re.findall(r'KEY\("([\w.]+)"\)(.*?)\n\t\},', source, re.S):
            found = re.search(r"\.names = NAMES\((.*?)\)", body, re.S)
            if found:
                self.keys[key] = set(re.findall(r'"(\w+)"', found.group(1)))
            flag = re.search(r'\.flag = "([\w-]+)"', body)
            if flag:
                self.flag_of[key] = "--" + flag.group(1)
        self.profiles = set(ask("policy", "profiles").split())
        self.words = set(re.findall(r'= "(\w+)"', (ROOT / "src/facts/report.c").read_text()))
        self.requests = set(re.findall(r'\{ "(\w+)", *"[y=-]+"(?:, 1)? \}', (
            ROOT / "src/session/states.c").read_text()))
        self.facts = set(re.findall(r'"(\w+)"', "".join(
            p.read_text() for p in (ROOT / "src/facts").glob("*.c"))))

        self.corpus = corpus()
        self.words = set(re.findall(r"\w+", self.corpus[1]))

    def is_used(self, span):
        """Some test, example or the command line (which the tests drive) has it. What is
        named as a file, and what is no name of ours, needs no more than to be there."""
        tests, callers = self.corpus
        if span.startswith("immure_") and "." in span:
            return span.split(".")[1] in self.words
        if span.startswith(("immure_", "IMMURE_")):
            name = span.removesuffix("()").rstrip("*")
            return name in self.words if span[-1] != "*" else re.search(r"\b" + name, callers)
        if span.startswith("request "):
            span = span.split()[1]
        elif span.startswith("immure "):
            span = span.split()[1]
        elif re.match(r"(src|docs|tests|tools)/", span) or span == "immure":
            return True
        flag = self.flag_of.get(span)
        return any(re.search(r"(?<![\w.-])%s(?![\w-])" % re.escape(name), tests)
                   for name in (span, flag) if name)

    def is_exported(self, name):
        patterns = re.findall(r"\b(immure_[\w*]+);", self.exported)
        return any(re.fullmatch(p.replace("*", r"\w*"), name) for p in patterns)

    def has(self, span):
        """True or False, None when it is not a name of ours."""
        if span.startswith("immure_") and "." in span:
            struct, field = span.split(".")
            return field in self.fields.get(struct, ())
        if span.startswith("immure_"):
            name = span.removesuffix("()")
            if span.endswith("()"):
                return name in self.functions and self.is_exported(name)
            return name in self.header
        if span.startswith("IMMURE_"):
            return any(n.startswith(span.rstrip("*")) for n in self.header) if span.endswith("*") \
                else span in self.header
        if span.startswith("request "):
            return span.split()[1] in self.requests
        if span.startswith("--"):
            return span.split()[0] in self.flags
        if span.split()[0] == "immure":
            words = span.split()
            if len(words) > 2 and words[1] == "policy":
                return words[2] in self.subcommands
            return len(words) == 1 or words[1] in self.commands or words[1] == "-c"
        if re.match(r"(src|docs|tests|tools)/", span):
            return (ROOT / span).exists()
        if span in self.keys or span in self.profiles or span in self.words or span in self.facts:
            return True
        if re.match(r"[/.+]", span) or span in ("auto", "immure"):
            return None
        return False


def settled(cell):
    """The part of a cell that speaks of what is there."""
    return re.sub(r"planned[^;|]*", "", cell)


def spans(text):
    return re.findall(r"`([^`]+)`", text)


@pytest.fixture(scope="module")
def things(full):
    return Things(full)


ROWS = list(rows())


def test_statuses():
    assert len(ROWS) > 400
    assert [(n, s) for *_, s, n in ROWS if s not in STATUS] == []
    assert [n for _, _, ours, s, n in ROWS if s in ("partial", "missing", "declined") and
            len(ours) < 8] == []


def test_what_is_there_is_there(things):
    wrong = [(n, span) for _, _, ours, status, n in ROWS if status in ("works", "partial")
             for span in spans(settled(ours)) if things.has(span) is False]
    assert wrong == []


def test_what_works_is_used_somewhere(things):
    """A name alone proves nothing: a row that works names what some test uses."""
    wrong = [(n, span) for _, _, ours, status, n in ROWS if status == "works"
             for span in spans(settled(ours)) if things.has(span) and not things.is_used(span)]
    assert wrong == []


def test_values_that_work_are_used_somewhere(things):
    tests = things.corpus[0]
    wrong = [(n, key, v) for _, _, ours, status, n in ROWS if status == "works"
             for key, v in values_of(ours, things)
             if not re.search(r"(?<![\w-])%s(?![\w-])" % re.escape(v), tests)]
    assert wrong == []


def values_of(ours, things):
    """(key, value) of what a cell says as `key` = value, value."""
    for key, values in re.findall(r"`([\w.]+)` = ([\w]+(?:, [\w]+)*)(?=[;:|), ]|$)", settled(ours)):
        choices = things.keys.get(key)
        for v in values.split(", "):
            if choices and v not in ("an", "file", "a"):
                yield key, v


def test_values_are_values_of_the_key(things):
    wrong = [(n, key, v) for _, _, ours, status, n in ROWS if status in ("works", "partial")
             for key, v in values_of(ours, things) if v not in things.keys[key]]
    assert wrong == []


def test_what_works_names_something():
    """A row that works says where: a name, or a sentence of some length."""
    assert [n for _, _, ours, s, n in ROWS if s == "works" and not spans(ours) and
            len(ours) < 4] == []


@pytest.mark.parametrize("section", sorted(ITEMS))
def test_nothing_was_forgotten(section):
    have = "\n".join(theirs for s, theirs, *_ in ROWS if s == section)
    wanted = [w.strip() for w in ITEMS[section].split("|")]
    assert [w for w in wanted if w not in have] == []


def names():
    """{section: what must be named there}."""
    found, section = {}, None
    for line in (ROOT / "tests/house/seeds.names").read_text().splitlines():
        if re.fullmatch(r"\[\w\]", line):
            section = found.setdefault(line[1], [])
        elif line and line[0] != "#":
            section += line.split()
    return found


@pytest.mark.parametrize("section", sorted(ITEMS))
def test_every_name_has_a_row(section):
    have = "\n".join(theirs for s, theirs, *_ in ROWS if s == section)
    wanted = names()[section]
    assert len(wanted) > 40
    assert [w for w in wanted if w not in have] == []


def test_what_is_called_missing_is_missing(things):
    """Whoever makes what a row is waiting for changes the row."""
    assert list(stale(things)) == []


def stale(things):
    for section, theirs, ours, status, number in ROWS:
        planned = ours if status == "missing" else " ".join(re.findall(r"planned[^;|]*", ours))
        if status in ("missing", "partial"):
            there = [s for s in spans(planned)
                     if s.lower().startswith("immure") and things.has(s)]
            if there:
                yield "docs/seeds.md:%d: %s: %s is there" % (number, theirs, ", ".join(there))


if __name__ == "__main__":
    if sys.argv[1:] != ["--stale"]:
        sys.exit(__doc__)
    build = pathlib.Path(os.environ.get("IMMURE_BUILD", ROOT / "build"))
    print("\n".join(stale(Things(build / "immure-full"))))
