#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""run.py COMMAND [ARGUMENT]...: one command, sealed in, with the policy of this directory."""
import sys

import immure

try:
    sys.exit(immure.run(sys.argv[1:]).returncode)
except immure.NotFound as e:
    print("run.py:", e, file=sys.stderr)
    sys.exit(127)
except immure.Error as e:
    print("run.py:", e, file=sys.stderr)
    sys.exit(125)
