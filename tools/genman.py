#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""genman.py PROGRAM VERSION INPUT

Prints INPUT with its generated parts filled in: a line "@OPTIONS command@"
becomes the options of that command as the program itself lists them,
"@COMMANDS@" its commands, "@REFERENCE man@" the policy keys, and @VERSION@ its
version.
"""
import re
import subprocess
import sys


def ask(program, *words):
    return subprocess.run([program, *words], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, check=True).stdout.decode()


def fill(program, version, text):
    for line in text.splitlines(keepends=True):
        match = re.fullmatch(r"@(OPTIONS (\w+)|COMMANDS)@\n", line)
        if match:
            yield ask(program, "help", "--man", match.group(2) or "commands")
        elif line == "@REFERENCE man@\n":
            yield ask(program, "policy", "reference", "man")
        else:
            yield line.replace("@VERSION@", version)


def main():
    program, version, source = sys.argv[1:]
    with open(source, encoding="utf-8") as f:
        sys.stdout.write("".join(fill(program, version, f.read())))


if __name__ == "__main__":
    main()
