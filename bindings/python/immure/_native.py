# SPDX-License-Identifier: Apache-2.0
"""libimmure as it is: structs, prototypes, calls that raise. The names are those
of <immure/immure.h>; a test compares the two."""
from __future__ import annotations

import ctypes
import ctypes.util
import functools
import os
import weakref
from ctypes import (POINTER, Structure, c_char, c_char_p, c_int32, c_int64, c_uint16, c_uint32,
                    c_uint64, c_void_p)
from typing import Any, Iterable, Mapping, Optional, TypeVar, Union

from . import errors

PathLike = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
Words = POINTER(c_char_p)


class Sized(Structure):
    """A struct that begins with its size, which is set."""

    def __init__(self, **values: Any) -> None:
        super().__init__(ctypes.sizeof(type(self)), **values)


class immure_setting(Structure):
    _fields_ = [("key", c_char_p), ("value", c_char_p), ("source", c_char_p)]


class immure_policy_options(Sized):
    _fields_ = [("size", c_uint64), ("profile", c_char_p), ("file", c_char_p),
                ("workspace", c_char_p), ("env", Words), ("settings", POINTER(immure_setting)),
                ("settings_n", c_uint64), ("flags", c_uint32), ("reserved", c_uint32)]


class immure_flag(Sized):
    _fields_ = [("size", c_uint64), ("flag", c_char_p), ("key", c_char_p), ("argument", c_char_p),
                ("help", c_char_p), ("choices", c_char_p)]


class immure_import_note(Sized):
    _fields_ = [("size", c_uint64), ("what", c_char_p), ("why", c_char_p), ("line", c_uint64),
                ("kind", c_int32), ("reserved", c_int32)]


class immure_plan_options(Sized):
    _fields_ = [("size", c_uint64), ("argv", Words), ("env", Words), ("cwd", c_char_p),
                ("facts", c_uint32), ("flags", c_uint32)]


class immure_gap_info(Sized):
    _fields_ = [("size", c_uint64), ("key", c_char_p), ("dimension", c_char_p),
                ("what", c_char_p), ("remedy", c_char_p), ("approved", c_int32),
                ("reserved", c_int32)]


class immure_wrap_options(Sized):
    _fields_ = [("size", c_uint64), ("argv", Words), ("env", Words), ("workspace", c_char_p),
                ("base", c_char_p), ("cwd", c_char_p), ("program", c_char_p), ("flags", c_uint32),
                ("reserved", c_uint32), ("session", c_char_p), ("where", Words)]


class immure_run_options(Sized):
    _fields_ = [("size", c_uint64), ("stdin_fd", c_int32), ("stdout_fd", c_int32),
                ("stderr_fd", c_int32), ("flags", c_uint32), ("supervisor", c_char_p),
                ("attacker", c_char_p), ("state_dir", c_char_p), ("env", Words),
                ("control_fd", c_int32), ("notes_fd", c_int32), ("egress", c_char_p),
                ("approval", c_char_p)]


class immure_session_options(Sized):
    _fields_ = [("size", c_uint64), ("name", c_char_p), ("labels", Words), ("lifetime", c_uint32),
                ("flags", c_uint32), ("life_ms", c_uint64), ("idle_ms", c_uint64),
                ("supervisor", c_char_p), ("runtime_dir", c_char_p), ("env", Words)]


class immure_exec_options(Sized):
    _fields_ = [("size", c_uint64), ("argv", Words), ("env", Words), ("cwd", c_char_p),
                ("stdin_fd", c_int32), ("stdout_fd", c_int32), ("stderr_fd", c_int32),
                ("flags", c_uint32), ("rows", c_uint16), ("cols", c_uint16), ("capture", c_uint32),
                ("capture_max", c_uint64), ("timeout_ms", c_uint64), ("grace_ms", c_uint64),
                ("key", c_char_p), ("input", c_void_p), ("input_len", c_uint64),
                ("limit_cpu_ms", c_uint64), ("limit_open_files", c_uint64),
                ("limit_file_size", c_uint64), ("limit_address_space", c_uint64),
                ("approval", c_char_p)]


class immure_exit(Sized):
    _fields_ = [("size", c_uint64), ("code", c_int32), ("signo", c_int32), ("timed_out", c_int32),
                ("over_memory", c_int32), ("failed", c_int32), ("errnum", c_int32),
                ("wall_us", c_uint64), ("cpu_user_us", c_uint64), ("cpu_system_us", c_uint64),
                ("peak_memory", c_uint64), ("stdout_bytes", c_uint64), ("stderr_bytes", c_uint64),
                ("output_cut", c_uint32), ("reserved", c_uint32)]


class immure_event(Sized):
    _fields_ = [("size", c_uint64), ("type", c_uint32), ("stream", c_uint32),
                ("process", c_void_p), ("cursor", c_uint64), ("bytes", c_uint64),
                ("lost", c_uint64), ("data", c_void_p), ("sha256", c_char * 65),
                ("reserved", c_char * 7)]


class immure_file_info(Sized):
    _fields_ = [("size", c_uint64), ("type", c_uint32), ("mode", c_uint32), ("bytes", c_uint64),
                ("modified_ms", c_int64)]


class immure_pool_options(Sized):
    _fields_ = [("size", c_uint64), ("name", c_char_p), ("lifetime", c_uint32),
                ("pool_size", c_uint32), ("pool_max", c_uint32), ("mode", c_uint32),
                ("idle_ms", c_uint64), ("check_ms", c_uint64), ("supervisor", c_char_p),
                ("runtime_dir", c_char_p), ("env", Words), ("policy", c_void_p),
                ("reuse", c_uint32), ("reserved", c_uint32), ("snapshot", c_char_p), ("resume", c_void_p)]


class immure_acquire_options(Sized):
    _fields_ = [("size", c_uint64), ("plan", c_void_p), ("workspace", c_char_p),
                ("owner", c_char_p), ("wait_ms", c_uint64), ("policy", c_void_p),
                ("settings", POINTER(immure_setting)), ("settings_n", c_uint64), ("env", Words),
                ("labels", Words)]


class immure_gc_options(Sized):
    _fields_ = [("size", c_uint64), ("flags", c_uint32), ("grace_ms", c_uint32), ("env", Words)]


class immure_workspace_options(Sized):
    _fields_ = [("size", c_uint64), ("flags", c_uint32), ("reserved", c_uint32), ("paths", Words),
                ("env", Words)]


class immure_reclaim_options(Sized):
    _fields_ = [("size", c_uint64), ("flags", c_uint32), ("stop_ms", c_uint32), ("env", Words)]


class immure_image_options(Sized):
    _fields_ = [("size", c_uint64), ("flags", c_uint32), ("reserved", c_uint32), ("env", Words),
                ("worker", c_char_p), ("name", c_char_p), ("platform", c_char_p), ("which", c_char_p),
                ("max_bytes", c_uint64), ("hosts", Words), ("auth_file", c_char_p),
                ("puller", c_char_p), ("supervisor", c_char_p), ("egress", c_char_p)]


class immure_snapshot_options(Sized):
    _fields_ = [("size", c_uint64), ("name", c_char_p), ("labels", Words), ("env", Words)]


class immure_resume_options(Sized):
    _fields_ = [("size", c_uint64), ("policy", c_void_p), ("settings", POINTER(immure_setting)),
                ("settings_n", c_uint64), ("session", POINTER(immure_session_options))]


STRUCTS = [immure_setting, immure_policy_options, immure_flag, immure_import_note,
           immure_plan_options, immure_gap_info, immure_wrap_options, immure_run_options,
           immure_session_options, immure_exec_options, immure_exit, immure_event,
           immure_file_info, immure_pool_options, immure_acquire_options,
           immure_gc_options, immure_reclaim_options, immure_image_options,
           immure_workspace_options, immure_snapshot_options, immure_resume_options]

# One letter a type: v nothing, i int32, u uint32, U uint64, s string, p pointer, w words,
# h uint16. The first is what is returned.
PROTOTYPES = {
    "immure_error_free": "vp", "immure_error_code": "ip", "immure_error_errno": "ip",
    "immure_error_stage": "sp", "immure_error_subject": "sp", "immure_error_text": "sp",
    "immure_error_hint": "sp", "immure_string_free": "vp", "immure_api_version": "u",
    "immure_policy_load": "ippp", "immure_policy_check": "isp", "immure_policy_parse": "ipUspp",
    "immure_policy_free": "vp", "immure_policy_version": "sp", "immure_policy_show": "ipipp",
    "immure_policy_schema": "ipp", "immure_policy_notices": "ippp", "immure_policy_reference": "ispp", "immure_policy_flag": "iup",
    "immure_policy_profiles": "ipp", "immure_policy_trust": "iswpp",
    "immure_policy_import": "ispUspp", "immure_imported_free": "vp",
    "immure_imported_policy": "sp", "immure_imported_note": "ipUp",
    "immure_facts_probe": "iuwpp", "immure_facts_free": "vp", "immure_facts_report": "ipipp", "immure_scope_enter": "ipwp",
    "immure_plan_create": "ipppp", "immure_plan_replace": "ipppppp", "immure_plan_free": "vp",
    "immure_plan_hash": "sp", "immure_plan_gap_count": "Up", "immure_plan_gap": "ipUp",
    "immure_plan_check": "ipp", "immure_plan_print": "ipipp", "immure_plan_render": "ippp", "immure_plan_summary": "ippp", "immure_plan_seal": "ipppp",
    "immure_plan_open": "ipUpp",
    "immure_wrap": "ipppp", "immure_wrapped_free": "vp", "immure_wrapped_argv": "wp",
    "immure_wrapped_env": "wp", "immure_wrapped_policy_version": "sp",
    "immure_session_start": "ipppp", "immure_session_fd": "ip", "immure_session_step": "ippp",
    "immure_session_signal": "ipip", "immure_session_free": "vp", "immure_run": "ipppp",
    "immure_supervise": "ipppp", "immure_become_init": "iii",
    "immure_session_create": "ipppp", "immure_session_create_many": "ippupp", "immure_session_open": "isppp", "immure_session_connect": "isppp", "immure_session_id": "sp",
    "immure_session_list": "ippp", "immure_session_exec": "ipppp",
    "immure_session_attach": "ipUpp", "immure_session_next": "ippp",
    "immure_process_wait": "ipipp", "immure_process_id": "Up", "immure_process_pid": "ip",
    "immure_process_has_terminal": "ip", "immure_process_signal": "ipiup",
    "immure_process_write": "ipsUip", "immure_process_resize": "iphhp", "immure_process_free": "vp",
    "immure_session_kill": "ipip", "immure_session_stop": "ipUup", "immure_session_remove": "ispp",
    "immure_session_freeze": "ipp", "immure_session_thaw": "ipp", "immure_session_detach": "ipp",
    "immure_session_ticket": "ipUpp",
    "immure_session_request": "ipsspp", "immure_session_open_file": "ipsiupp",
    "immure_session_stat_file": "ipspp", "immure_session_list_files": "ipspp",
    "immure_session_remove_file": "ipsp", "immure_session_rename_file": "ipssp",
    "immure_session_make_directory": "ipsup",
    "immure_session_serve_fds": "iiissi", "immure_session_make_fds": "iiiss", "immure_session_proof": "ippp",
    "immure_pool_open": "ipppp", "immure_pool_acquire": "ipppp", "immure_pool_release": "vpp",
    "immure_pool_warm": "ipup", "immure_pool_stats": "ippp", "immure_pool_list": "ippp",
    "immure_pool_stop": "ipip", "immure_pool_free": "vp", "immure_pool_hold_fds": "iiisi",
    "immure_pool_exec": "ippppp", "immure_pool_fd": "ip", "immure_pool_settle": "ipp",
    "immure_result_free": "vp", "immure_result_outcome": "ip", "immure_result_code": "ip",
    "immure_result_verdict": "ip", "immure_result_exit_status": "ip",
    "immure_result_print": "ipipp", "immure_result_notices": "sp", "immure_result_proof": "ipipp",
    "immure_result_proof_counts": "vppp",
    "immure_gc": "ippp", "immure_report_count": "Upi", "immure_report_print": "ipipp",
    "immure_report_free": "vp", "immure_journal_print": "iswipp", "immure_reclaim": "isppp",
    "immure_acknowledge": "iswp",
    "immure_image_import": "isppp", "immure_image_pull": "isppp", "immure_image_list": "ippp", "immure_image_inspect": "isppp",
    "immure_image_verify": "isppp", "immure_image_remove": "isppp", "immure_image_gc": "ippp",
    "immure_workspace_list": "iwpp", "immure_workspace_diff": "iswipp",
    "immure_workspace_open_file": "iswsipp", "immure_workspace_apply": "isppp",
    "immure_workspace_discard": "iswp",
    "immure_snapshot_create": "ipppp", "immure_snapshot_list": "iwpp", "immure_snapshot_inspect": "iswpp",
    "immure_snapshot_remove": "iswp", "immure_session_resume": "isppp", "immure_session_fork": "ipuppp",
}
_TYPES = {"v": None, "i": c_int32, "u": c_uint32, "U": c_uint64, "s": c_char_p, "p": c_void_p,
          "w": Words, "h": c_uint16}


def candidates() -> "list[str]":
    """Where the library may be, best first."""
    named = os.environ.get("IMMURE_LIBRARY")
    if named:
        return [named]
    here = os.path.dirname(os.path.abspath(__file__))
    found = [os.path.join(here, n) for n in ("libimmure.so.1", "libimmure.so")]
    return [p for p in found if os.path.exists(p)] + ["libimmure.so.1"] + [
        p + "/libimmure.so.1" for p in ("/usr/local/lib", "/usr/local/lib64")]


@functools.lru_cache(maxsize=None)
def library() -> ctypes.CDLL:
    said = []
    for path in candidates():
        try:
            loaded = ctypes.CDLL(path)
            break
        except OSError as e:
            said.append(str(e))
    else:
        raise ImportError("libimmure is not found: %s; set IMMURE_LIBRARY to its path" % said[0])
    for name, letters in PROTOTYPES.items():
        try:
            function = getattr(loaded, name)
        except AttributeError:  # an older library; whoever calls it will be told
            continue
        function.restype = _TYPES[letters[0]]
        function.argtypes = [_TYPES[c] for c in letters[1:]]
    return loaded


# ---- errors ----


def _text(value: Optional[bytes]) -> str:
    return (value or b"").decode("utf-8", "surrogateescape")


def error_of(code: int, pointer: Optional[int]) -> errors.Error:
    """The error object as an exception; it is freed."""
    lib = library()
    if not pointer:
        return errors.make(-code, "error %d of libimmure" % -code)
    try:
        return errors.make(-code, _text(lib.immure_error_text(pointer)),
                           errno=lib.immure_error_errno(pointer),
                           stage=_text(lib.immure_error_stage(pointer)),
                           subject=_text(lib.immure_error_subject(pointer)),
                           hint=_text(lib.immure_error_hint(pointer)))
    finally:
        lib.immure_error_free(pointer)


def call(name: str, *args: Any) -> int:
    """A function whose last parameter is the error."""
    err = c_void_p()
    r = getattr(library(), name)(*args, ctypes.byref(err))
    if r < 0:
        raise error_of(r, err.value)
    return r


def made(name: str, *args: Any) -> int:
    """The pointer that it returns before the error."""
    ret = c_void_p()
    call(name, *args, ctypes.byref(ret))
    return ret.value or 0


def string_of(name: str, *args: Any) -> str:
    """The string that it returns before the error."""
    pointer = made(name, *args)
    try:
        return _text(ctypes.string_at(pointer))
    finally:
        library().immure_string_free(pointer)


# ---- arguments ----


def encode(value: "Optional[PathLike]") -> Optional[bytes]:
    if value is None:
        return None
    data = os.fsencode(value)
    if b"\0" in data:
        raise ValueError("embedded null byte")
    return data


def words(values: Optional[Iterable[PathLike]]) -> Any:
    """NULL-terminated, or NULL."""
    if values is None:
        return None
    if isinstance(values, (str, bytes)):
        raise TypeError("a list of strings is expected, not one string")
    data = [encode(v) for v in values]
    return (c_char_p * (len(data) + 1))(*data, None)


def environment(env: "Optional[Mapping[str, str]]") -> Any:
    """NAME=value block; None: this process's."""
    source: Any = os.environb if env is None else env
    return words([os.fsencode(k) + b"=" + os.fsencode(v) for k, v in source.items()])


def milliseconds(seconds: Optional[float]) -> int:
    """0 for None; never 0 for less than a millisecond."""
    if seconds is None:
        return 0
    if seconds <= 0:
        raise ValueError("a time must be more than 0")
    return max(1, round(seconds * 1000))


Self = TypeVar("Self", bound="Handle")


class Handle:
    """An object of the library: freed by close(), at the end of a with statement, or
    when nobody has it any more."""

    _free = ""

    def __init__(self, pointer: int) -> None:
        self._finalizer = weakref.finalize(self, getattr(library(), self._free), pointer)
        self._raw: Optional[int] = pointer

    @property
    def _pointer(self) -> int:
        if self._raw is None:
            raise errors.StateError(errors.ErrorCode.STATE, "this %s is closed"
                                    % type(self).__name__.lower(), stage="python")
        return self._raw

    @property
    def closed(self) -> bool:
        return self._raw is None

    def close(self) -> None:
        self._raw = None
        self._finalizer()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
