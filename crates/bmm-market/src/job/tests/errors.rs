//! What people read when a job file is wrong.

use std::fmt::Write as _;

use super::{build, folder};

/// A short name and a job file with one fault.
const WRONG: &[(&str, &str)] = &[
    ("not TOML", "app = \"app.wasm\"\nargs = [\"a\""),
    ("no app", "name = \"x\""),
    ("unknown key", "app = \"app.wasm\"\ninptus = 1"),
    ("unknown key far off", "app = \"app.wasm\"\n\n[budget]\nmax = \"1 BMM\"\nlatitude = 3"),
    ("unknown key in an axis", "app = \"app.wasm\"\n[split]\nrows = { rnge = \"0..3\" }"),
    ("environment", "app = \"app.wasm\"\nenv = { \"A=B\" = \"c\" }"),
    ("wrong type", "app = 5"),
    ("wrong type in a list", "app = \"app.wasm\"\nargs = [\"a\", 5]"),
    ("wrong type of a flag", "app = \"app.wasm\"\ndeterministic = \"yes\""),
    ("number instead of an amount", "app = \"app.wasm\"\n[budget]\nmax = 5"),
    ("missing file", "app = \"./missing.wasm\""),
    ("missing input", "app = \"app.wasm\"\n[inputs]\n\"scene.txt\" = \"scenes/none.txt\""),
    ("folder instead of a file", "app = \"scenes\""),
    ("budget too small", "app = \"app.wasm\"\n[budget]\nmax = \"0 BMM\""),
    ("budget of another coin", "app = \"app.wasm\"\n[budget]\nmax = \"5 EUR\""),
    ("script", "app = \"./script.sh\""),
    ("native program", "app = \"native\""),
    ("app of the registry", "app = \"pathtrace@1.2\""),
    ("image that is not there", "app = \"oci:./image.tar\""),
    ("image that is none", "app = \"oci:app.wasm\""),
    ("image with an entry", "app = \"oci:app.wasm\"\nentry = \"run\""),
    (
        "image with a stake",
        "app = \"oci:app.wasm\"\ndeterministic = true\n[verify]\nmode = \"audit\"\nstake = \"5 BMM\"",
    ),
    ("image that merges", "app = \"app.wasm\"\n[output]\nmerge = \"oci:./image.tar\""),
    ("audit of an image that says nothing", "app = \"oci:app.wasm\"\n[verify]\nmode = \"audit\""),
    ("module with workers", "app = \"app.wasm\"\n[cluster]\nworkers = 2"),
    ("too many workers", "app = \"oci:app.wasm\"\n[cluster]\nworkers = 65"),
    ("module with a GPU", "app = \"app.wasm\"\nneeds = { gpu = \"any\" }"),
    ("audit with operators", "app = \"app.wasm\"\n[verify]\nmode = \"audit\"\nn = 3"),
    ("audit of too much", "app = \"app.wasm\"\n[verify]\nmode = \"audit\"\nfloor = \"200 %\""),
    ("unknown need", "app = \"app.wasm\"\n[needs]\ncore = 4"),
    ("unknown feature", "app = \"app.wasm\"\n[needs]\nfeature = \"avx22\""),
    ("need of no size", "app = \"app.wasm\"\n[needs]\ngpu = \"big\""),
    ("no core", "app = \"app.wasm\"\nneeds = { cores = 0 }"),
    ("checker without a program", "app = \"app.wasm\"\n[verify]\nmode = \"checker\""),
    ("stake without comparing", "app = \"app.wasm\"\n[verify]\nmode = \"none\"\nstake = \"5 BMM\""),
    ("stake on NaNs", "app = \"app.wasm\"\n[verify]\nmode = \"audit\"\nstake = \"5 BMM\""),
    ("mode with a slip", "app = \"app.wasm\"\n[verify]\nmode = \"replicat\""),
    ("one operator", "app = \"app.wasm\"\n[verify]\nmode = \"replicate\"\nn = 1"),
    ("replicating chance", "app = \"app.wasm\"\ndeterministic = false\n[verify]\nmode = \"replicate\""),
    ("size without unit", "app = \"app.wasm\"\n[limits]\nmemory = \"256\""),
    ("size out of range", "app = \"app.wasm\"\n[limits]\nmemory = \"5 GiB\""),
    ("time in a wrong unit", "app = \"app.wasm\"\n[limits]\ntime = \"1 minute\""),
    ("fuel below zero", "app = \"app.wasm\"\n[limits]\nfuel = -1"),
    ("empty range", "app = \"app.wasm\"\n[split]\nrows = { range = \"5..5\" }"),
    ("no range", "app = \"app.wasm\"\n[split]\nrows = { range = \"5-9\" }"),
    ("chunk of nothing", "app = \"app.wasm\"\n[split]\nrows = { range = \"0..9\", chunk = 0 }"),
    ("two sources", "app = \"app.wasm\"\n[split]\nrows = { range = \"0..9\", values = [\"a\"] }"),
    ("too many tasks", "app = \"app.wasm\"\n[split]\na = { range = \"0..1000000\" }\nb = { range = \"0..1000000\" }"),
    ("value twice", "app = \"app.wasm\"\n[split]\na = { values = [\"x\", \"y\", \"x\"] }"),
    ("no lines", "app = \"app.wasm\"\n[split]\na = { lines = \"empty.txt\" }"),
    ("uneven csv", "app = \"app.wasm\"\n[split]\na = { csv = \"uneven.csv\" }"),
    ("no files", "app = \"app.wasm\"\n[split]\na = { files = \"frames/*.gif\" }"),
    ("two stdins", "app = \"app.wasm\"\n[split]\na = { lines = \"data.txt\" }\nb = { csv = \"data.csv\" }"),
    (
        "unknown placeholder",
        "app = \"app.wasm\"\nargs = [\"{rows.strat}\"]\n[split]\nrows = { range = \"0..9\", chunk = 2 }",
    ),
    ("open brace", "app = \"app.wasm\"\nargs = [\"{rows\"]"),
    ("collect outside", "app = \"app.wasm\"\n[output]\ncollect = \"/tmp/x\""),
    ("unknown merge", "app = \"app.wasm\"\n[output]\nmerge = \"concatenate\""),
    ("merge arguments", "app = \"app.wasm\"\n[output]\nmerge_args = [\"a\"]"),
    ("input outside", "app = \"app.wasm\"\n[inputs]\n\"../x\" = \"data.txt\""),
    ("input is file and folder", "app = \"app.wasm\"\n[inputs]\n\"a\" = \"data.txt\"\n\"a/b\" = \"data.txt\""),
    ("output elsewhere", "app = \"app.wasm\"\n[output]\nfile = \"../x.png\""),
];

#[test]
fn every_fault_has_its_place_its_cause_and_its_remedy() {
    let folder = folder();
    let mut text = String::new();
    for (name, file) in WRONG {
        let error = build(file, folder.path()).expect_err(name);
        let cause = error.cause().replace(&folder.path().display().to_string(), "DIR");
        let hint = error.hint().replace(&folder.path().display().to_string(), "DIR");
        writeln!(text, "{name}\n  error: {cause}\n  hint:  {hint}").unwrap();
    }
    insta::assert_snapshot!(text);
}
