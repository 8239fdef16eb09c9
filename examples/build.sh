#!/bin/sh
# Compiles all example apps for the sandbox and puts each module beside its job file.
# Needs: rustup target add wasm32-wasip1
set -eu
cd "$(dirname "$0")"
export CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS="-C target-feature=+simd128,+bulk-memory --remap-path-prefix $PWD=/examples --remap-path-prefix ${CARGO_HOME:-$HOME/.cargo}=/cargo"
cargo build --release --target wasm32-wasip1 "$@"
modules="${CARGO_TARGET_DIR:-target}/wasm32-wasip1/release"
cp "$modules/pathtrace.wasm" "$modules/merge.wasm" render/
cp "$modules/survey.wasm" survey/
cp "$modules/words.wasm" text/
cp "$modules/kernels.wasm" kernels/
