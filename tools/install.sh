#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# install.sh install|uninstall BUILD PREFIX DESTDIR
# meson installs what the full build made; the launcher comes from the second
# build and is put beside it here.
set -eu

action=$1 build=$2 prefix=$3 destdir=$4

case $prefix in
/*) ;;
*) echo "install: PREFIX must be absolute: $prefix" >&2; exit 1 ;;
esac
[ -f "$build/build.ninja" ] || { echo "install: nothing built in $build; run make first" >&2; exit 1; }

option()
{
	meson introspect "$build" --buildoptions |
		python3 -c 'import json, sys
print(next(o["value"] for o in json.load(sys.stdin) if o["name"] == sys.argv[1]))' "$1"
}

# Every file that the build installs, one a line, without DESTDIR.
installed()
{
	meson introspect "$build" --installed |
		python3 -c 'import json, sys
for path in json.load(sys.stdin).values(): print(path)'
	echo "$prefix/bin/immure"
	echo "$prefix/bin/immure-sh"
	echo "$prefix/bin/immure-bash"
}

if [ "$(option prefix)" != "$prefix" ]; then
	for b in "$build" "$build/lean"; do
		[ -f "$b/build.ninja" ] && meson configure "$b" -Dprefix="$prefix"
	done
	if [ "$action" = install ]; then
		ninja -C "$build"
		[ ! -f "$build/lean/build.ninja" ] || ninja -C "$build/lean"
	fi
fi

case $action in
install)
	launcher=$build/lean/src/cli/immure
	[ -f "$launcher" ] || launcher=$build/src/cli/immure-full
	DESTDIR=$destdir meson install -C "$build" --no-rebuild --quiet
	install -d "$destdir$prefix/bin"
	install -m 755 "$launcher" "$destdir$prefix/bin/immure.new"
	mv -f "$destdir$prefix/bin/immure.new" "$destdir$prefix/bin/immure"
	for shell in sh bash; do
		ln -sfn immure "$destdir$prefix/bin/immure-$shell"
	done
	attack=$(find "$build/lean/src" -name immure-attack -type f 2>/dev/null | head -n 1)
	[ -z "$attack" ] || install -D -m 755 "$attack" "$destdir$prefix/libexec/immure/immure-attack"
	egress=$build/lean/src/lib/immure-egress
	[ ! -f "$egress" ] || install -D -m 755 "$egress" "$destdir$prefix/libexec/immure/immure-egress"
	echo "installed below $destdir$prefix"
	;;
uninstall)
	installed | while IFS= read -r path; do
		rm -f "$destdir$path"
		case $path in
		*/libimmure.so*) rm -f "$destdir${path%.so*}".so* ;;
		esac
	done
	rm -f "$destdir$prefix/libexec/immure/immure-attack"
	for d in include/immure libexec/immure share/doc/immure; do
		rmdir "$destdir$prefix/$d" 2>/dev/null || :
	done
	echo "removed from $destdir$prefix"
	;;
*)
	echo "usage: install.sh install|uninstall BUILD PREFIX DESTDIR" >&2
	exit 1
	;;
esac
