#!/bin/sh
# POV-Ray on one thread without a screen. With `--rows A..B` before its arguments, which must name +W, +H and +O,
# it renders the rows A to B-1, counted from 0, and keeps of the picture (PPM) these alone: the outputs of all rows,
# one after the other, are the whole picture, as the first one begins with its header.
set -eu
if [ "${1:-}" != --rows ]; then exec /usr/bin/povray -D -V +WT1 "$@"; fi
first=${2%..*} last=${2#*..}
shift 2
width= height= out=
for arg; do
    case $arg in
        +W[0-9]*) width=${arg#+W} ;;
        +H[0-9]*) height=${arg#+H} ;;
        +O?*) out=${arg#+O} ;;
    esac
done
[ -n "$width" ] && [ -n "$height" ] && [ -n "$out" ] || { echo "--rows needs +W, +H and +O" >&2; exit 2; }
[ "$first" -lt "$last" ] || { echo "--rows $first..$last: no row" >&2; exit 2; }
[ "$last" -le "$height" ] || last=$height
# +ER1 would mean all rows; the row after the first is then rendered too, and left out below.
to=$last
[ "$to" -gt 1 ] || to=2
/usr/bin/povray -D -V +WT1 +FP8 "$@" "+SR$((first + 1))" "+ER$to" "+O/tmp/whole.ppm"
# The picture is whole, with black rows; its own header names the time.
row=$((width * 3))
size=$(busybox stat -c %s /tmp/whole.ppm)
begin=$((size - row * height + row * first))
{
    [ "$first" -gt 0 ] || printf 'P6\n%d %d\n255\n' "$width" "$height"
    busybox tail -c "+$((begin + 1))" /tmp/whole.ppm | busybox head -c "$((row * (last - first)))"
} >"$out"
busybox rm /tmp/whole.ppm
