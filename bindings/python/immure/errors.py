# SPDX-License-Identifier: Apache-2.0
"""What can go wrong: one exception a code of the library."""
from __future__ import annotations

import enum
from typing import Any, Dict, Type


class ErrorCode(enum.IntEnum):
    NOMEM = 1
    INVALID = 2
    POLICY = 3
    TRUST = 4
    GAP = 5
    LAUNCH = 6
    IO = 7
    STATE = 8
    UNSUPPORTED = 9
    NOT_EXECUTABLE = 10
    NOT_FOUND = 11
    PROOF = 12
    NO_SESSION = 13
    DENIED = 14
    PENDING = 15
    NO_IMAGE = 16
    SNAPSHOT = 17


class Error(Exception):
    """A refusal. Its text is one line; hint says what to do about it, or is ""."""

    def __init__(self, code: int, text: str, *, errno: int = 0, stage: str = "",
                 subject: str = "", hint: str = "") -> None:
        super().__init__(text)
        self.code = ErrorCode(code) if code in ErrorCode.__members__.values() else code
        self.errno = errno
        self.stage = stage
        self.subject = subject
        self.text = text
        self.hint = hint

    def __str__(self) -> str:
        return "%s; %s" % (self.text, self.hint) if self.hint else self.text

    def __reduce__(self) -> "tuple[Any, ...]":
        return (_again, (int(self.code), self.text, self.errno, self.stage, self.subject, self.hint))


class OutOfMemory(Error, MemoryError):
    """NOMEM."""


class InvalidArgument(Error, ValueError):
    """An argument of the call is wrong."""


class PolicyError(Error):
    """A policy is malformed or contradicts itself."""


class TrustError(Error):
    """A file that must not be obeyed or believed."""


class GapError(Error):
    """Something asked for cannot be enforced here."""


class LaunchError(Error):
    """A step of starting failed; nothing ran."""


class InputOutputError(Error):
    """A file or socket of ours failed."""


class StateError(Error):
    """Not legal in this state, or not in this process."""


class UnsupportedError(Error):
    """This build or host has no such thing."""


class NotExecutable(Error):
    """The command cannot be executed (126)."""


class NotFound(Error):
    """The command was not found (127)."""


class ProofError(Error):
    """A point of the proof fell short."""


class NoSession(Error, LookupError):
    """No session of that name or id, or no such ticket."""


class NoImage(Error, LookupError):
    """No such image, or nothing there to import."""


class SnapshotError(Error, LookupError):
    """No such snapshot, or it is damaged, or does not fit."""


class Denied(Error):
    """The mediator did not allow the command; nothing ran."""


class Pending(Error):
    """The command waits for an approval; nothing ran. hint has the token."""


class TimeoutExpired(TimeoutError):
    """The time given to a call of this binding was up; what ran was ended."""


CLASSES: Dict[int, Type[Error]] = {
    ErrorCode.NOMEM: OutOfMemory, ErrorCode.INVALID: InvalidArgument,
    ErrorCode.POLICY: PolicyError, ErrorCode.TRUST: TrustError, ErrorCode.GAP: GapError,
    ErrorCode.LAUNCH: LaunchError, ErrorCode.IO: InputOutputError, ErrorCode.STATE: StateError,
    ErrorCode.UNSUPPORTED: UnsupportedError, ErrorCode.NOT_EXECUTABLE: NotExecutable,
    ErrorCode.NOT_FOUND: NotFound, ErrorCode.PROOF: ProofError, ErrorCode.NO_SESSION: NoSession,
    ErrorCode.DENIED: Denied, ErrorCode.PENDING: Pending, ErrorCode.NO_IMAGE: NoImage,
    ErrorCode.SNAPSHOT: SnapshotError,
}


def make(code: int, text: str, **parts: Any) -> Error:
    return CLASSES.get(code, Error)(code, text, **parts)


def _again(code: int, text: str, errno: int, stage: str, subject: str, hint: str) -> Error:
    return make(code, text, errno=errno, stage=stage, subject=subject, hint=hint)
