#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""session.py: one place, many commands, one after the other and at once."""
import concurrent.futures

import immure

with immure.Policy.load(profile="strict", discover=False) as policy, \
        immure.Plan.create(policy, ["true"]) as plan, immure.Session.create(plan) as session:
    session.run(["sh", "-c", "echo written by one command > /tmp/note"], check=True)
    print(session.run(["cat", "/tmp/note"], capture_output=True, text=True).stdout, end="")
    print("status", session.run(["sleep", "60"], timeout=0.1).returncode)
    try:
        session.run(["no-such-command"])
    except immure.NotFound as e:
        print(e)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        work = [["sh", "-c", "exit %d" % i] for i in range(8)]
        print("statuses", [done.returncode for done in pool.map(session.run, work)])
