//! Job files as people write them, right and wrong.

mod errors;
mod expansion;
mod files;
mod hostile;

use std::path::Path;

/// The smallest WebAssembly module.
pub(super) const WASM: &[u8] = b"\0asm\x01\0\0\0";

/// A folder with a program and some inputs.
pub(super) fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, bytes: &[u8]| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    write("app.wasm", WASM);
    write("merge.wasm", WASM);
    write("scenes/cornell.txt", b"sphere 0 0 1");
    write("data.txt", b"one\ntwo\nthree\nfour\nfive");
    write("data.csv", b"id,name\n1,ann\n2,\"bob, jr\"\n3,eve\n");
    write("uneven.csv", b"id,name\n1\n");
    write("empty.txt", b"");
    write("script.sh", b"#!/bin/sh\n");
    write("native", b"\x7fELF\x02\x01\x01\0");
    for name in ["frames/a.png", "frames/b.png", "frames/c.jpg", "frames/deep/d.png"] {
        write(name, name.as_bytes());
    }
    folder
}

/// Parses and builds a job file.
pub(super) fn build(text: &str, base: &Path) -> Result<super::Job, super::JobError> {
    super::JobFile::parse(text)?.build(base)
}
