# SPDX-License-Identifier: Apache-2.0
"""The policy command, the schema that it prints, and the page made from it."""
import json
import pathlib
import re

import pytest

PROFILES = ["dev", "readonly", "strict", "ci", "untrusted", "agent-claude", "agent-codex", "agent-copilot", "vscode",
            "image"]


@pytest.fixture(scope="session")
def schema(run, full):
    done = run(full, "policy", "schema")
    assert done.status == 0, done
    return json.loads(done.out)


@pytest.fixture(scope="session")
def keys(run, full):
    return run(full, "policy", "reference", "keys").out.split()


TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


def is_type(value, name):
    if name == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if name == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def wrong(schema, value, at="$"):
    """What of value the schema forbids: the keywords that ours uses, no others."""
    known = {"$schema", "title", "description", "default", "type", "enum", "pattern", "minLength",
             "minimum", "maximum", "exclusiveMinimum", "properties", "additionalProperties", "items",
             "anyOf", "not", "propertyNames", "required", "minItems"}
    assert set(schema) <= known, set(schema) - known
    types = schema.get("type", [])
    if types and not any(is_type(value, t) for t in ([types] if isinstance(types, str) else types)):
        return [at + ": type"]
    found = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(at + ": enum")
    if isinstance(value, str):
        if len(value) < schema.get("minLength", 0):
            found.append(at + ": minLength")
        if "pattern" in schema and not re.search(schema["pattern"], value):
            found.append(at + ": pattern")
    if is_type(value, "number"):
        if value < schema.get("minimum", value) or value > schema.get("maximum", value):
            found.append(at + ": range")
        if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
            found.append(at + ": range")
    if isinstance(value, dict):
        found += [at + ": lacks " + name for name in schema.get("required", []) if name not in value]
        for name, member in value.items():
            found += [at + ": name" for _ in wrong(schema.get("propertyNames", {}), name)]
            inner = schema.get("properties", {}).get(name, schema.get("additionalProperties", {}))
            found += [at + ": unknown " + name] if inner is False else \
                wrong(inner, member, at + "." + name)
    if isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            found.append(at + ": minItems")
        for i, element in enumerate(value):
            found += wrong(schema.get("items", {}), element, "%s[%d]" % (at, i))
    if "anyOf" in schema and all(wrong(s, value) for s in schema["anyOf"]):
        found.append(at + ": anyOf")
    if "not" in schema and not wrong(schema["not"], value):
        found.append(at + ": not")
    return found


def nest(key, value):
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


GOOD = [
    {}, {"$schema": "x"}, {"extends": "strict"}, {"extends": "./x.json"}, {"extends": "x.json"},
    {"limits": {"memory": "1.5GiB", "wall_time": 1.5, "cpus": 0.5, "processes": 5, "output": 64}},
    {"files": {"+deny": ["~/x", "a..b"], "tmp": []}}, {"network": {"allow": None}},
    {"environment": {"set": {"A": ""}, "+pass": ["LC_*"]}}, {"syscalls": "/etc/x.bpf"},
    {"secrets": {"a": {"from": "env:A", "to": ["x.org"]}}},
    {"require": {"downgrade": ["limits.memory"], "capabilities": ["ipc", "no_network_guarantee"]}},
]
BAD = [
    [], None, {"x": 1}, {"extends": "nope"}, {"extends": ""}, {"files": []}, {"files": {"x": []}},
    {"limits": {"memory": 0}}, {"limits": {"memory": "2 G"}}, {"limits": {"memory": True}},
    {"limits": {"memory": 1.5}}, {"limits": {"processes": "5"}}, {"limits": {"+memory": "1G"}},
    {"limits": {"processes": 0}}, {"limits": {"wall_time": "1w"}}, {"limits": {"cpus": "1e3"}},
    {"files": {"deny": "x"}}, {"files": {"deny": [""]}}, {"files": {"deny": ["a/../b"]}},
    {"files": {"deny": None}}, {"files": {"deny": [1]}}, {"files": {"created": ["Makefil"]}},
    {"files": {"sensitive": "true"}}, {"network": {"mode": "NONE"}}, {"identity": "bob"},
    {"environment": {"pass": ["*"]}}, {"environment": {"pass": ["A B"]}},
    {"environment": {"set": {"A=B": "x"}}}, {"environment": {"set": {"A": 1}}},
    {"secrets": {"a": {"from": "env:A"}}}, {"secrets": {"a": {"from": "x", "to": ["x.org"]}}},
    {"secrets": {"a": {"from": "env:A", "to": []}}}, {"secrets": {"a b": {}}},
    {"secrets": {"a": {"from": "env:A", "to": ["x.org"], "x": 1}}},
    {"syscalls": "x"}, {"require": {"downgrade": "x"}}, {"require": {"capabilities": ["x"]}},
    {"files.deny": ["x"]}, {"+files": {}},
]


@pytest.mark.parametrize("policy", GOOD, ids=json.dumps)
def test_schema_and_program_take(run, full, schema, tmp_path, policy):
    assert wrong(schema, policy) == []
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(policy))
    if "/" in policy.get("extends", "") or ".json" in policy.get("extends", ""):
        (tmp_path / "x.json").write_text("{}")
    done = run(full, "policy", "check", file)
    assert (done.status, done.err) == (0, ""), done


@pytest.mark.parametrize("policy", BAD, ids=json.dumps)
def test_schema_and_program_refuse(run, full, schema, tmp_path, policy):
    assert wrong(schema, policy)
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(policy))
    done = run(full, "policy", "check", file)
    assert done.status == 1 and done.err.startswith("immure: %s:1: " % file), done
    assert done.err.count("\n") == 1


def test_schema_is_a_schema(schema):
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert all(validator.is_valid(p) for p in GOOD)
    assert not any(validator.is_valid(p) for p in BAD)


def test_schema_knows_every_key(schema, keys):
    assert len(keys) > 30
    for key in keys:
        node = schema
        for part in key.split("."):
            assert part in node["properties"], key
            node = node["properties"][part]
        assert node["description"], key


@pytest.mark.parametrize("profile", PROFILES)
def test_what_show_prints_is_a_policy(run, full, schema, tmp_path, profile):
    """Put back into a file, it asks for the same."""
    shown = run(full, "policy", "show", "--no-policy", "--profile", profile, "--json")
    assert shown.status == 0, shown
    shown = json.loads(shown.out)
    policy = {}
    for key, entry in shown["keys"].items():
        if entry["value"] is None:
            continue
        group, _, name = key.rpartition(".")
        (policy.setdefault(group, {}) if group else policy)[name] = entry["value"]
    assert wrong(schema, policy) == []
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(policy))
    again = run(full, "policy", "show", "--policy", file, "--json")
    assert again.status == 0, again
    assert json.loads(again.out)["policy_version"] == shown["policy_version"]


def test_show_says_where_values_come_from(run, full, tmp_path):
    file = tmp_path / "policy.json"
    file.write_text('{"extends": "ci", "limits": {"memory": "1G"}, "files": {"+deny": ["x"]}}')
    done = run(full, "policy", "show", "--policy", file, "--timeout", "5s", "--deny", "y", "--json")
    sources = {k: v["source"] for k, v in json.loads(done.out)["keys"].items()}
    assert sources["files.view"] == "strict"
    assert sources["limits.processes"] == "ci"
    assert sources["limits.memory"] == str(file)
    assert sources["limits.wall_time"] == "--timeout"
    assert sources["files.deny"] == "%s, --deny" % file
    assert sources["origin"] == "default"
    text = run(full, "policy", "show", "--policy", file, "--timeout", "5s").out
    assert re.search(r"^limits\.wall_time +5s +--timeout$", text, re.M)
    assert re.search(r"^limits\.memory +1G +%s$" % re.escape(str(file)), text, re.M)


def test_profiles(run, full):
    assert run(full, "policy", "profiles").out.split() == PROFILES


def test_backends_page_is_current(run, full, root):
    page = (root / "docs/BACKENDS.md").read_text()
    made = run(full, "policy", "reference", "backends").out
    assert page.endswith(made), \
        "docs/BACKENDS.md: replace everything from '## Reports' on by `immure policy reference backends`"
    assert "\n## Reports" not in page[:-len(made)]
    for word in ("native", "bwrap", "landlock", "seatbelt", "microvm", "no_network_guarantee"):
        assert f"`{word}`" in made


def test_reference_page_is_current(run, full, root):
    page = (root / "docs/POLICY.md").read_text()
    made = run(full, "policy", "reference", "markdown").out
    assert page.endswith(made), \
        "docs/POLICY.md: replace everything from '## Keys' on by `immure policy reference markdown`"
    assert page[:-len(made)].endswith("\n\n") and "\n## Keys" not in page[:-len(made)]


def test_reference_names_everything(run, full, keys):
    markdown, man = (run(full, "policy", "reference", f).out for f in ("markdown", "man"))
    for key in keys:
        assert "### `%s`\n" % key in markdown
        assert "\\fB%s\\fR\n" % key in man
    for profile in PROFILES:
        assert "| `%s` |" % profile in markdown


def test_check_looks_at_every_file(run, full, tmp_path):
    good, one, two = (tmp_path / n for n in ("good.json", "one.json", "two.json"))
    good.write_text("{}")
    one.write_text('{\n"limits": {"memory": 0}}')
    two.write_text('{"x": 1}')
    assert run(full, "policy", "check", good).status == 0
    done = run(full, "policy", "check", one, good, two)
    assert done.status == 1 and len(done.err.splitlines()) == 2
    assert "%s:2: limits.memory:" % one in done.err
    done = run(full, "policy", "check", tmp_path / "absent.json", one)
    assert done.status == 125


@pytest.mark.parametrize("rule,port", [
    ("tls://mail.example.com:25", "25"), ("https://db.example.com:5432", "5432"),
    ("http://*.example.com:22", "22"), ("tls://mail.example.com:465", None),
    ("mail.example.com:25", None), ("ssh://git.example.com:22", None),
    ("tls://mail.example.com:20-30", None)])
def test_a_rule_that_waits_for_what_does_not_come(run, full, tmp_path, rule, port):
    """Right in itself, so it is noticed and not refused."""
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({"network": {"mode": "limited", "allow": [rule]}}))
    done = run(full, "policy", "check", path)
    assert done.status == 0 and done.out == ""
    plan = run(full, "plan", "--no-policy", "--net", "limited", "--allow", rule, "--", "true",
               cwd=tmp_path)
    told = json.loads(run(full, "plan", "--no-policy", "--json", "--net", "limited", "--allow", rule,
                          "--", "true", cwd=tmp_path).out)["notices"]
    if port is None:
        assert done.err == "" and "notice" not in plan.out and told == []
        return
    assert done.err.startswith(f"immure: {path}: notice: network.allow: {rule}: port {port} is usually")
    assert done.err.count("\n") == 1
    assert f"\nnotice: {rule}: port {port} " in plan.out and len(told) == 1


@pytest.mark.parametrize("argv", [
    [], ["check"], ["trust"], ["trust", "a", "b"], ["nope"], ["schema", "x"], ["profiles", "x"],
    ["reference", "pdf"], ["reference", "man", "x"], ["show", "x"], ["show", "--nope"],
    ["show", "--profile", "nope"], ["show", "--memory", "0"], ["trust", "/no/such/file"],
], ids=" ".join)
def test_usage_errors(run, full, argv):
    done = run(full, "policy", *argv)
    assert done.status == 125 and done.out == "", done
    assert done.err.startswith("immure: ") and done.err.count("\n") == 1


@pytest.mark.parametrize("argv", [["--help"], ["-h"], ["check", "--help"], ["show", "--help"]],
                         ids=" ".join)
def test_help(run, full, argv):
    done = run(full, "policy", *argv)
    assert done.status == 0 and done.err == "" and done.out, done


def test_trust(run, full, tmp_path):
    ws = tmp_path / "ws"
    (ws / ".immure").mkdir(parents=True)
    file = ws / ".immure/policy.json"
    file.write_text('{"network": {"mode": "host"}}')
    env = {"HOME": str(tmp_path), "PATH": "/bin"}
    show = [full, "policy", "show", "--workspace", ws]
    refused = run(*show, env=env)
    assert refused.status == 125 and "network.mode" in refused.err
    command = re.search(r"immure policy trust (\S+)", refused.err).group(1)
    assert pathlib.Path(command) == file
    done = run(full, "policy", "trust", file, env=env)
    assert re.fullmatch(r"trusted [0-9a-f]{64} %s\n" % re.escape(str(file)), done.out), done
    assert run(*show, env=env).status == 0
    file.write_text('{"network": {"mode":  "host"}}')
    assert run(*show, env=env).status == 125
