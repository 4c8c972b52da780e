#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""pool.py DIR...: sessions made before anybody asks; each directory gets one as its
workspace, from as many threads as there are directories."""
import concurrent.futures
import sys

import immure

SCRIPT = "echo $PWD: *; cat /tmp/made 2>/dev/null; echo kept > made; echo gone > /tmp/made"


def use(name, workspace):
    with immure.Pool.open(name) as pool, pool.acquire(workspace=workspace, wait=10) as session:
        return session.run(["sh", "-c", SCRIPT], capture_output=True, text=True).stdout


with immure.Policy.load(profile="strict", discover=False) as policy, \
        immure.Pool.start(policy, name="example", size=2, maximum=4) as pool:
    with concurrent.futures.ThreadPoolExecutor() as threads:
        for said in threads.map(lambda d: use("example", d), sys.argv[1:]):
            print(said, end="")
    stats = pool.stats()
    print("taken", stats["hits"] + stats["misses"], file=sys.stderr)
