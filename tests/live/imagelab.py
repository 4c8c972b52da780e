# SPDX-License-Identifier: Apache-2.0
"""Images for tests, made when they are needed: OCI layouts, their archives and what docker
save writes, of layers that are lists of entries, so that hostile ones are as easy as others."""
import gzip
import hashlib
import io
import json
import pathlib
import shutil
import subprocess
import tarfile

PLATFORM = {"x86_64": "amd64", "aarch64": "arm64"}[__import__("os").uname().machine]
LAYER = "application/vnd.oci.image.layer.v1.tar"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def entry(name, data=None, **more):
    """A tar member: a file with data, or whatever type= says; more: attributes of TarInfo."""
    info = tarfile.TarInfo(name)
    info.mode = 0o755 if data is None else 0o644
    info.type = tarfile.REGTYPE if data is not None else tarfile.DIRTYPE
    info.mtime = 1700000000
    if isinstance(data, str):
        data = data.encode()
    info.size = len(data or b"")
    for key, value in more.items():
        setattr(info, key, value)
    return info, data


def link(name, to, hard=False):
    return entry(name, type=tarfile.LNKTYPE if hard else tarfile.SYMTYPE, linkname=to, mode=0o777)


def tar(entries, form=tarfile.PAX_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as t:
        for info, data in entries:
            t.addfile(info, io.BytesIO(data) if data is not None else None)
    return out.getvalue()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def busybox():
    """Entries of a root with a static busybox and a few of its names."""
    program = pathlib.Path(shutil.which("busybox") or "/bin/busybox").read_bytes()
    names = ("sh ls cat echo id env mkdir touch rm ln stat sleep true false mount readlink find dd "
             "head wc sha256sum chmod chown pwd printf test grep sed sort uname tr umount").split()
    return ([entry("bin"), entry("bin/busybox", program, mode=0o755), entry("etc"), entry("tmp", mode=0o1777),
             entry("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nimage:x:0:0:of the image:/root:/bin/sh\n"
                   "worker:x:1234:1234::/home/worker:/bin/sh\n"),
             entry("etc/group", "root:x:0:\nworker:x:1234:\n"), entry("etc/of-the-image", "from below\n"),
             entry("usr"), entry("usr/share"), entry("usr/share/doc.txt", "documents\n"), entry("root", mode=0o700)]
            + [link(f"bin/{n}", "busybox") for n in names])


class Layout:
    """An OCI layout under `path`; add() an image, then save() the index."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        (self.path / "blobs/sha256").mkdir(parents=True)
        (self.path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        self.manifests = []

    def blob(self, data):
        name = digest(data)
        (self.path / "blobs/sha256" / name[7:]).write_bytes(data)
        return name

    def add(self, layers, name=None, config=None, compress="gzip", arch=PLATFORM, diff_ids=None, override=None):
        """layers: lists of entries, or bytes of a tar. Returns the manifest's digest."""
        tars = [layer if isinstance(layer, bytes) else tar(layer) for layer in layers]
        blobs = [{"gzip": lambda t: gzip.compress(t, 1, mtime=0), "none": lambda t: t,
                  "zstd": lambda t: subprocess.run(["zstd", "-q", "-c"], input=t, stdout=subprocess.PIPE,
                                                   check=True).stdout}[compress](t) for t in tars]
        kind = LAYER + {"gzip": "+gzip", "none": "", "zstd": "+zstd"}[compress]
        conf = json.dumps({"architecture": arch, "os": "linux", "config": config or {},
                           "rootfs": {"type": "layers", "diff_ids": diff_ids or [digest(t) for t in tars]}}).encode()
        self.descriptors = [{"mediaType": kind, "digest": self.blob(b), "size": len(b)} for b in blobs]
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST,
                    "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                               "digest": self.blob(conf), "size": len(conf)}, "layers": override or self.descriptors}
        text = json.dumps(manifest).encode()
        one = {"mediaType": MANIFEST, "digest": self.blob(text), "size": len(text),
               "platform": {"architecture": arch, "os": "linux"}}
        if name:
            one["annotations"] = {"org.opencontainers.image.ref.name": name}
        self.manifests.append(one)
        self.save()
        return one["digest"]

    def save(self):
        (self.path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": self.manifests}))

    def archive(self, path, mode="w"):
        with tarfile.open(path, mode) as t:
            t.add(self.path, arcname=".")
        return path


def docker_save(path, layers, tag, config=None, break_layer=False):
    """What docker save writes: names of members, the config's digest, uncompressed layers."""
    tars = [tar(layer) for layer in layers]
    conf = json.dumps({"architecture": PLATFORM, "os": "linux", "config": config or {},
                       "rootfs": {"type": "layers", "diff_ids": [digest(t) for t in tars]}}).encode()
    name = digest(conf)[7:] + ".json"
    members = [(f"{i}/layer.tar", t[:-1024] + b"\1" + t[-1023:] if break_layer else t) for i, t in enumerate(tars)]
    text = json.dumps([{"Config": name, "RepoTags": [tag], "Layers": [m for m, _ in members]}])
    with tarfile.open(path, "w") as t:
        for member, data in members + [(name, conf), ("manifest.json", text.encode())]:
            info, data = entry(member, data)
            t.addfile(info, io.BytesIO(data))
    return digest(conf)
