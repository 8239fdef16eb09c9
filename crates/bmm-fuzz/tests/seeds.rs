//! Every kept input goes through its target, as it does under libFuzzer.

use std::{fs, panic, path::Path};

#[test]
fn kept_inputs_hold() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    for (name, target) in bmm_fuzz::TARGETS {
        let mut inputs: Vec<_> = fs::read_dir(seeds.join(name)).expect("a folder of inputs").flatten().collect();
        inputs.sort_by_key(fs::DirEntry::file_name);
        assert!(inputs.len() >= 5, "{name}: {} inputs", inputs.len());
        for input in inputs {
            let bytes = fs::read(input.path()).expect("an input");
            let failed = panic::catch_unwind(|| target(&bytes)).is_err();
            assert!(!failed, "target {name} fails on {}", input.path().display());
        }
        target(&[]);
    }
}
