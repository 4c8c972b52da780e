#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Includes only point down.

Every #include "..." below src/ is held against the order of the layers; the
command line may use nothing but the public header, base and itself; a wrapped
library's header appears in its wrapper only; the public header includes only
what C99 has. Prints one line a finding and exits 1 when there is one.
"""
import pathlib
import re
import sys

LAYERS = ["base", "kernel", "image", "facts", "policy", "plan", "backend", "init", "egress",
          "intercept", "session", "changes", "evidence", "lib"]
# A dependency is wrapped by one file; its header appears nowhere else.
WRAPPED = {"jansson.h": {"base/json.c"},
           "archive.h": {"image/archive.c", "image/blob.c", "image/unpack.c"},
           "archive_entry.h": {"image/archive.c", "image/blob.c", "image/unpack.c"},
           "openssl/evp.h": {"image/digest.c"}, "openssl/crypto.h": {"image/digest.c"},
           **{f"openssl/{h}.h": {"intercept/tlslib.c", "intercept/certs.c", "intercept/certs.h"}
              for h in ("ssl", "err", "pem", "rand", "x509v3")}}
PUBLIC_MAY = {"stddef.h", "stdint.h"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]', re.MULTILINE)


def includes(path):
    return [(kind, name) for kind, name in INCLUDE.findall(path.read_text())]


def judge_quoted(path, layer, name):
    """Why this file may not include "name", or None."""
    top = name.split("/")[0]
    if name == "immure/immure.h" or ("/" not in name and (path.parent / name).exists()):
        return None
    if "/" not in name:
        return "quoted includes name the layer: \"%s/%s\"" % (layer, name)
    if layer == "cli":
        return None if top in ("cli", "base") else "the command line uses the public header and base only"
    if top not in LAYERS:
        return "no such layer: %s" % top
    if LAYERS.index(top) > LAYERS.index(layer):
        return "%s lies above %s" % (top, layer)
    return None


def judge_system(relative, name):
    if name in WRAPPED and relative not in WRAPPED[name]:
        return "<%s> belongs to %s alone" % (name, ", ".join(sorted(WRAPPED[name])))
    return None


def findings(root):
    src = root / "src"
    count = 0
    for path in sorted(src.rglob("*.[ch]")):
        relative = path.relative_to(src).as_posix()
        layer = relative.split("/")[0]
        count += 1
        if layer not in LAYERS + ["cli"]:
            yield "%s: not in a known layer" % relative
            continue
        for kind, name in includes(path):
            why = judge_quoted(path, layer, name) if kind == '"' else judge_system(relative, name)
            if why:
                yield "%s: includes %s: %s" % (relative, name, why)
    for kind, name in includes(root / "include/immure/immure.h"):
        if kind == '"' or name not in PUBLIC_MAY:
            yield "immure.h: includes %s: only %s" % (name, ", ".join(sorted(PUBLIC_MAY)))
    if count < 10:
        yield "only %d source files found below %s" % (count, src)


def main():
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1]
    found = list(findings(root))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
