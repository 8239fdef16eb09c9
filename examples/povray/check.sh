#!/usr/bin/env bash
# Renders the chess board in slices on two providers and at once, and compares: examples/povray/check.sh [BMM]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bmm=${1:-bmm}
image=$here/../../images/build/povray.tar
[ -f "$image" ] || "$here/../../images/build.sh" povray
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
"$bmm" --data "$out/data" run "$here/job.toml" --providers 2 --out "$out"
"$bmm" --data "$out/data" run "$here/whole.toml" --out "$out"
# The picture follows a header; POV-Ray's own names the time of the rendering.
pixels() { tail -c $((640 * 480 * 3)) "$1"; }
cmp <(pixels "$out/chess.ppm") <(pixels "$out/chess-whole.ppm")
head -c 15 "$out/chess.ppm" | head -n 2
echo "equal: $((640 * 480)) pixels, $(pixels "$out/chess.ppm" | sha256sum | cut -c1-16)"

