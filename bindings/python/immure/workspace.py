# SPDX-License-Identifier: Apache-2.0
"""What was changed in copy-on-write workspaces (workspace.mode: cow): told, applied, discarded.
id: of the session, or of a run the "workspace_kept" of its record; None: the only one."""
from __future__ import annotations

import ctypes
import json
import os
from typing import Any, Dict, Iterable, List, Mapping, Optional

from . import _native
from ._native import PathLike, call, encode, string_of


def workspaces(env: Optional[Mapping[str, str]] = None) -> List[Dict[str, Any]]:
    """Those that are kept."""
    return json.loads(string_of("immure_workspace_list", _native.environment(env)))


def diff(id: Optional[str] = None, env: Optional[Mapping[str, str]] = None) -> Dict[str, Any]:
    """What was changed: "changes", each with "refused" or "conflict" where it may not land."""
    return json.loads(string_of("immure_workspace_diff", encode(id) if id else None,
                                _native.environment(env), 1))


def open_file(path: PathLike, id: Optional[str] = None, *, changed: bool = True,
              env: Optional[Mapping[str, str]] = None) -> int:
    """A descriptor of one file, as it was changed or as it is; the caller closes it."""
    fd = ctypes.c_int32(-1)
    call("immure_workspace_open_file", encode(id) if id else None, _native.environment(env),
         os.fsencode(path), int(changed), ctypes.byref(fd))
    return fd.value


def apply(id: Optional[str] = None, paths: Iterable[PathLike] = (), *, overwrite: bool = False,
          rest: bool = False, links: bool = False, dry_run: bool = False, undo: bool = False,
          abandon: bool = False,
          env: Optional[Mapping[str, str]] = None) -> Dict[str, Any]:
    """Lets it land, all that is asked for or nothing; what landed says "lands"."""
    chosen = [os.fsencode(p) for p in paths]
    o = _native.immure_workspace_options(
        flags=overwrite | rest << 1 | links << 2 | dry_run << 3 | undo << 4 | abandon << 5,
        paths=_native.words(chosen) if chosen else None, env=_native.environment(env))
    return json.loads(string_of("immure_workspace_apply", encode(id) if id else None, ctypes.byref(o)))


def discard(id: Optional[str] = None, env: Optional[Mapping[str, str]] = None) -> None:
    """Drops it."""
    call("immure_workspace_discard", encode(id) if id else None, _native.environment(env))
