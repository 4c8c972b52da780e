#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing to build and test, after saying what and why.
#   deps.sh          install with apt-get (NO_INSTALL=1: do not)
#   deps.sh --build  only what the build wants
#   CI=true deps.sh  also the large programs that tests of egress drive
#   deps.sh --kernels  also what runs the suites under other kernels
#   deps.sh --check  only say what the build cannot do without
set -u

missing=() why=() needed=()

# need PACKAGE WHY REQUIRED COMMAND...: COMMAND succeeds when it is there.
need()
{
	local package=$1 reason=$2 required=$3
	shift 3
	"$@" >/dev/null 2>&1 && return
	missing+=("$package")
	why+=("$reason")
	[ "$required" = yes ] && needed+=("$package")
}

compiler()
{
	command -v "${CC:-cc}" || command -v gcc || command -v clang
}

header()
{
	echo "#include <$1>" | ${CC:-cc} -E -x c -o /dev/null -
}

# The tests run under whichever python3 has pytest.
python_with()
{
	local python=python3
	python3 -c 'import pytest' || python=/usr/bin/python3
	"$python" -c "import $1"
}

need gcc 'compiles the C' yes compiler
need libarchive-dev 'reads the archives of images' yes header archive.h
need libssl-dev 'digests of images, TLS that ends where rules look inside' yes header openssl/evp.h
need libc6-dev 'the C library to build against' yes header stdio.h
need linux-libc-dev 'the headers of the kernel' yes header linux/landlock.h
need meson 'describes the build' yes meson --version
need ninja-build 'runs the build' yes ninja --version
need pkg-config 'finds libraries' yes pkg-config --version
need libjansson-dev 'reads policy files (JSON)' yes pkg-config --exists jansson
need python3 'runs build scripts and tests' yes python3 --version
need musl-tools 'builds the launcher static and fast to start' no command -v musl-gcc
case ${1-} in
--check | --build) for_tests= ;;
*) for_tests=yes ;;
esac
if [ "$for_tests" ]; then
	need mypy 'checks the types of the Python binding' no command -v mypy
	need libcmocka-dev 'unit tests' no pkg-config --exists cmocka
	need python3-jsonschema 'tests of the published policy schema' no python_with jsonschema
	need python3-pytest 'tests of the built program' no python_with pytest
	need python3-pip 'tests of the Python binding: installing it' no /usr/bin/python3 -m pip --version
	need strace 'tests that make system calls fail' no command -v strace
	need bubblewrap 'tests of backend bwrap' no command -v bwrap
	need crun 'tests of immure inside a container' no command -v crun
	# The lab of tests/live: its servers come without services of their own.
	need iproute2 'tests of egress: network namespaces' no command -v ip
	need openssl 'tests of egress: certificates' no command -v openssl
	need curl 'tests of egress: a client' no command -v curl
	need git 'tests of egress: a client and a server' no command -v git
	need netcat-openbsd 'tests of egress: a client' no command -v nc
	need openssh-client 'tests of egress: a client' no command -v ssh
	need dropbear-bin 'tests of egress: a server for ssh' no command -v dropbear
	need redis-tools 'tests of egress: a client and a server' no command -v redis-cli
	need busybox-static 'tests of images: what is in them' no test -x /bin/busybox
	need zstd 'tests of images: a compression' no command -v zstd
	need umoci 'tests of images: what other tools make' no command -v umoci
	need skopeo 'tests of images: what other tools make' no command -v skopeo
fi
if [ "$for_tests" ] && [ "${CI-}" = true ]; then
	need g++ 'the public header is one for C++ too' no command -v c++
	need groff-base 'tests of the man pages' no command -v groff
	need zsh 'tests of the completions' no command -v zsh
	need fish 'tests of the completions' no command -v fish
	need tmux 'a test that it runs sealed in' no command -v tmux
	need sqlite3 'a test that it runs sealed in' no command -v sqlite3
	need wget 'tests of egress: a client' no command -v wget
	need bind9-dnsutils 'tests of egress: a client' no command -v dig
	need nodejs 'tests of egress: a client' no command -v node
	need golang-go 'tests of egress: a client' no command -v go
	need default-jdk-headless 'tests of egress: a client' no command -v javac
	need chromium 'a test that a browser runs sealed in (300 MB)' no command -v chromium
	need cargo 'tests of egress: a client' no command -v cargo
	need postgresql 'tests of egress: a client and a server' no command -v psql
fi
if [ "${1-}" = --kernels ] || { [ "$for_tests" ] && [ "${CI-}" = true ]; }; then
	need qemu-system-x86 'tests under other kernels' no command -v qemu-system-x86_64
	need busybox-static 'tests under other kernels: the first program of a guest' no test -x /bin/busybox
	need kmod 'tests under other kernels: their modules' no test -x /sbin/depmod
	need e2fsprogs 'tests under other kernels: a disk' no test -x /sbin/mke2fs
fi
if [ "${1-}" = --kernels ]; then
	need zstd 'tests under Ubuntu: its modules' no command -v zstd
	need qemu-system-arm 'tests on 64-bit ARM' no command -v qemu-system-aarch64
	need gcc-aarch64-linux-gnu 'tests on 64-bit ARM: the launcher for it' no command -v aarch64-linux-gnu-gcc
	need linux-libc-dev-arm64-cross 'tests on 64-bit ARM: the launcher for it' no test -f /usr/aarch64-linux-gnu/include/asm/unistd.h
fi

if [ "${1-}" = --check ]; then
	[ ${#needed[@]} -eq 0 ] && exit 0
	echo "missing to build: ${needed[*]}; 'make deps' installs them" >&2
	exit 1
fi
[ ${#missing[@]} -eq 0 ] && exit 0

echo "missing to build${for_tests:+ and test} immure:"
for i in "${!missing[@]}"; do
	printf '  %-16s %s\n' "${missing[i]}" "${why[i]}"
done
if [ -n "${NO_INSTALL-}" ] && [ "$NO_INSTALL" != 0 ]; then
	echo "not installed, because NO_INSTALL is set"
	[ ${#needed[@]} -eq 0 ]
	exit
fi
if ! command -v apt-get >/dev/null; then
	echo "no apt-get here: please install the like of them with this system's tool" >&2
	[ ${#needed[@]} -eq 0 ]
	exit
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "not root and no sudo; as root: apt-get install ${missing[*]}" >&2
		[ ${#needed[@]} -eq 0 ]
		exit
	fi
	as_root=(sudo)
fi
echo "installing them: ${as_root[*]} apt-get install ${missing[*]}"

# apt [COMMAND...]: without questions, and without a long wait for what does not answer.
apt()
{
	local fast=()
	# Where nothing is kept, nothing need be written out before the next package.
	[ "${CI-}" = true ] && fast=(-o Dpkg::Options::=--force-unsafe-io)
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -q --no-install-recommends \
		-o Dpkg::Use-Pty=0 -o Acquire::Retries=2 -o Acquire::http::Timeout=30 \
		-o Acquire::Languages=none -o APT::Update::Error-Mode=any "${fast[@]}" "$@" </dev/null
}

# A machine of continuous integration has no lists, or old ones.
refreshed=
refresh()
{
	[ "$refreshed" ] && return 1
	refreshed=no
	apt update && refreshed=yes && return
	echo "the lists of packages could not be refreshed: is there a network?" >&2
	return 1
}

start=$SECONDS
[ "${CI-}" = true ] && refresh
if apt install "${missing[@]}" || { refresh && apt install "${missing[@]}"; }; then
	echo "installed ${#missing[@]} packages and what they need in $((SECONDS - start)) s"
	exit
fi
# One that is not to be had must not keep out the others; without a registry, none are to be had.
failed=() failed_needed=()
for package in "${missing[@]}"; do
	[ "$refreshed" = yes ] && apt install "$package" >/dev/null 2>&1 && continue
	failed+=("$package")
	case " ${needed[*]} " in *" $package "*) failed_needed+=("$package") ;; esac
done
echo "installed $((${#missing[@]} - ${#failed[@]})) of ${#missing[@]} packages in $((SECONDS - start)) s" >&2
if [ ${#failed_needed[@]} -ne 0 ]; then
	echo "could not be installed, and nothing can be built without them: ${failed_needed[*]}" >&2
	exit 1
fi
[ ${#failed[@]} -eq 0 ] ||
	echo "could not be installed, so tests that want them are skipped: ${failed[*]}" >&2
exit 0
