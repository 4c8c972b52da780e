# SPDX-License-Identifier: Apache-2.0
"""Requirements and downgrades, from the command line and from files."""

import json

import pytest

pytestmark = pytest.mark.modes("root", "user")


def outcome(site, *flags):
    """Whether it ran, and what was said; nothing in between."""
    result = site.sh("echo ran > mark", flags=flags)
    ran = (site.ws / "mark").exists()
    assert result.code == (0 if ran else 125), result
    (site.ws / "mark").unlink(missing_ok=True)
    return ran, result.errors


@pytest.mark.parametrize("asked,met", [
    ("sandbox", True), ("host_process", True), ("container", False), ("lightweight_vm", False),
    ("remote_sandbox", False), ("read_only_root,cleanup,process_timeout", True),
    ("no_network_guarantee,network_egress", True), ("cleanup,audit_log", False),
    ("mount_read_only_enforcement,process_signal,process_rlimits,process_stats", True),
    ("detach,reclaim,content_ref_io,single_file_mount_expansion_audit", True),
    ("writable_layer", False), ("secret_mount", False), ("secret_redaction", True),
    ("io_redaction", True), ("locality=local,cleanup=required", True), ("locality=remote", False),
    ("tenancy=dedicated", False), ("data_residency=local_only,secret_isolation=required", True),
    ("data_residency=region", False), ("auditability=best_effort", True),
    ("sandbox,tenancy=dedicated", False),
])
def test_requirements(site, asked, met):
    ran, errors = outcome(site, "--require", asked)
    assert ran == met, errors
    if not met:
        assert "require." in errors and errors.count("\n") == 1
        assert not outcome(site, "--require", asked, "--downgrade", "allow")[0]


@pytest.mark.parametrize("listed,caller,origin,ran", [
    (None, None, None, False), (None, "allow", None, False), (None, "trust_tenancy", None, True),
    (None, "trust_tenancy", "remote", False), (None, "sandbox,trust_locality", None, False),
    ([], "trust_tenancy", None, False), (["trust_tenancy"], None, None, False),
    (["trust_tenancy"], "allow", None, True), (["trust_tenancy"], "deny", None, False),
    (["trust_tenancy"], "trust_tenancy", None, True),
    (["trust_tenancy"], "allow", "remote", False), (["audit_log"], "allow", None, False),
    (["audit_log"], "trust_tenancy", None, False),
])
def test_both_must_agree(site, listed, caller, origin, ran):
    flags = ["--require", "tenancy=dedicated"]
    if listed is not None:
        file = site.path / "policy.json"
        file.write_text(json.dumps({"require": {"downgrade": listed}}))
        file.chmod(0o644)
        flags += ["--policy", str(file)]
    flags += ["--downgrade", caller] if caller else []
    flags += ["--origin", origin] if origin else []
    did, errors = outcome(site, *flags)
    assert did == ran, errors
    if did:
        assert "not enforced, as the policy approves" in errors
    elif listed is not None and caller == "trust_tenancy":
        assert "does not list trust_tenancy" in errors


def test_a_preference_is_no_requirement(site):
    """A backend that cannot be had is preferred in vain; one that is named is refused."""
    assert outcome(site, "--prefer", "firecracker,microvm".split(",")[0])[0]
    assert not outcome(site, "--backend", "firecracker")[0]
    assert not outcome(site, "--prefer", "native", "--require", "lightweight_vm")[0]
