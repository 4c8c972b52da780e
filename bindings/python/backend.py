# SPDX-License-Identifier: Apache-2.0
"""A build backend (PEP 517, PEP 660) for a package of plain files: what pip asks
for, and nothing that would have to be downloaded first."""
import base64
import hashlib
import io
import pathlib
import re
import tarfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
EPOCH = (1980, 1, 1, 0, 0, 0)


def _field(name):
    text = (HERE / "pyproject.toml").read_text()
    return re.search(r'^%s = "([^"]*)"' % name, text, re.M).group(1)


def _metadata():
    return "\n".join([
        "Metadata-Version: 2.1", "Name: " + _field("name"), "Version: " + _field("version"),
        "Summary: " + _field("description"), "License: Apache-2.0",
        "Requires-Python: " + _field("requires-python"),
        "Description-Content-Type: text/markdown", "", (HERE / "README.md").read_text()])


def _sources():
    return sorted(p for p in (HERE / "immure").iterdir() if p.suffix == ".py" or p.name == "py.typed")


def _wheel(directory, files):
    """files: (name in the wheel, bytes)."""
    name = "%s-%s" % (_field("name"), _field("version"))
    info = name + ".dist-info/"
    files = files + [
        (info + "METADATA", _metadata().encode()),
        (info + "WHEEL", b"Wheel-Version: 1.0\nGenerator: immure\nRoot-Is-Purelib: true\n"
                         b"Tag: py3-none-any\n"),
    ]
    record = []
    wheel = name + "-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(directory) / wheel, "w", zipfile.ZIP_DEFLATED) as z:
        for path, data in files:
            z.writestr(zipfile.ZipInfo(path, EPOCH), data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append("%s,sha256=%s,%d" % (path, digest, len(data)))
        record.append(info + "RECORD,,")
        z.writestr(zipfile.ZipInfo(info + "RECORD", EPOCH), "\n".join(record) + "\n")
    return wheel


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    return _wheel(wheel_directory, [("immure/" + p.name, p.read_bytes()) for p in _sources()])


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return _wheel(wheel_directory, [("immure.pth", (str(HERE) + "\n").encode())])


def build_sdist(sdist_directory, config_settings=None):
    name = "%s-%s" % (_field("name"), _field("version"))
    files = [HERE / n for n in ("pyproject.toml", "backend.py", "README.md")] + _sources()
    with tarfile.open(pathlib.Path(sdist_directory) / (name + ".tar.gz"), "w:gz") as tar:
        for data, path in [(_metadata().encode(), "PKG-INFO")] + [
                (p.read_bytes(), str(p.relative_to(HERE))) for p in files]:
            entry = tarfile.TarInfo(name + "/" + path)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return name + ".tar.gz"
