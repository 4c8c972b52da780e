#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds what of immure needs no Linux: policies, plans, and what they render.
#
#   tools/portable.sh BUILD [COMPILER [JANSSON]]
#
# COMPILER: a compiler with its target, as "zig cc -target aarch64-macos"; without one this
# host's, for a program that shows what the portable parts do. JANSSON: the directory of
# jansson's sources; without it no policy file is read, only profiles and options.
set -eu
build=$1 compiler=${2-} jansson=${3-}
top=$(cd "$(dirname "$0")/.." && pwd)
MESON=${MESON:-meson}
mkdir -p "$build"
build=$(cd "$build" && pwd)
set -- -Dportable=true -Djansson_source="$jansson"

if [ -n "$compiler" ]; then
	case $compiler in
	*x86_64*) cpu=x86_64 ;;
	*aarch64* | *arm64*) cpu=aarch64 ;;
	*) echo "portable: $compiler: its target is not named" >&2; exit 2 ;;
	esac
	case $compiler in
	*macos* | *darwin* | *apple*) system=darwin ;;
	*) system=linux ;;
	esac
	# meson asks for the linker's name, and does not know what zig says.
	case $system in
	darwin) linker=ld64.lld ;;
	*) linker=ld.lld ;;
	esac
	cat >"$build/cc" <<-END
		#!/bin/sh
		case " \$* " in
		*" -Wl,--version "*) echo 'LLD 15.0.0'; exit 0 ;;
		*" -Wl,-v "*) echo '$linker' >&2; exit 0 ;;
		esac
		exec $compiler "\$@"
	END
	chmod +x "$build/cc"
	ar="['ar']"
	case $compiler in
	*zig\ cc*) ar="['${compiler%% *}', 'ar']" ;;
	esac
	cat >"$build/cross.ini" <<-END
		[binaries]
		c = ['$build/cc']
		ar = $ar
		[host_machine]
		system = '$system'
		cpu_family = '$cpu'
		cpu = '$cpu'
		endian = 'little'
	END
	set -- "$@" --cross-file "$build/cross.ini"
fi
[ -f "$build/build.ninja" ] || "$MESON" setup "$build" "$top" "$@"
exec ninja -C "$build"
