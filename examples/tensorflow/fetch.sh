#!/bin/sh
# Fetches Fashion-MNIST (70,000 small pictures of clothes in ten kinds; Debian's dataset-fashion-mnist, 31 MB) into data/.
set -eu
cd "$(dirname "$0")"
[ -f data/train-images-idx3-ubyte.gz ] && exit 0
part=$(mktemp -d)
trap 'rm -rf "$part"' EXIT
chmod 755 "$part"
(cd "$part" && apt-get download -qq dataset-fashion-mnist && dpkg -x dataset-fashion-mnist_*.deb files)
rm -rf data
mv "$part/files/usr/share/datasets/fashion-mnist" data
