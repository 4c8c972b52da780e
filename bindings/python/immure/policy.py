# SPDX-License-Identifier: Apache-2.0
"""What a person asks for, what this host can do, and the plan that comes of it."""
from __future__ import annotations

import ctypes
import enum
import json
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Union

from . import _native
from ._native import PathLike, call, encode, library, made, string_of

Values = Union[str, int, bool, Sequence[str]]


@dataclass(frozen=True)
class Setting:
    """One override, as a command-line flag makes it."""

    key: str
    value: str = ""
    source: str = "python"


def settings_of(given: "Union[Mapping[str, Values], Iterable[Setting], None]") -> List[Setting]:
    """{"limits.memory": "1G", "files.read": ["/a", "/b"], "+environment.set": "A=1"}"""
    if given is None:
        return []
    if not isinstance(given, Mapping):
        return list(given)
    made_: List[Setting] = []
    for key, value in given.items():
        if isinstance(value, bool):
            made_.append(Setting(key, "true" if value else "false"))
        elif isinstance(value, (str, int)):
            made_.append(Setting(key, str(value)))
        else:
            made_ += [Setting(key, v) for v in value] or [Setting("-" + key.lstrip("+"))]
    return made_


def setting_array(given: "Union[Mapping[str, Values], Iterable[Setting], None]") -> Any:
    """As the library takes them."""
    items = settings_of(given)
    array = (_native.immure_setting * len(items))()
    for slot, s in zip(array, items):
        slot.key, slot.value, slot.source = encode(s.key), encode(s.value), encode(s.source)
    return array


class Policy(_native.Handle):
    _free = "immure_policy_free"

    @classmethod
    def load(cls, *, profile: Optional[str] = None, file: Optional[PathLike] = None,
             workspace: Optional[PathLike] = None, env: Optional[Mapping[str, str]] = None,
             settings: "Union[Mapping[str, Values], Iterable[Setting], None]" = None,
             discover: bool = True) -> "Policy":
        """Profile, then the user's or the workspace's file, then the settings. env: this
        process's environment unless given. discover=False: no file but the one given."""
        array = setting_array(settings)
        o = _native.immure_policy_options(
            profile=encode(profile), file=encode(file), workspace=encode(workspace),
            env=_native.environment(env), settings=array, settings_n=len(array),
            flags=0 if discover else 1)
        return cls(made("immure_policy_load", ctypes.byref(o)))

    @classmethod
    def parse(cls, text: "Union[str, bytes]", name: str = "policy") -> "Policy":
        data = text.encode() if isinstance(text, str) else text
        buffer = ctypes.create_string_buffer(data, len(data) + 1)
        return cls(made("immure_policy_parse", buffer, len(data), encode(name)))

    @property
    def version(self) -> str:
        return _native._text(library().immure_policy_version(self._pointer))

    def notices(self) -> "List[str]":
        """What it allows and surely does not mean; it is enforced as it says all the same."""
        return string_of("immure_policy_notices", self._pointer).splitlines()

    def show(self, *, json: bool = False) -> str:
        """The effective policy, with the source of every value."""
        return string_of("immure_policy_show", self._pointer, int(json))

    def as_dict(self) -> Dict[str, Any]:
        return json.loads(self.show(json=True))


def check(path: PathLike) -> None:
    """Raises unless this policy file is right in itself."""
    call("immure_policy_check", encode(path))


def schema() -> Dict[str, Any]:
    return json.loads(string_of("immure_policy_schema"))


def reference(format: str = "markdown") -> str:
    return string_of("immure_policy_reference", encode(format))


def profiles() -> List[str]:
    return string_of("immure_policy_profiles").split()


def trust(path: PathLike, env: Optional[Mapping[str, str]] = None) -> str:
    """Records that this content of a policy file may loosen; its SHA-256."""
    return string_of("immure_policy_trust", encode(path), _native.environment(env))


@dataclass(frozen=True)
class Flag:
    """The command-line flag of a policy key."""

    flag: str
    key: str
    argument: str
    help: str
    choices: Sequence[str]


def flags() -> List[Flag]:
    found: List[Flag] = []
    f = _native.immure_flag()
    while library().immure_policy_flag(len(found), ctypes.byref(f)) == 0:
        text = [_native._text(v) for v in (f.flag, f.key, f.argument, f.help, f.choices)]
        found.append(Flag(text[0], text[1], text[2], text[3],
                          tuple(text[4].split("|")) if text[4] else ()))
    return found


class NoteKind(enum.IntEnum):
    DROPPED = 1
    TIGHTENED = 2
    LOST = 3
    MOOT = 4


@dataclass(frozen=True)
class ImportNote:
    what: str
    why: str
    line: int
    kind: NoteKind


@dataclass(frozen=True)
class Imported:
    """Settings of another sandbox as a policy file, and what has no equivalent."""

    policy: str
    notes: Sequence[ImportNote]


def import_policy(format: str, text: "Union[str, bytes]", name: str = "settings") -> Imported:
    """format: "srt", "claude", "codex" or "firejail"."""
    data = text.encode() if isinstance(text, str) else text
    buffer = ctypes.create_string_buffer(data, len(data) + 1)
    pointer = made("immure_policy_import", encode(format), buffer, len(data), encode(name))
    notes: List[ImportNote] = []
    try:
        n = _native.immure_import_note()
        while library().immure_imported_note(pointer, len(notes), ctypes.byref(n)) == 0:
            notes.append(ImportNote(_native._text(n.what), _native._text(n.why), n.line,
                                    NoteKind(n.kind)))
        return Imported(_native._text(library().immure_imported_policy(pointer)), tuple(notes))
    finally:
        library().immure_imported_free(pointer)


# ---- facts ----


class Facts(_native.Handle):
    _free = "immure_facts_free"

    @classmethod
    def probe(cls, *, full: bool = False, env: Optional[Mapping[str, str]] = None) -> "Facts":
        """full: everything is tried in throw-away children, which are reaped."""
        return cls(made("immure_facts_probe", int(full), _native.environment(env)))

    def report(self, *, json: bool = False) -> str:
        return string_of("immure_facts_report", self._pointer, int(json))

    def as_dict(self) -> Dict[str, Any]:
        return json.loads(self.report(json=True))


def enter_scope(policy: Optional[Policy] = None, *, env: Optional[Mapping[str, str]] = None) -> bool:
    """Moves this process into a scope that its user's service manager delegates to it, when
    policy (None: any) limits memory, processes or cpus and none could be set where it is.
    For programs that are about to start sessions and are nobody else's. True: it was moved."""
    return call("immure_scope_enter", policy._pointer if policy else None, _native.environment(env)) == 1


# ---- plan ----


@dataclass(frozen=True)
class Gap:
    """What cannot be enforced here."""

    key: str
    dimension: str
    what: str
    remedy: str
    approved: bool


class Plan(_native.Handle):
    _free = "immure_plan_free"

    @classmethod
    def create(cls, policy: Policy, argv: Sequence[PathLike], *,
               env: Optional[Mapping[str, str]] = None, cwd: Optional[PathLike] = None,
               full: bool = False) -> "Plan":
        """env: the caller's environment (this process's unless given); the policy filters
        it. full: how hard to look at the host. Gaps do not fail this call; see check()."""
        o = _native.immure_plan_options(argv=_native.words(argv), env=_native.environment(env),
                                        cwd=encode(cwd), facts=int(full))
        return cls(made("immure_plan_create", policy._pointer, ctypes.byref(o)))

    @classmethod
    def open(cls, sealed: bytes) -> "Plan":
        buffer = ctypes.create_string_buffer(sealed, len(sealed))
        return cls(made("immure_plan_open", buffer, len(sealed)))

    def seal(self) -> bytes:
        data, length, err = ctypes.c_void_p(), ctypes.c_uint64(), ctypes.c_void_p()
        r = library().immure_plan_seal(self._pointer, ctypes.byref(data), ctypes.byref(length),
                                       ctypes.byref(err))
        if r < 0:
            raise _native.error_of(r, err.value)
        try:
            return ctypes.string_at(data.value or 0, length.value)
        finally:
            free = ctypes.CDLL(None).free
            free.argtypes, free.restype = [ctypes.c_void_p], None
            free(data)

    @property
    def hash(self) -> str:
        return _native._text(library().immure_plan_hash(self._pointer))

    @property
    def gaps(self) -> List[Gap]:
        found: List[Gap] = []
        g = _native.immure_gap_info()
        for i in range(library().immure_plan_gap_count(self._pointer)):
            if library().immure_plan_gap(self._pointer, i, ctypes.byref(g)) == 0:
                key, dimension, what, remedy = (
                    _native._text(v) for v in (g.key, g.dimension, g.what, g.remedy))
                found.append(Gap(key, dimension, what, remedy, bool(g.approved)))
        return found

    def check(self) -> None:
        """Raises GapError, which names the first open gap, unless it may be started."""
        call("immure_plan_check", self._pointer)

    def replace(self, policy: Policy, argv: Sequence[PathLike], *,
                env: Optional[Mapping[str, str]] = None,
                cwd: Optional[PathLike] = None) -> "Optional[Plan]":
        """After a launch of this plan was refused: one for another backend, if any.
        GapError: there is one that lacks what the policy does not approve to be missing."""
        o = _native.immure_plan_options(argv=_native.words(argv), env=_native.environment(env),
                                        cwd=encode(cwd))
        pointer = made("immure_plan_replace", policy._pointer, ctypes.byref(o), self._pointer, None)
        return type(self)(pointer) if pointer else None

    def print(self, *, json: bool = False) -> str:
        return string_of("immure_plan_print", self._pointer, int(json))

    def as_dict(self) -> Dict[str, Any]:
        return json.loads(self.print(json=True))

    def render(self) -> str:
        """What a backend of another platform starts from: a profile, or a launch contract."""
        return string_of("immure_plan_render", self._pointer)

    def summary(self) -> str:
        """All of it in one line."""
        return string_of("immure_plan_summary", self._pointer)


# ---- wrapping ----


@dataclass(frozen=True)
class Wrapped:
    argv: Sequence[str]
    env: Mapping[str, str]
    policy_version: str


def wrap(policy: Optional[Policy], argv: Optional[Sequence[PathLike]] = None, *,
         env: Optional[Mapping[str, str]] = None, workspace: Optional[PathLike] = None,
         base: Optional[PathLike] = None, cwd: Optional[PathLike] = None,
         program: Optional[PathLike] = None, quiet: bool = False, session: Optional[str] = None,
         where: Optional[Mapping[str, str]] = None) -> Wrapped:
    """Arguments that run a command under this policy, for what can only start an argv.
    With a session (name or id; policy None) the command runs in that one; where: what is
    needed of the environment to find it."""
    o = _native.immure_wrap_options(
        argv=_native.words(argv), env=None if env is None else _native.environment(env),
        workspace=encode(workspace), base=encode(base), cwd=encode(cwd), program=encode(program),
        flags=int(quiet), session=encode(session),
        where=None if where is None else _native.environment(where))
    pointer = made("immure_wrap", policy._pointer if policy else None, ctypes.byref(o))

    def listed(words_: Any) -> List[str]:
        found: List[str] = []
        while words_[len(found)] is not None:
            found.append(_native._text(words_[len(found)]))
        return found

    try:
        pairs = [p.split("=", 1) for p in listed(library().immure_wrapped_env(pointer))]
        return Wrapped(tuple(listed(library().immure_wrapped_argv(pointer))),
                       {k: v for k, v in pairs},
                       _native._text(library().immure_wrapped_policy_version(pointer)))
    finally:
        library().immure_wrapped_free(pointer)
