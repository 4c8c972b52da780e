# SPDX-License-Identifier: Apache-2.0
"""Images: imported, and as the root of what runs."""
import json
import os
import pathlib
import shutil
import stat
import subprocess
import tarfile

import pytest

import harness
import imagelab
from imagelab import entry, link

everybody = pytest.mark.modes("root", "user")
CONFIG = {"Env": ["PATH=/bin", "FROM=image", "LD_PRELOAD="], "Entrypoint": ["/bin/sh", "-c"],
          "Cmd": ["pwd; id -u; echo $FROM"], "WorkingDir": "/usr/share"}


class Images:
    """A site with a place for layouts, and the store of its caller."""

    def __init__(self, site):
        self.site, self.n = site, 0
        self.store = site.path / "state/immure/images"

    def layout(self):
        self.n += 1
        return imagelab.Layout(self.site.path / f"layout{self.n}")

    def call(self, *argv, **kw):
        return self.site.call(self.site.immure, "image", *argv, **kw)

    def take(self, path, *flags):
        """Imports; the answer."""
        self.site.own(path)
        done = self.call("import", "--json", *flags, path)
        assert done.code == 0, done
        return json.loads(done.text)

    def refused(self, entries, why, **kw):
        """An image with this layer is refused, nothing of it stays and nothing was made elsewhere."""
        lay = self.layout()
        lay.add([entries], **kw)
        return self.refused_path(lay.path, why)

    def refused_path(self, path, why, *flags):
        self.site.own(path)
        before = self.names(), harness.tree_hash(self.site.out)
        done = self.call("import", *flags, path)
        assert done.code == 125 and why in done.errors and done.errors.count("\n") == 1, done
        assert (self.names(), harness.tree_hash(self.site.out)) == before
        return done

    def names(self):
        """What is in the store, but for locks."""
        return {n for n in harness.names(self.store) if "lock" not in n} - {"images", "layers", "tmp"} \
            if self.store.exists() else set()

    def trees(self):
        return sorted(self.store.glob("layers/*/tree"))

    def busybox(self, *more, **config):
        lay = self.layout()
        lay.add([imagelab.busybox(), *more], name="bb:1", config=config or CONFIG)
        return self.take(lay.path)

    def run(self, *command, flags=(), **kw):
        return self.site.run(*command, flags=["--image", "bb:1", *flags], **kw)

    def sh(self, script, **kw):
        return self.run("/bin/sh", "-c", script, **kw)


@pytest.fixture
def images(site):
    yield Images(site)
    for place in site.path.glob("layout*"):
        harness.remove_tree(place)


# ---- the store ----

@everybody
def test_a_layout_a_tar_of_one_and_docker_save(images):
    lay = images.layout()
    digest = lay.add([imagelab.busybox(), [entry("etc/two", "2")]], name="a:1")
    first = images.take(lay.path)
    assert (first["digest"], first["name"], first["layers"], first["unpacked"]) == (digest, "a:1", 2, 2)
    for form, mode in ("tar", "w"), ("tgz", "w:gz"):
        path = lay.archive(images.site.path / f"layout.{form}", mode)
        again = images.take(path, "--name", f"b:{form}")
        assert (again["digest"], again["name"], again["unpacked"]) == (digest, f"b:{form}", 0)
        path.unlink()
    saved = images.site.path / "layout.saved"
    config = imagelab.docker_save(saved, [imagelab.busybox()], "c:1")
    third = images.take(saved)
    assert (third["digest"], third["name"], third["unpacked"]) == (config, "c:1", 0)
    with open(saved, "rb") as f:
        assert images.call("import", "--name", "d:1", "-", stdin=f).text.strip() == config
    listed = {i["digest"]: i["names"] for i in json.loads(images.call("ls", "--json").text)}
    assert listed == {digest: ["a:1", "b:tar", "b:tgz"], config: ["c:1", "d:1"]}
    for ref in "a:1", digest, digest[7:19], "b:tar":
        assert images.call("verify", ref).code == 0
    assert images.call("verify", "nothing:1").code == 125
    assert stat.S_IMODE(images.store.stat().st_mode) == 0o700
    # one name of several, then the image, then what only it needed
    assert images.call("rm", "a:1").code == 0 and images.call("verify", digest).code == 0
    assert json.loads(images.call("rm", "--json", digest).text)["layers"] == 1
    assert images.call("verify", "b:tar").code == 125 and images.call("verify", "c:1").code == 0
    saved.unlink()


@pytest.mark.modes("root", "user")
@pytest.mark.parametrize("compress", ["none", "zstd"])
def test_other_compressions(images, compress):
    if compress == "zstd" and not shutil.which("zstd"):
        pytest.skip("zstd is not installed")
    lay = images.layout()
    lay.add([[entry("f", "x" * 100000)]], compress=compress)
    assert images.take(lay.path)["unpacked"] == 1
    assert (images.trees()[0] / "f").read_text() == "x" * 100000


@everybody
def test_platform_and_several_images(images):
    lay = images.layout()
    mine = lay.add([[entry("a", "a")]], name="one")
    other = lay.add([[entry("b", "b")]], name="two", arch="riscv64")
    assert images.take(lay.path)["digest"] == mine
    done = images.refused_path(lay.path, "no image for linux/s390x", "--platform", "linux/s390x")
    assert done.code == 125
    assert images.take(lay.path, "--platform", "linux/riscv64")["digest"] == other
    third = lay.add([[entry("c", "c")]], name="three")
    assert "one" in images.refused_path(lay.path, "there are several images").errors
    assert images.take(lay.path, "--ref", "three")["digest"] == third


@everybody
def test_what_is_deleted_and_made_anew(images):
    lay = images.layout()
    lay.add([[entry("a"), entry("a/old", "1"), entry("b"), entry("b/old", "1"), entry("c", "1"), entry("d"),
              entry("d/old", "1"), entry("e", "1")],
             [entry(".wh.c", ""), entry("a/.wh..wh..opq", ""), entry("a/new", "2"),
              entry(".wh.d", ""), entry("d"), entry("d/new", "2"),
              entry(".wh.b", ""), entry("twice", "first"), entry("twice", "second"),
              entry("turns"), entry("turns/x", "x"), entry("turns", "file")],
             imagelab.busybox()], name="bb:1")
    images.take(lay.path)
    out = images.sh("ls -d /a/* /b /c /d/* /e; cat /twice /turns").text.split()
    assert out == ["/a/new", "/d/new", "/e", "secondfile"]
    assert images.call("verify", "bb:1").code == 0


@everybody
def test_layers_are_stored_as_they_are(images):
    lay = images.layout()
    odd = "f\udcff"  # no UTF-8
    lay.add([imagelab.tar([entry("plain", "x", mode=0o4755, uid=5, gid=6), entry(odd, "odd"), entry("\u00e9", "e"),
                           link("out", "/etc/passwd"), link("up", "../../../../x"), entry("Case", "1"), entry("case", "2"),
                           link("hard", "plain", hard=True), entry("dir", mode=0o500), entry("dir/in", "in", mode=0)],
                          form=tarfile.GNU_FORMAT)], name="odd")
    told = images.take(lay.path)
    tree = images.trees()[0]
    assert told["left_out"]["setid_bits"] == 1
    st = os.lstat(tree / "plain")
    assert stat.S_IMODE(st.st_mode) == 0o755 and st.st_nlink == 2 and st.st_uid == images.site.uid
    assert st.st_mtime == 1700000000
    assert os.readlink(tree / "out") == "/etc/passwd" and os.readlink(tree / "up") == "../../../../x"
    assert (tree / "case").read_text() == "2" and (tree / "Case").read_text() == "1"
    assert (tree / odd).read_text() == "odd" and (tree / "\u00e9").read_text() == "e"
    assert "5 6 plain\n" in (tree.parent / "owners").read_text(errors="surrogateescape")
    assert images.call("rm", "odd").code == 0 and not images.trees()


@everybody
def test_sparse_files_have_holes(images):
    source = images.site.path / "layout-sparse"
    source.mkdir()
    with open(source / "big", "wb") as f:
        f.seek(256 << 20)
        f.write(b"end")
    made = subprocess.run(["tar", "-C", source, "--sparse", "-cf", "-", "big"], stdout=subprocess.PIPE, check=True)
    lay = images.layout()
    lay.add([made.stdout], compress="none")
    assert images.take(lay.path)["bytes"] == (256 << 20) + 3
    st = (images.trees()[0] / "big").stat()
    assert st.st_size == (256 << 20) + 3 and st.st_blocks * 512 < 1 << 20


# ---- what is refused ----

HOSTILE = {
    "dotdot": ([entry("a"), entry("a/../../out/new", "x")], '".." in its name'),
    "dotdot alone": ([entry("..", "x")], '".." in its name'),
    "through an absolute link": ([link("l", "OUT"), entry("l/new", "x")], "goes through a link"),
    "through a relative link": ([link("l", "../../../../../../out"), entry("l/new", "x")], "goes through a link"),
    "through a link within": ([entry("d"), link("l", "d"), entry("l/new", "x")], "goes through a link"),
    "through a file": ([entry("f", "x"), entry("f/new", "x")], "what is no directory"),
    "hard link out": ([link("h", "../../../../../../out/ro.txt", hard=True)], '".." in its name'),
    "hard link absolute": ([link("h", "OUT/ro.txt", hard=True)], "which is not in its layer"),
    "hard link through a link": ([link("l", "OUT"), link("h", "l/ro.txt", hard=True)], "goes through a link"),
    "hard link to a directory": ([entry("d"), link("h", "d", hard=True)], "which is no file"),
    "hard link to what deletes": ([entry(".wh.x", ""), link("h", "x", hard=True)], "which is no file"),
    "deletes ..": ([entry("d"), entry("d/.wh...", "")], "has no name"),
    "deletes nothing": ([entry(".wh.", "")], "has no name"),
    "root replaced": ([entry(".", "x")], "would replace the root"),
    "long name": ([entry("a/" * 3000 + "f", "x")], "too long a name"),
    "long component": ([entry("n" * 300, "x")], "too long a name"),
    "deep": ([entry("a/" * 200 + "f", "x")], "too long a name"),
}


@everybody
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_layers_are_refused(images, case):
    entries, why = HOSTILE[case]
    made = []
    for info, data in entries:
        info.linkname = info.linkname.replace("OUT", str(images.site.out))
        made.append((info, data))
    images.refused(made, why)
    # the same without what is hostile: that alone was the reason
    lay = images.layout()
    lay.add([[entry("fine", "x"), entry("d"), entry("d/new", "x"), link("h", "fine", hard=True),
              entry("d/.wh.gone", ""), link("l", str(images.site.out))]])
    assert images.take(lay.path)["unpacked"] == 1


@everybody
def test_absolute_names_mean_the_layers_root(images):
    target = images.site.out / "absolute"
    lay = images.layout()
    lay.add([[entry(str(target), "x"), entry("//double", "y")]])
    images.take(lay.path)
    assert not target.exists()
    assert (images.trees()[0] / str(target)[1:]).read_text() == "x" and (images.trees()[0] / "double").exists()


@everybody
def test_devices_and_special_files_are_left_out(images):
    lay = images.layout()
    lay.add([[entry("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3), entry("w", type=tarfile.CHRTYPE),
              entry("disk", type=tarfile.BLKTYPE, devmajor=8), entry("pipe", type=tarfile.FIFOTYPE), entry("f", "x")]])
    told = images.take(lay.path)
    assert (told["left_out"]["devices"], told["left_out"]["special_files"]) == (3, 1)
    # a device 0:0 in a layer would delete what is below it, and no list of changes would say so
    assert os.listdir(images.trees()[0]) == ["f"]


@everybody
def test_attributes_of_overlays_are_left_out(images):
    info, _ = entry("d")
    info.pax_headers = {f"SCHILY.xattr.{n}": v for n, v in {
        "user.overlay.opaque": "y", "user.overlay.redirect": "/etc", "trusted.overlay.opaque": "y",
        "security.capability": "x", "user.mine": "kept"}.items()}
    lay = images.layout()
    lay.add([[(info, None)]])
    assert images.take(lay.path)["left_out"]["xattrs"] == 4
    assert os.listxattr(images.trees()[0] / "d") == ["user.mine"]


@everybody
def test_digests_and_sizes_are_held_to(images):
    def broken(change, why):
        lay = images.layout()
        lay.add([[entry("f", "x" * 1000)]])
        change(lay)
        lay.save()
        images.refused_path(lay.path, why)

    def flip(path):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

    def blob(lay, digest):
        return lay.path / "blobs/sha256" / digest[7:]

    broken(lambda lay: flip(blob(lay, lay.manifests[0]["digest"])), "is not what it says")
    broken(lambda lay: flip(blob(lay, json.loads(blob(lay, lay.manifests[0]["digest"]).read_text())
                                 ["config"]["digest"])), "is not what it says")
    broken(lambda lay: lay.manifests[0].update(size=7), "its descriptor says 7")
    broken(lambda lay: lay.manifests[0].update(digest="md5:1"), "expected sha256:")
    broken(lambda lay: lay.manifests[0].update(digest="sha256:" + "../" * 21 + "x"), "expected sha256:")

    layer = imagelab.tar([entry("f", "x" * 1000)])
    for change, why in (({"digest": "0" * 64}, "No such file"), ({"size": 5}, "the manifest says 5")):
        lay = images.layout()
        lay.add([layer], override=[{"mediaType": imagelab.LAYER, "size": change.get("size", len(layer)),
                                  "digest": "sha256:" + change["digest"] if "digest" in change else lay.blob(layer)}])
        images.refused_path(lay.path, why)
    lay = images.layout()  # the blob that the manifest means, changed where it is stored
    lay.add([layer], compress="none")
    flip(blob(lay, lay.descriptors[0]["digest"]))
    images.refused_path(lay.path, "is not what it says")
    lay = images.layout()  # behind the compressed stream
    lay.add([layer])
    with open(blob(lay, lay.descriptors[0]["digest"]), "ab") as f:
        f.write(b"more")
    images.refused_path(lay.path, "")
    lay = images.layout()
    lay.add([layer], diff_ids=["sha256:" + "a" * 64])
    images.refused_path(lay.path, "the config says sha256:aaaa")
    lay = images.layout()
    lay.add([layer], diff_ids=["sha256:" + "a" * 64, "sha256:" + "b" * 64])
    images.refused_path(lay.path, "the manifest has 1 layers, the config 2")
    saved = images.site.path / "layout.saved"
    imagelab.docker_save(saved, [[entry("f", "x")]], "x", break_layer=True)
    images.refused_path(saved, "the config says")
    saved.unlink()


@everybody
def test_what_is_no_image(images):
    lay = images.layout()
    lay.add([[entry("f", "x")]])
    for text, why in (("", "not JSON"), ("[]", "expected an object"), ('{"manifests":[{}]}', "digest"),
                      ('{"manifests":[]}', "no image for"), ('{"manifests":{}}', "expected a list"),
                      ('{"manifests":[]} x', "not JSON"), ("{" * 100, "not JSON"), ('{"a":"\\u0000"}', "")):
        (lay.path / "index.json").write_text(text)
        images.refused_path(lay.path, why)
    os.unlink(lay.path / "index.json")
    images.refused_path(lay.path, "neither index.json nor manifest.json")
    os.symlink("/etc/passwd", lay.path / "index.json")
    images.refused_path(lay.path, "index.json")
    (images.site.path / "layout.text").write_text("no archive" * 100)
    images.refused_path(images.site.path / "layout.text", "no image layout and no archive of one")
    (images.site.path / "layout.text").unlink()
    assert images.call("import", images.site.path / "none").code == 125


@everybody
def test_bombs(images):
    """A small file that would fill the disk, by its size, by its ratio, and by its entries."""
    zeros = bytes(1 << 20)
    grown = imagelab.tar([entry(f"z{i}", zeros) for i in range(300)])
    lay = images.layout()
    lay.add([grown], name="zeros")
    images.refused_path(lay.path, "decompression bomb")
    images.refused_path(lay.path, "too large", "--max-size", "16M")
    lay = images.layout()
    lay.add([imagelab.tar([entry(f"z{i}", zeros) for i in range(8)])], compress="none")
    images.refused_path(lay.path, "too large", "--max-size", "4M")
    assert images.take(lay.path, "--max-size", "8M")["bytes"] == 8 << 20
    # it says that it is larger than anything
    info, _ = entry("huge", b"x")
    head = info.tobuf(tarfile.GNU_FORMAT)
    head = head[:124] + b"\x80" + (1 << 60).to_bytes(11, "big") + head[136:]
    head = head[:148] + b"%06o\0 " % (sum(head[:148]) + sum(head[156:]) + 8 * 32) + head[156:]
    lay = images.layout()
    lay.add([head + b"x" * 2048], compress="none")
    images.refused_path(lay.path, "too large")


@everybody
def test_the_worker_is_closed_in(images):
    """What it can do once it reads is looked at from outside: status, and what it may open."""
    lay = images.layout()
    lay.add([[entry("f", os.urandom(1 << 20))]])
    images.take(lay.path)
    fifo = images.site.path / "layout.fifo"
    os.mkfifo(fifo)
    os.chown(fifo, images.site.uid, images.site.gid)
    with images.site.spawn(images.site.immure, "image", "import", str(fifo)) as process:
        with open(fifo, "wb") as feed:
            feed.write(b"x" * 100)
            feed.flush()

            def worker():
                for status in pathlib.Path("/proc").glob("[0-9]*/status"):
                    try:
                        text = status.read_text()
                    except OSError:
                        continue
                    if "Name:\timmure-image" in text and f"PPid:\t{process.pid}\n" in text and "Seccomp:\t2" in text:
                        return text
                return None

            harness.until(worker, 10)
            status = worker()
            assert "NoNewPrivs:\t1" in status and "CapEff:\t0000000000000000" in status, status
        process.communicate(timeout=20)
    fifo.unlink()
    done = images.site.call(images.site.immure.parent / "immure-image", "ls")
    assert done.code == 1 and "not for use by hand" in done.text


@everybody
def test_two_imports_of_one_layer(images):
    lay = images.layout()
    lay.add([[entry(f"f{i}", os.urandom(10000)) for i in range(200)]], name="x")
    images.site.own(lay.path)
    both = [images.site.spawn(images.site.immure, "image", "import", "--json", "--name", n, str(lay.path))
            for n in ("x:1", "x:2", "x:3")]
    told = [json.loads(p.communicate(timeout=60)[0]) for p in both]
    assert sorted(t["unpacked"] for t in told) == [0, 0, 1]
    assert images.call("verify", "x:2").code == 0 and not os.listdir(images.store / "tmp")


@everybody
def test_a_killed_import_leaves_what_gc_removes(images):
    lay = images.layout()
    lay.add([[entry("f", "x" * 1000)]])
    images.take(lay.path)
    left = images.store / "tmp" / "0123456789abcdef"
    (left / "0/tree/d").mkdir(parents=True)
    (left / "0/tree/d/f").write_text("half")
    os.mkdir(images.store / "layers" / ("a" * 64))
    images.site.own(images.store)
    told = json.loads(images.call("gc", "--json").text)
    assert (told["leftovers"], told["layers"], told["images"]) == (1, 1, 0)
    assert not os.listdir(images.store / "tmp") and len(images.trees()) == 1


@everybody
def test_a_full_disk_leaves_nothing(images):
    lay = images.layout()
    lay.add([[entry("f", os.urandom(4 << 20))]])
    images.site.own(lay.path)
    script = (f"mount -t tmpfs -o size=2m none {images.site.path}/state 2>/dev/null && "
              f"{images.site.immure} image import {lay.path}; echo $?; find {images.site.path}/state -type f | grep -v lock;"
              f" ls {images.site.path}/state/immure/images/tmp")
    os.makedirs(images.site.path / "state", exist_ok=True)
    images.site.own(images.site.path / "state")
    done = images.site.call("unshare", "-rm", "/bin/sh", "-c", script)
    assert done.text.strip() == "125" and "No space left" in done.errors, done


@everybody
def test_what_was_changed_is_found(images):
    images.busybox()
    assert images.call("verify", "bb:1").code == 0
    for name, change in {"etc/of-the-image": lambda p: p.write_text("another\n"), "new": lambda p: p.write_text(""),
                         "bin/busybox": lambda p: p.chmod(0o700), "bin/sh": lambda p: (p.unlink(), p.symlink_to("x"))}.items():
        tree = images.trees()[0]
        change(tree / name)
        done = images.call("verify", "bb:1")
        assert done.code == 125 and "was changed" in done.errors, (name, done)
        assert images.call("rm", "bb:1").code == 0
        images.busybox()
    record = next(images.store.glob("images/*/config.json"))
    record.write_text(record.read_text() + " ")
    assert "config.json was changed" in images.call("verify", "bb:1").errors


# ---- as a root ----

@everybody
def test_a_command_in_an_image(images):
    images.busybox()
    before = images.trees()[0], harness.tree_hash(images.store)
    done = images.sh("cat /etc/of-the-image; id -u; ls / | tr '\\n' ' '; pwd; echo $FROM; "
                     "ls -A /tmp /run /root")
    assert done.code == 0, done
    lines = done.text.splitlines()
    assert lines[:2] == ["from below", "0"] and lines[2].split()[-1] == str(images.site.ws)
    assert lines[3] == "image" and not [n for n in lines[4:] if n and not n.startswith("/")], lines
    assert lines[2].split()[0] == "bin" and "usr" in lines[2]
    # nothing of the host: its root is not above, its home and its /etc are not there
    assert images.sh("ls /.. | tr '\\n' ' '; cat /etc/hostname /etc/shadow; ls /home /lib64 /boot").out.startswith(b"bin ")
    assert b"\n/dev" not in images.sh(f"ls -d {images.site.home}/.ssh /etc/shadow /lib /var/lib").out
    assert harness.tree_hash(images.store) == before[1]


@everybody
def test_changes_are_the_sessions_own(images):
    images.busybox()
    store = harness.tree_hash(images.store)
    script = ("cat /etc/of-the-image; echo changed > /etc/of-the-image; rm -r /usr/share; mkdir /usr/share; ls -A /usr/share; "
              "echo new > /new; chmod 700 /bin; rm /bin/ls; mv /etc/group /etc/moved; cat /etc/of-the-image /new; "
              "echo mine > made")
    for _ in range(2):  # the second sees nothing of the first
        done = images.sh(script)
        assert done.text == "from below\nchanged\nnew\n" and done.code == 0, done
    assert (images.site.ws / "made").read_text() == "mine\n"
    assert harness.tree_hash(images.store) == store and images.call("verify", "bb:1").code == 0
    # two at a time have the same layers and not the same changes
    other = images.site.spawn(images.site.immure, "run", "--image", "bb:1", "--", "/bin/sh", "-c",
                              "echo one > /who; echo ready; cat; cat /who", stdin=subprocess.PIPE)
    assert other.stdout.readline() == b"ready\n"
    assert images.sh("cat /who; echo two > /who; cat /who").text == "two\n"
    assert other.communicate(b"")[0] == b"one\n"


@everybody
def test_a_root_that_is_only_read(images):
    images.busybox()
    done = images.sh("echo x > /etc/new; rm /bin/ls; touch /tmp/t /run/r made && echo private; ls /new", flags=["--root", "ro"])
    assert done.text == "private\n" and done.errors.count("Read-only file system") == 2, done
    assert (images.site.ws / "made").exists() and images.call("verify", "bb:1").code == 0


@everybody
def test_the_policys_words_hold_in_an_image(images):
    images.busybox()
    done = images.sh("cat /etc/of-the-image; ls /usr/share; echo x > /etc/of-the-image",
                     flags=["--deny", "/etc/of-the-image", "--deny", "/usr/share", "--deny", "/not/there"])
    assert done.out == b"" and done.errors.lower().count("permission denied") == 2, done
    assert "Read-only file system" in done.errors and "mine" in images.sh("ls").text
    hidden = images.sh("cat hidden.txt sub/hidden/secret", flags=["--deny", str(images.site.ws / "hidden.txt"),
                                                              "--deny", str(images.site.ws / "sub/hidden")])
    assert b"SECRET" not in hidden.out and hidden.errors.lower().count("permission denied") == 2, hidden
    assert images.sh("cat ro.txt", flags=["--read", str(images.site.out), "--cwd", str(images.site.out)]).text == "OUTSIDE\n"
    assert images.sh("ls", flags=["--workspace-mode", "none", "--cwd", "/etc"]).text.split() == ["group", "of-the-image", "passwd"]


@everybody
def test_what_the_image_says_of_a_process(images):
    images.busybox()
    def plain(*flags):
        return images.site.call(images.site.immure, "run", "--image", "bb:1", *flags)
    assert plain().text == "/usr/share\n0\nimage\n"
    assert plain("--env", "FROM=policy").text == "/usr/share\n0\npolicy\n"
    if images.site.mode.name == "user":  # root's nobody is another outside too, and may not open root's store
        assert plain("--identity", "nobody").text == "/usr/share\n65534\nimage\n"
    assert plain("--cwd", "/etc").text == "/etc\n0\nimage\n"
    assert images.site.call(images.site.immure, "run").code == 125
    for user, shown in (("worker", "1234 1234"), ("77", "77 0"), ("77:88", "77 88"), ("worker:root", "1234 0"), ("root", "0 0")):
        images.call("rm", "bb:1")
        images.busybox(User=user)
        done = images.sh("echo $(id -u) $(id -g); touch made && stat -c %u made; touch /etc/mine && echo mine")
        assert done.text.split("\n")[:3] == [shown, shown.split()[0], "mine"], (user, done)
        os.unlink(images.site.ws / "made")
    images.call("rm", "bb:1")
    images.busybox(User="nosuchuser")
    done = images.sh("true")
    assert done.code == 125 and "not in its list of users" in done.errors
    assert images.sh("id -u", flags=["--identity", "root"]).text == "0\n"


@everybody
def test_hostile_roots(images):
    """What an image puts where our own mounts go leads nowhere."""
    victim = images.site.out
    before = harness.tree_hash(victim)
    for name in "dev", "proc", "tmp", "run", "sys":
        lay = images.layout()
        lay.add([[e for e in imagelab.busybox() if e[0].name != name] + [link(name, str(victim))]], name="bb:1")
        images.take(lay.path)
        done = images.sh("true")
        assert done.code == 125 and done.errors.count("\n") == 1, (name, done)
        assert harness.tree_hash(victim) == before
        assert images.call("rm", "bb:1").code == 0
    lay = images.layout()
    lay.add([imagelab.busybox() + [link("to", str(victim)), link("up", "../../../.." + str(victim))]], name="bb:1")
    images.take(lay.path)
    done = images.sh("ls /to/ro.txt /up/ro.txt; echo x > /to/new")
    assert done.out == b"" and harness.tree_hash(victim) == before


@everybody
def test_no_such_image(images):
    done = images.run("true")
    assert done.code == 125 and "bb:1: no such image" in done.errors and "image import" in done.errors
    images.busybox()
    assert images.site.run("/bin/true", flags=["--image", "other:1"]).code == 125
    assert images.site.run("/bin/true", flags=["--view", "image"]).code == 125
    # a layer that is gone
    harness.remove_tree(images.trees()[0].parent)
    done = images.run("/bin/true")
    assert done.code == 125 and "is gone" in done.errors, done


@everybody
def test_layers_in_use_stay(images):
    images.busybox()
    running = images.site.spawn(images.site.immure, "run", "--image", "bb:1", "--", "/bin/sh", "-c",
                                "echo ready; cat; cat /etc/of-the-image", stdin=subprocess.PIPE)
    assert running.stdout.readline() == b"ready\n"
    told = json.loads(images.call("rm", "--json", "bb:1").text)
    assert (told["images"], told["layers"], told["in_use"]) == (1, 0, 1)
    assert json.loads(images.call("gc", "--json").text)["in_use"] == 1
    assert running.communicate(b"")[0] == b"from below\n"
    assert json.loads(images.call("gc", "--json").text)["layers"] == 1 and not images.trees()


@everybody
@pytest.mark.parametrize("root", ["layer", "ro"])
def test_the_proof_holds(images, root):
    images.busybox()
    done = images.site.call(images.site.immure, "prove", "--json", "--image", "bb:1", "--root", root, timeout=120)
    proof = json.loads(done.text)
    assert done.code == 0, done.errors
    text = json.dumps(proof)
    assert '"file_write.root"' in text
    assert images.call("verify", "bb:1").code == 0


@everybody
def test_a_session_in_an_image(images):
    images.busybox()
    made = images.site.call(images.site.immure, "create", "--image", "bb:1")
    assert made.code == 0, made
    name = made.text.strip()
    def inside(script):
        return images.site.call(images.site.immure, "exec", name, "--", "/bin/sh", "-c", script)
    assert inside("echo kept > /etc/kept; cat /etc/of-the-image").text == "from below\n"
    assert inside("cat /etc/kept; echo $FROM").text == "kept\nimage\n"
    assert images.site.call(images.site.immure, "stop", "--rm", name).code == 0
    assert images.call("verify", "bb:1").code == 0


@everybody
@pytest.mark.skipif(not (shutil.which("umoci") and shutil.which("skopeo")), reason="umoci and skopeo are not installed")
def test_what_other_tools_make(images):
    """A layout that umoci wrote, changed by it, copied by skopeo to each form: the trees are umoci's own."""
    top = images.site.path / "layout-umoci"
    top.mkdir()
    def tool(*argv):
        subprocess.run(argv, check=True, cwd=top, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                       env={"PATH": os.environ["PATH"], "HOME": str(top)})
    tool("umoci", "init", "--layout", "lay")
    tool("umoci", "new", "--image", "lay:a")
    tool("umoci", "unpack", "--image", "lay:a", "bundle")
    root = top / "bundle/rootfs"
    (root / "dir/sub").mkdir(parents=True)
    (root / "dir/sub/f").write_text("one")
    (root / "gone").write_text("gone")
    os.symlink("dir", root / "l")
    os.link(root / "gone", root / "hard")
    tool("umoci", "repack", "--refresh-bundle", "--image", "lay:a", "bundle")
    os.unlink(root / "gone")
    (root / "dir/sub/f").write_text("two")
    tool("umoci", "repack", "--image", "lay:a", "bundle")
    tool("umoci", "config", "--image", "lay:a", "--config.cmd", "/x", "--config.workingdir", "/dir")
    tool("skopeo", "copy", "--insecure-policy", "oci:lay:a", "oci-archive:lay.tar:a")
    tool("skopeo", "copy", "--insecure-policy", "oci:lay:a", "docker-archive:saved.tar:name:a")
    for path in "lay", "lay.tar", "saved.tar":
        told = images.take(top / path, "--name", "made")
        assert told["layers"] == 2
        inspected = json.loads(images.call("inspect", "made").text)
        assert (inspected["cmd"], inspected["workdir"]) == (["/x"], "/dir")
    trees = [images.store / "layers" / d[7:] / "tree" for d in inspected["layers"]]
    assert (trees[1] / "dir/sub/f").read_text() == "two" and (trees[0] / "dir/sub/f").read_text() == "one"
    gone = os.lstat(trees[1] / "gone")
    assert stat.S_ISCHR(gone.st_mode) and gone.st_rdev == 0
    assert os.path.samefile(trees[0] / "gone", trees[0] / "hard")
