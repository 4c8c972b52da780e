#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""stream.py: commands of one session in an asyncio loop, their output as it comes."""
import asyncio

import immure
from immure import aio


async def follow(session, name, script):
    process = await session.exec(["sh", "-c", script])
    async for output in process:
        print(name, "stdout" if output.stream == 1 else "stderr", output.cursor, output.data)
    print(name, "ended with", (await process.wait()).returncode)


async def main():
    with immure.Policy.load(profile="strict", discover=False) as policy, \
            immure.Plan.create(policy, ["true"]) as plan:
        async with aio.Session.create(plan) as session:
            await asyncio.gather(
                follow(session, "first", "echo one; sleep 0.2; echo two >&2; exit 5"),
                follow(session, "second", "sleep 0.1; echo three"))


asyncio.run(main())
