# SPDX-License-Identifier: Apache-2.0
"""The built-in tables, read from where they are defined, so that an entry
cannot be added without being tested."""

import dataclasses
import pathlib
import re

SOURCE = pathlib.Path(__file__).resolve().parents[2] / "src/policy"


@dataclasses.dataclass
class Protected:
    path: str
    anywhere: bool
    build: bool

    @property
    def concrete(self):
        """A name that the entry stands for."""
        return self.path.replace("*", "some-")


def _entries(kind):
    text = (SOURCE / "data.c").read_text()
    return re.findall(r'^\s*(%s)\("([^"]+)",' % kind, text, re.M)


def sensitive():
    return [path for _, path in _entries("SECRET")]


def protected():
    return [Protected(path, kind.endswith("ANY"), kind.startswith("BUILD"))
            for kind, path in _entries("ROOT|ANY|BUILD|BUILD_ANY")]


def creatable():
    text = (SOURCE / "profiles.c").read_text()
    block = re.search(r"creatable\[\] = \{(.*?)NULL", text, re.S).group(1)
    return set(re.findall(r'"([^"]+)"', block))
