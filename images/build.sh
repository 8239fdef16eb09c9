#!/usr/bin/env bash
# Builds a container image out of packages of Debian and PyPI: images/build.sh NAME [FILE.tar]
#
# The image is an OCI layout in a tar archive with one layer, compressed by zstd. The same packages give the same bytes.
set -euo pipefail
cd "$(dirname "$0")"

name=${1:-}
recipe=$name/recipe.sh
[ -n "$name" ] && [ -f "$recipe" ] || {
    echo "usage: images/build.sh NAME [FILE.tar]; NAME is one of:" */recipe.sh | sed 's|/recipe.sh||g' >&2
    exit 2
}
case ${2:-} in
    '') mkdir -p build && out=$PWD/build/$name.tar ;;
    /*) out=$2 ;;
    *) out=$OLDPWD/$2 ;;
esac
for program in mmdebstrap zstd sha256sum tar; do
    command -v "$program" >/dev/null || { echo "$program was not found (Debian: apt-get install mmdebstrap zstd)" >&2; exit 1; }
done

mirror=${BMM_DEBIAN:-http://deb.debian.org}
python=3.11 # of this release of Debian
work=$(mktemp -d "${TMPDIR:-/tmp}/bmm-image.XXXXXX")
trap 'rm -rf "$work"' EXIT
root=$work/root
libraries=$root/usr/local/lib/python$python/dist-packages

# Puts the Python packages of a file of requirements into the image, as its interpreter would.
pip_install() {
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-compile --no-deps \
        --implementation cp --python-version "$python" --abi "cp${python/./}" --abi abi3 --abi none --only-binary=:all: \
        --platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux_2_27_x86_64 \
        --platform manylinux_2_28_x86_64 --platform any --target "$libraries" -r "$1"
}

# What a recipe may set or define.
packages=() entry=() env=()
prepare() { :; }
# shellcheck source=/dev/null
. "$recipe"

echo "$name: packages of Debian" >&2
mmdebstrap --quiet --mode="$([ "$(id -u)" = 0 ] && echo root || echo unshare)" --variant=extract \
    --include="$(IFS=,; echo "${packages[*]}")" bookworm "$root" \
    "deb $mirror/debian bookworm main" "deb $mirror/debian-security bookworm-security main" >&2

echo "$name: recipe" >&2
prepare

# Left out: what is for people (licences stay), the package manager's state, tests.
find "$root/usr/share/doc" -type f ! -iname 'copyright*' ! -iname '*licen[cs]e*' -delete
find "$root/usr/share/doc" -xtype l -delete
rm -rf "$root"/usr/share/{man,info,locale,lintian,bug,doc-base,bash-completion,menu,pixmaps,applications,icons,help} \
    "$root"/var/{cache,lib,log,tmp}/* "$root"/usr/share/zsh "$root"/etc/apt "$root"/boot "$root"/home "$root"/media "$root"/mnt
if [ -d "$libraries" ]; then
    rm -rf "$libraries/bin"
    find "$libraries" -type d \( -name tests -o -name __pycache__ \) -prune -exec rm -rf {} +
    find "$libraries" -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name direct_url.json -o -name RECORD \) -delete
fi
if [ -x "$root/usr/bin/python$python" ]; then
    # Compiled once here, rather than by every task; by content, so that times do not matter.
    chroot "$root" "/usr/bin/python$python" -m compileall -q --invalidation-mode unchecked-hash \
        /usr/lib/python3 "/usr/lib/python$python" /usr/local/lib >/dev/null || true
fi
find "$root" -type d -empty -path '*/usr/share/*' -delete
find "$root/dev" "$root/proc" "$root/run" -mindepth 1 -delete 2>/dev/null || true
mkdir -p "$root"/{in,out,proc,dev,tmp,sys}
# Who is who, for programs that ask: the only user, and the only network.
echo 'root:x:0:0:root:/tmp:/bin/sh' >"$root/etc/passwd"
echo 'root:x:0:' >"$root/etc/group"
echo 'hosts: files' >"$root/etc/nsswitch.conf"
echo '127.0.0.1 localhost bmm' >"$root/etc/hosts"

echo "$name: archive" >&2
layout=$work/layout
mkdir -p "$layout/blobs/sha256"
pack() { tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=gnu -C "$1" -cf - .; }
# Moves a file among the blobs by its digest, which it prints.
blob() {
    local hex
    hex=$(sha256sum "$1" | cut -d' ' -f1)
    mv "$1" "$layout/blobs/sha256/$hex"
    echo "$hex"
}
# Prints the words given as a list of JSON.
list() {
    local text='' word
    for word in "$@"; do word=${word//\\/\\\\} text+=",\"${word//\"/\\\"}\""; done
    echo "[${text#,}]"
}
size() { stat -c %s "$layout/blobs/sha256/$1"; }

pack "$root" | tee >(sha256sum | cut -d' ' -f1 >"$work/diff") | zstd -q -T2 -9 -o "$work/layer"
layer=$(blob "$work/layer")
while [ ! -s "$work/diff" ]; do sleep 0.1; done
cat >"$work/config" <<JSON
{"architecture":"amd64","os":"linux","config":{"Entrypoint":$(list "${entry[@]}"),"Env":$(list "${env[@]}"),"WorkingDir":"/tmp"},"rootfs":{"type":"layers","diff_ids":["sha256:$(cat "$work/diff")"]}}
JSON
config=$(blob "$work/config")
type=application/vnd.oci.image
cat >"$work/manifest" <<JSON
{"schemaVersion":2,"mediaType":"$type.manifest.v1+json","config":{"mediaType":"$type.config.v1+json","digest":"sha256:$config","size":$(size "$config")},"layers":[{"mediaType":"$type.layer.v1.tar+zstd","digest":"sha256:$layer","size":$(size "$layer")}]}
JSON
manifest=$(blob "$work/manifest")
echo '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
cat >"$layout/index.json" <<JSON
{"schemaVersion":2,"manifests":[{"mediaType":"$type.manifest.v1+json","digest":"sha256:$manifest","size":$(size "$manifest"),"annotations":{"org.opencontainers.image.ref.name":"$name"}}]}
JSON
pack "$layout" >"$out.part"
mv "$out.part" "$out"
echo "$out: $(du -m "$out" | cut -f1) MB, unpacked $(du -sm "$root" | cut -f1) MB, sha256 $(sha256sum "$out" | cut -d' ' -f1)"
