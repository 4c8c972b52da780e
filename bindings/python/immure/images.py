# SPDX-License-Identifier: Apache-2.0
"""Images: imported, listed, verified, removed."""
from __future__ import annotations

import ctypes
import json
import os
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Mapping, Optional, Union

from . import _native
from ._native import encode, string_of


@dataclass(frozen=True)
class Image:
    """One of the store."""

    digest: str
    names: List[str]
    platform: str
    layers: int
    bytes: int


@dataclass(frozen=True)
class Images:
    """The caller's store of images. worker: the path of immure-image; None: the installed one."""

    env: Optional[Mapping[str, str]] = None
    worker: Optional[str] = None
    _json: int = field(default=1, init=False, repr=False)

    def _options(self, **more: Any) -> Any:
        return _native.immure_image_options(flags=self._json, env=_native.environment(self.env),
                                            worker=encode(self.worker) if self.worker else None, **more)

    def import_(self, path: Union[str, "os.PathLike[str]"], *, name: Optional[str] = None,
                platform: Optional[str] = None, which: Optional[str] = None, max_bytes: int = 0) -> Dict[str, Any]:
        """An image from an OCI layout, an archive of one, or what docker save writes."""
        o = self._options(name=encode(name) if name else None, platform=encode(platform) if platform else None,
                          which=encode(which) if which else None, max_bytes=max_bytes)
        return json.loads(string_of("immure_image_import", encode(os.fspath(path)), ctypes.byref(o)))

    def pull(self, ref: str, *, name: Optional[str] = None, platform: Optional[str] = None, max_bytes: int = 0,
             hosts: Iterable[str] = (), auth_file: Optional[str] = None, plain_http: bool = False,
             puller: Optional[str] = None, supervisor: Optional[str] = None,
             egress: Optional[str] = None) -> Dict[str, Any]:
        """An image from a registry, by skopeo sealed in; hosts: reachable beside it."""
        given = {"name": name, "platform": platform, "auth_file": auth_file, "puller": puller,
                 "supervisor": supervisor, "egress": egress}
        o = self._options(max_bytes=max_bytes, hosts=_native.words(hosts) if hosts else None,
                          **{k: encode(v) for k, v in given.items() if v})
        o.flags |= plain_http << 1
        return json.loads(string_of("immure_image_pull", encode(ref), ctypes.byref(o)))

    def list(self) -> List[Image]:
        return [Image(**i) for i in json.loads(string_of("immure_image_list", ctypes.byref(self._options())))]

    def inspect(self, ref: str) -> Dict[str, Any]:
        """What the image says of itself."""
        return self._of("immure_image_inspect", ref)

    def verify(self, ref: str) -> Dict[str, Any]:
        """Reads all of it again; TrustError when it is not what was imported."""
        return self._of("immure_image_verify", ref)

    def remove(self, ref: str) -> Dict[str, Any]:
        return self._of("immure_image_remove", ref)

    def gc(self) -> Dict[str, Any]:
        """Removes what imports left that were killed, and layers that no image needs."""
        return json.loads(string_of("immure_image_gc", ctypes.byref(self._options())))

    def _of(self, function: str, ref: str) -> Dict[str, Any]:
        return json.loads(string_of(function, encode(ref), ctypes.byref(self._options())))
