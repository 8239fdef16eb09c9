#!/usr/bin/env bash
# Builds the framework images and runs their examples by the binary named (or `bmm`): needs root, runc, mmdebstrap, zstd.
set -euo pipefail
cd "$(dirname "$0")/.."
bmm=${1:-bmm}
data=$(mktemp -d)
trap 'rm -rf "$data"' EXIT

step() { printf -- '-- %s (%s)\n' "$1" "$(date +%H:%M:%S)"; }
run() {
    local begun
    begun=$(date +%s)
    "$bmm" --data "$data/bmm" run "$1" --providers 2 --out "$2"
    echo "$1: $(($(date +%s) - begun)) s"
}

for name in tensorflow spark; do
    step "image $name"
    images/build.sh "$name"
done

step "TensorFlow: train"
examples/tensorflow/fetch.sh
rm -rf examples/tensorflow/model
run examples/tensorflow/train.toml examples/tensorflow/model
step "TensorFlow: use"
run examples/tensorflow/predict.toml "$data/clothes"
# Of 10,000 pictures at least 8,500 are told right.
awk -F, '$2 == $3 { right++ } END { print right " of " NR " right"; exit !(NR == 10000 && right >= 8500) }' "$data/clothes/clothes.csv"

step "Spark"
run examples/spark/job.toml "$data/visits"
cat "$data/visits/visits.json"
grep -q '"executors": 2' "$data/visits/visits.json"
