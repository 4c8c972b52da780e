# SPDX-License-Identifier: Apache-2.0
"""Snapshots of sessions (Session.snapshot(), Session.resume()): listed, looked at, removed.
name: a name, an id, or its unambiguous beginning. What one contains is files."""
from __future__ import annotations

import json
from typing import Any, Dict, List, Mapping, Optional

from . import _native
from ._native import call, encode, string_of


def snapshots(env: Optional[Mapping[str, str]] = None) -> List[Dict[str, Any]]:
    """Those that are kept."""
    return json.loads(string_of("immure_snapshot_list", _native.environment(env)))


def inspect(name: str, env: Optional[Mapping[str, str]] = None) -> Dict[str, Any]:
    """What is said of one, after all its files have been looked at; SnapshotError: damaged."""
    return json.loads(string_of("immure_snapshot_inspect", encode(name), _native.environment(env)))


def remove(name: str, env: Optional[Mapping[str, str]] = None) -> None:
    call("immure_snapshot_remove", encode(name), _native.environment(env))
