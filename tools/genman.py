#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""genman.py PROGRAM VERSION INPUT

Prints INPUT with its generated parts filled in: a line "@OPTIONS command@"
becomes the options of that command as the program itself lists them,
"@COMMANDS@" its commands, and @VERSION@ its version.
"""
import re
import subprocess
import sys


def ask(program, what):
    return subprocess.run([program, "help", "--man", what], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, check=True).stdout.decode()


def fill(program, version, text):
    for line in text.splitlines(keepends=True):
        match = re.fullmatch(r"@(OPTIONS (\w+)|COMMANDS)@\n", line)
        if match:
            yield ask(program, match.group(2) or "commands")
        else:
            yield line.replace("@VERSION@", version)


def main():
    program, version, source = sys.argv[1:]
    with open(source, encoding="utf-8") as f:
        sys.stdout.write("".join(fill(program, version, f.read())))


if __name__ == "__main__":
    main()
