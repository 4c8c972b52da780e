# SPDX-License-Identifier: Apache-2.0
"""What is recorded of sessions, and what is left of dead ones."""
from __future__ import annotations

import ctypes
import json
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional

from . import _native
from ._native import call, encode, library, made, string_of


@dataclass(frozen=True)
class Report:
    """What a teardown came to, resource by resource."""

    removed: int
    kept: int
    left: int
    text: str
    record: Dict[str, Any]

    @classmethod
    def _take(cls, pointer: int) -> "Report":
        try:
            removed, kept, left = (library().immure_report_count(pointer, f) for f in range(3))
            return cls(removed, kept, left, string_of("immure_report_print", pointer, 0),
                       json.loads(string_of("immure_report_print", pointer, 1)))
        finally:
            library().immure_report_free(pointer)


def gc(*, dry_run: bool = False, force: bool = False, ended: bool = False,
       grace: Optional[float] = None, env: Optional[Mapping[str, str]] = None) -> Report:
    """Finds and removes what sessions left whose supervisor is dead; ended: and the records
    of those that ended in order."""
    o = _native.immure_gc_options(flags=(1 if dry_run else 0) | (2 if force else 0) | (4 if ended else 0),
                                  grace_ms=_native.milliseconds(grace),
                                  env=_native.environment(env))
    return Report._take(made("immure_gc", ctypes.byref(o)))


def journal(session: str, env: Optional[Mapping[str, str]] = None) -> Dict[str, Any]:
    """What was about to be done in a session, and what came of it."""
    return json.loads(string_of("immure_journal_print", encode(session),
                                _native.environment(env), 1))


def acknowledge(ticket: str, env: Optional[Mapping[str, str]] = None) -> None:
    """The receiver of a ticket has it: the session no longer ends with its maker."""
    call("immure_acknowledge", encode(ticket), _native.environment(env))


def reclaim(ticket: str, *, force: bool = False, stop: Optional[float] = None,
            env: Optional[Mapping[str, str]] = None) -> Report:
    """Uses a ticket: its session is ended and cleaned up."""
    o = _native.immure_reclaim_options(flags=2 if force else 0,
                                       stop_ms=_native.milliseconds(stop),
                                       env=_native.environment(env))
    return Report._take(made("immure_reclaim", encode(ticket), ctypes.byref(o)))
