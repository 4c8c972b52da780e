#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Planning is a pure function: the objects of src/plan may call nothing but our
own functions, memory and strings. Argument: an archive of them."""
import re
import subprocess
import sys

ALLOWED = re.compile(
    r"immure_\w+|mem(cpy|move|set|cmp|rchr|chr)|str(len|cmp|ncmp|chr|rchr|str|spn|cspn|pbrk)|"
    r"malloc|calloc|realloc|free|qsort|v?snprintf|isalnum|isdigit|__ctype_b_loc|"
    r"__(\w+)_chk|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|"
    r"__(asan|ubsan|sanitizer|gcov|sanitizer_cov)\w*")


def main():
    bad = set()
    calls = 0
    out = subprocess.run(["nm", "-u", sys.argv[1]], check=True, capture_output=True, text=True)
    member = "?"
    for line in out.stdout.splitlines():
        if line.endswith(":"):
            member = line[:-1]
        if not line.strip().startswith("U "):
            continue
        calls += 1
        name = line.split()[-1].split("@")[0]
        if not ALLOWED.fullmatch(name):
            bad.add("%s calls %s" % (member, name))
    for line in sorted(bad):
        print(line)
    if not calls:
        print("%s: nothing found" % sys.argv[1])
    return 1 if bad or not calls else 0


sys.exit(main())
