# SPDX-License-Identifier: Apache-2.0
"""immure bench: figures of commands that ran, sealed in. No figure is judged here."""

import json

import pytest

import harness
from sessions import mark, of_policy

pytestmark = pytest.mark.modes("root", "user")
FIGURES = {"cold-start": ["to exit"], "warm-throughput": ["request to exit"],
           "hot-acquire": ["acquire", "acquire to first byte", "acquire to exit"]}


@pytest.mark.parametrize("target", FIGURES)
def test_figures(site, target):
    done = site.call(site.immure, "bench", "--target", target, "--count", "5", "--json", *mark(site))
    assert done.code == 0, done
    said = json.loads(done.out)
    assert (said["target"], said["count"]) == (target, 5) and said["policy"].startswith("policy-")
    assert list(said["figures"]) == FIGURES[target]
    least = 0
    for x in said["figures"].values():
        assert 0 < x["min_ns"] <= x["p50_ns"] <= x["p90_ns"] <= x["p99_ns"] <= x["max_ns"]
        assert x["per_second"] > 0 and x["min_ns"] >= least
        least = x["min_ns"]  # what takes longer is told later
    assert harness.until(lambda: of_policy(site, *mark(site)) == [], 10)


def test_for_people(site):
    done = site.call(site.immure, "bench", "--count", "2")
    lines = done.text.splitlines()
    assert done.code == 0 and lines[0].startswith("cold-start") and lines[1].startswith("to exit")


@pytest.mark.parametrize("target", ["cold-start", "warm-throughput"])
def test_a_command_that_fails_is_no_sample(site, target):
    done = site.call(site.immure, "bench", "--target", target, "--count", "2", "--", "/bin/false")
    assert done.code != 0 and done.out == b"" and "status 0" in done.errors


def test_a_policy_that_cannot_hold_is_not_timed(site):
    done = site.call(site.immure, "bench", "--require-class", "lightweight_vm")
    assert done.code == 125 and done.out == b"" and "require.class" in done.errors
    assert site.call(site.immure, "bench", "--target", "warp").code == 125
    assert site.call(site.immure, "bench", "--count", "0").code == 125
