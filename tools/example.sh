#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# example.sh IMMURE: a real job sealed in the current directory, attacked from
# inside first, with a summary of what held. `make run`.
set -u
immure=$1
out=$(dirname "$immure")/example
as=()

# Where the kernel keeps user namespaces from unprivileged programs (Ubuntu's
# AppArmor restriction), only root can seal anything in this way.
if [ "$(id -u)" -ne 0 ] && ! unshare --user --map-root-user --mount true 2>/dev/null; then
	if ! command -v sudo >/dev/null; then
		echo "this host keeps user namespaces from unprivileged programs, and there is no sudo;"
		echo "'$immure doctor' says what can be done"
		exit 1
	fi
	echo "this host keeps user namespaces from unprivileged programs ('$immure doctor' says how"
	echo "to permit them to immure alone), so the example is run with sudo"
	as=(sudo)
fi

mkdir -p "$out"
echo "+ ${as[*]:+${as[*]} }$immure run --prove --result $out/result.json -- bash examples/job.sh $out"
"${as[@]}" "$immure" run --prove --result "$out/result.json" -- bash examples/job.sh "$out"
status=$?
if [ $status -ne 0 ]; then
	echo "the job ended with $status"
	exit $status
fi
echo "attacked from inside before it started; points that held:"
python3 - "$out/result.json" <<'END'
import collections, json, sys, textwrap
points = json.load(open(sys.argv[1]))["proof"]["points"]
held = collections.Counter(p["dimension"] for p in points if p["verdict"] == "held")
print(textwrap.fill(", ".join("%s %d" % item for item in held.items()), 78,
                    initial_indent="  ", subsequent_indent="  "))
END
echo "record of the run: $out/result.json"
echo "next: $immure prove · $immure plan -- make · $immure shell · make test"
