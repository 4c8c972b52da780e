# SPDX-License-Identifier: Apache-2.0
"""Run a command sealed in: libimmure for Python.

    import immure

    with immure.Policy.load(profile="strict") as policy:
        done = immure.run(["make", "test"], policy, capture_output=True, text=True)
        print(done.returncode, done.stdout)

        with immure.Plan.create(policy, ["true"]) as plan, immure.Session.create(plan) as session:
            print(session.run(["uname"], capture_output=True, text=True).stdout)

immure.aio has runs and sessions for asyncio.
"""
from __future__ import annotations

from ._channel import Exit, Limits, Output
from ._native import library as _library
from ._streams import DEVNULL, EVENTS, INHERIT, PIPE, STDOUT
from .errors import (Denied, Error, ErrorCode, GapError, InputOutputError, InvalidArgument, LaunchError,
                     NoImage, NoSession, NotExecutable, NotFound, OutOfMemory, Pending, PolicyError,
                     ProofError, SnapshotError,
                     StateError, TimeoutExpired, TrustError, UnsupportedError)
from .images import Image, Images
from . import snapshots, workspace
from .ledger import Report, acknowledge, gc, journal, reclaim
from .policy import (Facts, Flag, Gap, Imported, ImportNote, NoteKind, Plan, Policy, Setting,
                     Wrapped, check, enter_scope, flags, import_policy, profiles, reference, schema, trust, wrap)
from .launch import Launch
from .pool import Pool, PoolMode
from .running import (CommandFailed, Completed, Outcome, Programs, Proof, Result, Run, Verdict, run)
from .session import FileInfo, FileType, Lifetime, Process, Session, Target

__version__ = "0.1.0"


def api_version() -> "tuple[int, int, int]":
    """Of the library that is loaded."""
    n = _library().immure_api_version()
    return n >> 16, n >> 8 & 0xff, n & 0xff


__all__ = [
    "CommandFailed", "Completed", "DEVNULL", "Denied", "EVENTS", "Error", "ErrorCode", "Exit", "Facts", "FileInfo",
    "FileType", "Flag",
    "Gap", "GapError", "INHERIT", "Image", "Images", "ImportNote", "Imported", "InputOutputError", "InvalidArgument",
    "Launch", "LaunchError", "Lifetime", "Limits", "NoImage", "NoSession", "NotExecutable", "NotFound", "NoteKind",
    "OutOfMemory", "Outcome", "Output", "PIPE", "Pending", "Plan", "Policy", "PolicyError", "Pool", "PoolMode", "Process",
    "Programs", "Proof", "ProofError", "Report", "Result", "Run", "STDOUT", "Session", "Setting", "SnapshotError",
    "StateError", "Target", "TimeoutExpired", "TrustError", "UnsupportedError", "Verdict",
    "Wrapped", "acknowledge", "api_version", "check", "enter_scope", "flags", "gc", "import_policy", "journal",
    "profiles", "reclaim", "reference", "run", "schema", "snapshots", "trust", "workspace", "wrap"]
