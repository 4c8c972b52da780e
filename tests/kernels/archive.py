# SPDX-License-Identifier: Apache-2.0
"""Packages of another distribution, or for another processor, by an apt of their own.

What this machine knows of packages is neither read nor changed: lists, keys and what
was downloaded lie in a directory of this one's."""
import hashlib
import pathlib
import re
import shutil
import subprocess
import os

UBUNTU_KEYS = "80a36b0a6de2f69f49d2df75ef473ccde121e9e190b9ea01d20a4f63778d5c31"


class Unavailable(Exception):
    """Why something is not to be had here."""


def version_key(name):
    return [int(n) for n in re.findall(r"\d+", name)]


class Archive:
    """place: a directory. keyring: a file with the keys that have to have signed the lists."""

    def __init__(self, place, machine, url_suites, keyring):
        self.place = pathlib.Path(place)
        for name in ("etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/trusted.gpg.d", "lists/partial",
                     "archives/partial"):
            (self.place / name).mkdir(parents=True, exist_ok=True)
        (self.place / "status").touch()
        self.config = self.place / "apt.conf"
        # Root need not become _apt: it could not write here.
        self.config.write_text(
            f'Dir "{self.place}";\nDir::State::status "{self.place}/status";\nDir::State::lists "{self.place}/lists";\n'
            f'Dir::Cache "{self.place}";\nAPT::Architecture "{machine}";\nAPT::Architectures {{ "{machine}"; }};\n'
            'APT::Sandbox::User "root";\nAcquire::Languages "none";\nAcquire::Retries "2";\n'
            'Acquire::http::Timeout "30";\n')
        trust = f"signed-by={keyring}" if keyring else "trusted=yes"
        (self.place / "etc/apt/sources.list").write_text("".join(
            f"deb [arch={machine} {trust}] {url} {suite} main\n" for url, suite in url_suites))
        self.apt("apt-get", "update", "-q")

    def apt(self, *argv, cwd=None):
        if not shutil.which(argv[0]):
            raise Unavailable(f"{argv[0]} is not installed")
        done = subprocess.run(argv, env=dict(os.environ, APT_CONFIG=str(self.config)), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=cwd, check=False)
        # "apt-get update" that reached nobody is a success to it.
        if done.returncode or "Failed to fetch" in done.stdout:
            why = (done.stdout.strip().splitlines() or ["no reason given"])[-1]
            raise Unavailable(f"the package registry did not answer {' '.join(argv[:2])}: {why}")
        return done.stdout

    def newest(self, pattern):
        """The newest package whose name matches."""
        names = [line.split()[0] for line in
                 self.apt("apt-cache", "search", "--names-only", "^" + pattern + "$").splitlines()]
        if not names:
            raise Unavailable(f"the package registry has no {pattern}")
        return max(names, key=version_key)

    def unpack(self, to, *packages):
        """Downloads them and unpacks each into the directory `to`."""
        debs = self.place / "debs"
        shutil.rmtree(debs, ignore_errors=True)
        debs.mkdir()
        self.apt("apt-get", "download", "-q", *packages, cwd=debs)
        for deb in debs.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", deb, to], check=True)
        shutil.rmtree(debs)


def sources():
    """Where this machine's own packages come from: (URL, suite), without duplicates."""
    done = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
    found = [tuple(line.split()) for line in dict.fromkeys(done.stdout.splitlines()) if len(line.split()) == 2]
    if done.returncode or not found:
        raise Unavailable("this machine's apt has no source of packages")
    return found


def debian(place, machine):
    return Archive(place, machine, sources(), "/usr/share/keyrings/debian-archive-keyring.gpg")


def ubuntu(place):
    """Its keys are no package of Debian's: taken from the archive itself, and believed
    only when they are those of this checksum."""
    url = os.environ.get("IMMURE_UBUNTU_ARCHIVE")
    if not url:
        raise Unavailable("IMMURE_UBUNTU_ARCHIVE does not say where Ubuntu's packages are")
    place = pathlib.Path(place)
    keys = place / "keys/usr/share/keyrings/ubuntu-archive-keyring.gpg"
    if not keys.exists():
        Archive(place / "unsigned", "amd64", [(url, "noble")], None).unpack(place / "keys", "ubuntu-keyring")
        shutil.rmtree(place / "unsigned")
    if hashlib.sha256(keys.read_bytes()).hexdigest() != UBUNTU_KEYS:
        raise Unavailable("the package registry gave other keys than Ubuntu's")
    return Archive(place, "amd64", [(url, "noble"), (url, "noble-updates")], keys)
