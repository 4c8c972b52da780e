# SPDX-License-Identifier: Apache-2.0
"""What backend landlock begins while the plan is made: whatever becomes of who begins it,
the command runs as sealed in as ever, or not at all."""
import re
import shutil

import pytest

import harness

APPROVED = ("--backend", "landlock", "--downgrade", harness.BARE_GAPS + ",file_create")
# What is there in the end does not tell how it came about.
INSIDE = """
grep -E '^(Cap|NoNewPrivs|Seccomp|Groups)' /proc/self/status
touch mine && chmod 640 mine && stat -c %a mine
cat /etc/shadow && exit 3
exit 7
"""


@pytest.fixture
def bare(site):
    if harness.LANDLOCK_ABI <= 0:
        pytest.skip("no Landlock here")
    return site


def traced(site, *options, flags=()):
    if not shutil.which("strace"):
        pytest.skip("no strace")
    log = site.out / "trace"
    result = site.call("strace", "-f", "-qq", "-b", "execve", "-o", log, *options, "--",
                       site.immure, "run", *APPROVED, *flags, "--", "/bin/sh", "-c", INSIDE)
    return result, log.read_text() if log.exists() else ""


def sealed_in(result):
    assert result.code == 7, result
    said = dict(re.findall(r"^(\w+):\s*(.*?)\s*$", result.text, re.M))
    assert set(said[k] for k in said if k.startswith("Cap") and k != "CapBnd") == {"0" * 16}, said
    assert said["NoNewPrivs"] == "1" and said["Seccomp"] == "2", said
    assert "\n640\n" in result.text, result
    return said


def test_it_is_as_sealed_in_as_without(bare):
    """Filters of the policy's own words are not put on ahead."""
    ahead, log = traced(bare, "-e", "trace=clone")
    assert "CLONE_PARENT" in log, log
    plain, log = traced(bare, "-e", "trace=clone", flags=("--deny-syscalls", "credential.write"))
    assert "CLONE_PARENT" not in log, log
    ahead, plain = sealed_in(ahead), sealed_in(plain)
    assert int(ahead.pop("Seccomp_filters")) == int(plain.pop("Seccomp_filters")) - 1 == 2
    assert ahead == plain


@pytest.mark.modes("user")
def test_what_fails_ahead_is_done_by_init(bare):
    """The second prctl(2) of the maker gives up ambient capabilities; of the others it is
    one that may fail."""
    result, log = traced(bare, "-e", "trace=prctl,clone,clone3", "-e",
                         "inject=prctl:error=ENOMEM:when=2")
    assert "PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) = -1 ENOMEM" in log and "CLONE_PARENT" not in log, log
    sealed_in(result)


@pytest.mark.parametrize("call", ["futex", "exit"])
@pytest.mark.parametrize("when", [1, 2, 3])
def test_nothing_runs_twice(bare, call, when):
    """A word that does not get through, or an end that comes early."""
    what = "error=EPERM" if call == "futex" else "delay_enter=100000"
    result, log = traced(bare, "-e", f"trace={call},clone3,clone", "-e",
                         f"inject={call}:{what}:when={when}")
    assert result.text.count("NoNewPrivs") == 1, (result, log)
    # One that a signal cuts short is begun anew by the kernel.
    assert len(re.findall(r"clone\([^)\n]*CLONE_PIDFD", log)) - log.count("ERESTART") == 1, log
    sealed_in(result)


def test_a_killed_maker_is_no_reason_to_begin_anew(bare):
    """Nobody knows whether the command was started: nothing starts it a second time."""
    result, log = traced(bare, "-e", "trace=clone3", "-e", "inject=clone3:signal=KILL:when=1")
    assert result.code == 125 and not result.out, (result, log)


def test_a_refused_plan_leaves_nothing(bare):
    """The teardown of each test looks for processes that are left."""
    assert bare.call(bare.immure, "run", "--backend", "landlock", "--", "/bin/true").code == 125


def test_filters_that_were_only_said_to_be_there(bare):
    """Init, which is born under them, looks."""
    result, log = traced(bare, "-e", "trace=seccomp", "-e", "inject=seccomp:retval=0")
    assert "NEW_LISTENER" in log, log
    assert result.code == 125 and not result.out and "seccomp" in result.errors, result


@pytest.mark.parametrize("profile", ["strict", "dev"])
def test_rules_are_shared_and_none_is_missing(bare, profile):
    """The last are init's, where it has any: /proc is among them, which the script reads."""
    result, log = traced(bare, "-e", "trace=landlock_add_rule", flags=("--profile", profile))
    sealed_in(result)
    rules = re.findall(r"^(\d+) +landlock_add_rule\(", log, re.M)
    assert len(set(rules)) == (2 if len(rules) > 100 else 1) and len(rules) > 20, rules


@pytest.mark.parametrize("profile", ["strict", "dev"])
def test_rules_that_fail_are_a_refusal(bare, profile):
    """With strict all are the launcher's, and then all are init's."""
    result, log = traced(bare, "-e", "trace=landlock_add_rule,landlock_restrict_self", "-e",
                         "inject=landlock_add_rule:error=ENOMEM:when=3",
                         flags=("--profile", profile))
    assert result.code == 125 and not result.out and ": Out of memory" in result.errors, result
    assert "temporary" not in result.errors, result
    assert len({line.split()[0] for line in log.splitlines() if "INJECTED" in line}) == 2, log
    assert "restrict_self" not in log, log
