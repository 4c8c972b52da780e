# SPDX-License-Identifier: Apache-2.0
"""Images from a registry: skopeo fetches, sealed in, and is not believed."""
import base64
import json
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

import harness
import imagelab
from imagelab import entry
from registrylab import Registry

pytestmark = [pytest.mark.modes("root", "user"),
              pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed")]
INDEX = "application/vnd.oci.image.index.v1+json"


class Lab:
    def __init__(self, site):
        self.site = site
        self.layout = imagelab.Layout(site.path / "layout")
        self.cache = site.home / ".cache/immure/pulls"
        self.store = site.path / "state/immure/images"
        self.digest = self.layout.add([imagelab.busybox()], config={"Env": ["PATH=/bin"]})

    def pull(self, ref, *flags, **kw):
        return self.site.call(self.site.immure, "image", "pull", "--plain-http", *flags, ref, **kw)

    def index(self, *entries):
        text = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
        return self.layout.blob(text)

    def clean(self):
        assert not self.cache.exists() or os.listdir(self.cache) == []
        assert not (self.store / "tmp").exists() or os.listdir(self.store / "tmp") == []

    def images(self):
        return json.loads(self.site.call(self.site.immure, "image", "ls", "--json").out)

    def refused(self, ref, why, *flags):
        done = self.pull(ref, *flags)
        assert done.code == 125 and why in done.errors and done.errors.count("\n") == 1, done
        assert self.images() == []
        self.clean()
        return done


@pytest.fixture
def lab(site):
    return Lab(site)


def test_pulled_and_run(lab):
    with Registry(lab.layout, {"1": lab.digest}) as r:
        done = lab.pull(f"{r.host}/demo/tool:1")
        assert done.code == 0 and done.text.split()[0] == lab.digest, done
        (image,) = lab.images()
        assert image["names"] == [f"{r.host}/demo/tool:1"] and image["digest"] == lab.digest
        ran = lab.site.run("/bin/cat", "/etc/of-the-image", flags=["--image", f"{r.host}/demo/tool:1"])
        assert ran.out == b"from below\n", ran
        # Once more: nothing is unpacked again. By digest: under no other name.
        assert lab.pull(f"docker://{r.host}/demo/tool@{lab.digest}", "--json").code == 0
        assert len(lab.images()) == 1
        assert lab.pull(f"{r.host}/demo/tool:1", "--name", "mine:x").code == 0
    assert sorted(lab.images()[0]["names"]) == sorted([f"{r.host}/demo/tool:1", "mine:x"])
    lab.clean()


def test_of_an_index_the_one_for_this_machine(lab):
    other = lab.layout.add([[entry("other", "x")]], arch="s390x")
    index = lab.index(*(dict(m, annotations={}) for m in lab.layout.manifests))
    with Registry(lab.layout, {"multi": index}) as r:
        assert lab.pull(f"{r.host}/multi:multi").text.split()[0] == lab.digest
        assert lab.pull(f"{r.host}/multi@{index}", "--platform", "linux/s390x", "--name", "s:1").text.split()[0] == other
        done = lab.pull(f"{r.host}/multi:multi", "--platform", "linux/riscv64")
        assert done.code == 125 and "none for linux/riscv64" in done.errors
    lab.clean()


def test_only_the_registry_is_reached(lab):
    """A blob that is said to be elsewhere is not fetched there, until that is allowed."""
    with Registry(lab.layout, {"1": lab.digest}) as other, Registry(lab.layout, {"1": lab.digest}) as r:
        r.elsewhere = other.host
        done = lab.refused(f"{r.host}/demo/tool:1", "skopeo: ")
        assert other.host in done.errors and other.asked == []
        assert lab.pull(f"{r.host}/demo/tool:1", "--allow", other.host).code == 0
        assert other.asked


@pytest.mark.parametrize("which", ["manifest", "layer"])
def test_other_bytes(lab, which):
    layer = lab.layout.descriptors[0]["digest"]
    with Registry(lab.layout, {"1": lab.digest}) as r:
        broken = lab.digest if which == "manifest" else layer
        good = (lab.layout.path / "blobs/sha256" / broken[7:]).read_bytes()
        r.instead[broken] = good[:-1] + bytes([good[-1] ^ 1]) if which == "layer" else good + b" "
        lab.refused(f"{r.host}/demo/tool@{lab.digest}", "image: ")


LIAR = """#!/bin/sh
# Fetches well, and gives something else.
for last; do :; done
case $last in
dir:*) /usr/bin/skopeo "$@" || exit 1; to=${last#dir:}; %s;;
*) exec /usr/bin/skopeo "$@"
esac
"""


def by_liar(lab, lie, ref):
    """The same by the library, with a program that lies."""
    liar, script, build = lab.site.home / "liar", lab.site.home / "pull.py", lab.site.immure.parent
    liar.write_text(LIAR % lie)
    liar.chmod(0o755)
    script.write_text(f"""
import immure
from immure.images import Images
try:
    print(Images(worker="{build}/immure-image").pull("{ref}", plain_http=True, puller="{liar}",
          supervisor="{build}/immure", egress="{build}/immure-egress"))
except immure.Error as e:
    print("refused:", e)
""")
    lab.site.own(liar)
    lab.site.own(script)
    done = lab.site.call("/usr/bin/python3", script, env={
        "PYTHONPATH": str(pathlib.Path(__file__).resolve().parents[2] / "bindings/python"),
        "PYTHONDONTWRITEBYTECODE": "1", "IMMURE_LIBRARY": str(harness.BUILD / "src/lib/libimmure.so"),
        **harness.for_the_library()})
    assert done.code == 0, done
    lab.clean()
    return done.text


@pytest.mark.parametrize("lie", ['echo >> "$to/manifest.json"', 'for f in "$to"/????????????????*; do echo >> $f; done',
                                 'rm "$to/manifest.json"; ln -s /etc/passwd "$to/manifest.json"',
                                 'mv "$to" "$to.x"; ln -s "$to.x" "$to"'],
                         ids=["manifest", "blobs", "link", "directory"])
def test_who_fetches_is_not_believed(lab, lie):
    with Registry(lab.layout, {"1": lab.digest}) as r:
        assert by_liar(lab, lie, f"{r.host}/demo/tool:1").startswith("refused: ")
        assert lab.images() == []
        assert lab.digest in by_liar(lab, "true", f"{r.host}/demo/tool:1")


def test_nor_is_what_a_digest_names(lab):
    other = lab.layout.add([[entry("other", "x")]])
    with Registry(lab.layout, {"1": lab.digest}) as r:
        said = by_liar(lab, f'true;; */demo/tool@*) /usr/bin/skopeo inspect --raw --tls-verify=false '
                            f'docker://{r.host}/demo/tool@{other}', f"{r.host}/demo/tool@{lab.digest}")
    assert said.startswith("refused: ") and "not what the digest says" in said and lab.images() == []


def test_credentials(lab):
    """They are read from a file, and only the registry hears them."""
    who = "somebody:a-word"
    auth = lab.site.home / "auth.json"
    with Registry(lab.layout, {"1": lab.digest}, user=who) as r:
        auth.write_text(json.dumps({"auths": {r.host: {"auth": base64.b64encode(who.encode()).decode()}}}))
        lab.site.own(auth)
        lab.refused(f"{r.host}/demo/tool:1", "unauthorized")
        for name in (auth, auth.name):
            done = lab.pull(f"{r.host}/demo/tool:1", "--authfile", name, cwd=auth.parent)
            assert done.code == 0 and b"a-word" not in done.out + done.err, done
    done = lab.pull(f"{r.host}/demo/tool:1", "--authfile", "none.json", cwd=auth.parent)
    assert done.code == 125 and "--authfile: none.json: No such file" in done.errors, done


def test_killed(lab):
    """What a pull leaves that was killed goes with the next one; one that lives is let be."""
    with Registry(lab.layout, {"1": lab.digest}) as r:
        r.stall.clear()
        pulls = [lab.site.spawn(lab.site.immure, "image", "pull", "--plain-http", f"{r.host}/demo/tool:1",
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
        assert harness.until(lambda: len(r.asked) >= 2 and len(os.listdir(lab.cache)) == 2, 20)
        pulls[0].send_signal(signal.SIGKILL)
        pulls[0].communicate(timeout=20)
        assert len(os.listdir(lab.cache)) == 2
        r.stall.set()
        pulls[1].communicate(timeout=60)
        assert pulls[1].returncode == 0 and len(os.listdir(lab.cache)) == 1
        assert lab.pull(f"{r.host}/demo/tool:1").code == 0
    lab.clean()


def test_asked_wrongly(lab):
    for ref in ("", "UPPER", "a//b", "x:", "--flag", "http://a.example/b", "x@sha256:12", "a b"):
        done = lab.site.call(lab.site.immure, "image", "pull", "--", ref)
        assert done.code == 125 and done.errors.count("\n") == 1, (ref, done)
    for argv in (["pull"], ["pull", "a", "b"], ["pull", "--ref", "x", "a"], ["ls", "--plain-http"], ["import", "--allow", "x", "y"]):
        done = lab.site.call(lab.site.immure, "image", *argv)
        assert done.code == 125 and done.errors.count("\n") == 1, (argv, done)
    lab.clean()


@pytest.mark.modes("root")
def test_without_skopeo(lab):
    none = lab.site.home / "none"
    none.write_text("")
    done = lab.site.call("/usr/bin/unshare", "-m", "/bin/sh", "-ec", 'mount --bind "$0" /usr/bin/skopeo; exec "$@"', none,
                         lab.site.immure, "image", "pull", "a.example/b")
    assert done.code == 125 and "not installed" in done.errors and "skopeo" in done.errors, done
