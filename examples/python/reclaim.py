#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""reclaim.py: a session is handed over by a ticket, and cleaned up by who has it."""
import immure

with immure.Policy.load(profile="strict", discover=False) as policy, \
        immure.Plan.create(policy, ["true"]) as plan, immure.Session.create(plan) as session:
    ticket = session.ticket(valid=60)  # void unless it is acknowledged within a minute
    immure.acknowledge(ticket)
print("handed over")  # and alive: the maker has let go

report = immure.reclaim(ticket)
print("removed:", "yes" if report.removed else "no", "left:", report.left)
try:
    immure.reclaim(ticket)
except immure.NoSession as e:
    print(e)
