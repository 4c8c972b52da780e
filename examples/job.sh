#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A job as an agent or a build would run it: compiles a program here and runs
# it, then reaches for four things that are none of its business.
set -u
out=${1:?usage: job.sh DIRECTORY}

attempt()
{
	local what=$1 said
	shift
	if said=$("$@" 2>&1); then
		printf '  %-34s worked\n' "$what"
		return 1
	fi
	printf '  %-34s %s\n' "$what" "${said##*: }"
}
connect() { exec 3<>"/dev/tcp/192.0.2.1/80"; }
hook() { echo 'echo owned' >.git/hooks/post-checkout; }
outside() { touch "$HOME/immure-was-here"; }
secret() { ls "$HOME/.ssh"; }

echo "work:"
cc -O2 -o "$out/primes" examples/primes.c && printf '  %s\n' "$("$out/primes" 5000000)" || exit 1
printf '  %s processes are visible from here\n' "$(find /proc -maxdepth 1 -name '[0-9]*' | wc -l)"

echo "what it may not do:"
allowed=0
attempt 'read ~/.ssh' secret || allowed=1
attempt 'write to the home directory' outside || allowed=1
attempt 'plant a git hook' hook || allowed=1
attempt 'reach the network' connect || allowed=1
exit $allowed
