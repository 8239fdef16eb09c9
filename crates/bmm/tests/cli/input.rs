//! Bad input: one clear message each, with what to do about it.

use crate::{
    chain::Chain,
    programs::{job, worker},
    run::Bmm,
};
use std::net::TcpListener;

/// What `bmm run` says to a job file, without the test's own paths.
fn told(bmm: &Bmm, file: &str) -> String {
    bmm.bytes("app.wasm", &worker(1_000));
    let path = bmm.file("job.toml", file);
    let told = bmm.fails(1, &["run", path.to_str().expect("UTF-8")]);
    redact(bmm, &told)
}

fn redact(bmm: &Bmm, text: &str) -> String {
    text.replace(bmm.dir.path().to_str().expect("UTF-8"), "DIR").trim_end().to_owned()
}

#[test]
fn wrong_job_files_are_told_with_the_place_and_the_remedy() {
    let bmm = Bmm::new();
    let told = |file: &str| told(&bmm, file);
    insta::assert_snapshot!(told("app = \"./app.wasm\"\n[limit]\ntime = \"1 s\"\n"), @r#"
    error: DIR/job.toml: line 2, column 2: unknown key `limit`
    hint: did you mean `limits`? valid here: `name`, `app`, `args`, `env`, `entry`, `canonical_nans`, `deterministic`, `inputs`, `split`, `output`, `verify`, `limits`, `needs`, `cluster`, `budget`
    "#);
    insta::assert_snapshot!(told("app = \"./app.wasm\"\n[limits]\nmemroy = \"1 MiB\"\n"), @r#"
    error: DIR/job.toml: line 3, column 1: unknown key `memroy` in [limits]
    hint: did you mean `memory`? valid here: `memory`, `time`, `output`, `fuel`, `files`
    "#);
    insta::assert_snapshot!(told("app = \"./app.wasm\"\nargs = \"--fast\"\n"), @r#"
    error: DIR/job.toml: line 2, column 8: `args` is a text, but a list of texts in quotes is expected
    hint: write for example: args = ["--rows", "{rows.start}..{rows.end}"]
    "#);
    insta::assert_snapshot!(told("app = \"./app.wasm\"\n[limits]\ntime = 60\n"), @r#"
    error: DIR/job.toml: line 3, column 8: `limits.time` is an integer, but a text in quotes is expected
    hint: write for example: time = "60 s"
    "#);
    insta::assert_snapshot!(told("app = \"./app.wasm\"\n[limits]\ntime = \"60 sec\"\n"), @r#"
    error: DIR/job.toml: line 3, column 8: `limits.time` is "60 sec": it is not a whole number with a unit
    hint: write for example: time = "60 s"
    "#);
    insta::assert_snapshot!(told("app = \"./app.wasm\"\n[budget]\nmax = \"five BMM\"\n"), @r#"
    error: DIR/job.toml: line 3, column 7: `budget.max` is "five BMM": it is not an amount of BMM
    hint: write a decimal number and the unit, for example: max = "5 BMM"
    "#);
    insta::assert_snapshot!(told("app = \"./app.wasm\"\n[budget]\nmax = \"-1 BMM\"\n"), @r#"
    error: DIR/job.toml: line 3, column 7: `budget.max` is "-1 BMM": it is not an amount of BMM
    hint: write a decimal number and the unit, for example: max = "5 BMM"
    "#);
    insta::assert_snapshot!(told("app = \"./app.wasm\"\n[inputs]\n\"a.txt\" = \"missing.txt\"\n"), @r#"
    error: DIR/job.toml: line 3, column 1: `inputs."a.txt"` names DIR/missing.txt, which cannot be read: there is no such file
    hint: paths are relative to the job file's folder; check the spelling and the rights
    "#);
    insta::assert_snapshot!(told("app = \"./nothing.wasm\"\n"), @r#"
    error: DIR/job.toml: line 1, column 1: `app` names DIR/./nothing.wasm, which cannot be read: there is no such file
    hint: paths are relative to the job file's folder; check the spelling and the rights
    "#);
    insta::assert_snapshot!(told("app = \"./job.toml\"\n"), @r#"
    error: DIR/job.toml: line 1, column 1: `app` names DIR/./job.toml, which is not a WebAssembly module: its first bytes are not \0asm
    hint: compile the program for wasm32-wasip1 or wasm32-wasip2 and name the .wasm file
    "#);
    insta::assert_snapshot!(told("name = \"no-app\"\n"), @r#"
    error: DIR/job.toml: line 1, column 1: `app` is missing
    hint: add for example: app = "./app.wasm"
    "#);
    insta::assert_snapshot!(told("app = \"./app.wasm\"\nargs = [\"{row.start}\"]\n[split]\nrows = { range = \"0..9\" }\n"), @r#"
    error: DIR/job.toml: line 2, column 1: `args` has the placeholder {row.start}, which does not exist
    hint: did you mean `rows.start`? known here: `rows`, `rows.start`, `rows.end`, `rows.index`, `task`; write {{ and }} for braces
    "#);
    insta::assert_snapshot!(told("app = \"./app.wasm\"\n[split]\nrows = { range = \"9..0\" }\n"), @r#"
    error: DIR/job.toml: line 3, column 18: `split.rows.range` is "9..0": it is empty (the end is not part of a range)
    hint: write for example: range = "0..1080"
    "#);
    insta::assert_snapshot!(told("app = \"./app.wasm\"\n[verify]\nmode = \"audti\"\n"), @r#"
    error: DIR/job.toml: line 3, column 8: `verify.mode` is "audti": there is no such mode
    hint: did you mean "audit"? valid: "none", "replicate", "audit", "checker"
    "#);
    insta::assert_snapshot!(told("app = \"./app.wasm\"\n[output]\nmerge = \"concta\"\n"), @r#"
    error: DIR/job.toml: line 3, column 1: `output.merge` is "concta": there is no such way to merge
    hint: did you mean "concat"? valid: "concat", "folder", or a program such as "./merge.wasm"
    "#);
    insta::assert_snapshot!(told("app = \"./app.wasm\n"), @r#"
    error: DIR/job.toml: line 1, column 18: the job file is not valid TOML: invalid basic string, expected `"`
    hint: see https://toml.io for the format
    "#);
    assert!(!bmm.data().join("chains").exists() && !bmm.data().join("jobs").exists(), "nothing was begun");
}

#[test]
fn wrong_commands_are_told_with_the_remedy() {
    let bmm = Bmm::new();
    let app = bmm.bytes("app.wasm", &worker(1_000));
    let app = app.to_str().expect("UTF-8");
    let job_file = job(&bmm, &worker(100_000_000), 1_000, "");
    let job_file = job_file.to_str().expect("UTF-8");
    let told = |code, args: &[&str]| redact(&bmm, &bmm.fails(code, &[&["run"], args].concat()));
    insta::assert_snapshot!(told(1, &["missing.toml"]), @r#"
    error: cannot read the job file missing.toml: No such file or directory (os error 2)
    hint: check the path; examples/ has job files to start from
    "#);
    insta::assert_snapshot!(told(1, &[app]), @r#"
    error: cannot read the job file DIR/app.wasm: stream did not contain valid UTF-8
    hint: a job file is TOML in UTF-8; to run a program without one use --app
    "#);
    insta::assert_snapshot!(told(1, &["."]), @r#"
    error: cannot read the job file .: Is a directory (os error 21)
    hint: name the job file in it, for example job.toml
    "#);
    insta::assert_snapshot!(told(1, &[job_file, "--budget", "0 BMM"]), @r#"
    error: --budget is 0 BMM: nothing can be paid from it
    hint: raise it, for example --budget '5 BMM'
    "#);
    insta::assert_snapshot!(told(2, &[job_file, "--budget", "5 EUR"]), @r#"
    error: invalid value '5 EUR' for '--budget <AMOUNT>': "5 EUR" is not an amount of BMM: it is not a plain decimal number; write for example "5 BMM" or "0.25 BMM"

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(told(1, &["--app", "./missing.wasm"]), @r#"
    error: `app` names ./missing.wasm, which cannot be read: there is no such file
    hint: check the spelling and the rights; paths are relative to the current folder
    "#);
    insta::assert_snapshot!(told(1, &["--app", app, "--input", "scene.txt"]), @r#"
    error: --input "scene.txt" is not NAME=FILE
    hint: for example --input scene.txt=scenes/a.txt
    "#);
    insta::assert_snapshot!(told(1, &["--app", app, "--", "{lines.start}"]), @r#"
    error: `args` has the placeholder {lines.start}, which does not exist
    hint: known here: `task`; write {{ and }} for braces
    "#);
    insta::assert_snapshot!(told(2, &["--app", app, "--lines", "job.toml", "--chunk", "0"]), @r#"
    error: invalid value '0' for '--chunk <N>': 0 is not in 1..18446744073709551615

    For more information, try '--help'.
    "#);
    let small = told(1, &[job_file, "--budget", "0.01 BMM"]);
    assert!(small.contains("budget.max = \"0.01 BMM\" is too small: 1000 tasks will cost about"), "{small}");
    assert!(small.contains("hint: raise budget.max to"), "{small}");
    let free = bmm.file("free.toml", "app = \"./app.wasm\"\n[budget]\nprice = \"0.0001 BMM\"\n");
    insta::assert_snapshot!(told(1, &[free.to_str().expect("UTF-8")]), @r#"
    error: no provider matches: budget.price is 0.0001 BMM a Gfuel, the providers here ask 0.001 BMM
    hint: raise budget.price, or lower provide.price_per_gfuel in the configuration
    "#);
    insta::assert_snapshot!(told(1, &["--app", app, "--replicate", "3", "--providers", "2"]), @r#"
    error: each task is to run on 3 different providers, but there are 2
    hint: start more with --providers 3, or lower verify.n (or --replicate)
    "#);
    let merged = "app = \"./app.wasm\"\n[split]\nn = { range = \"0..70000\" }\n[output]\nmerge = \"./app.wasm\"\n";
    let merged = bmm.file("merged.toml", merged);
    insta::assert_snapshot!(told(1, &[merged.to_str().expect("UTF-8")]), @r#"
    error: DIR/merged.toml: line 5, column 1: `output.merge` is "./app.wasm": a merging program gets at most 65536 files, these are 70000
    hint: use larger chunks, or merge = "concat"
    "#);
    assert!(!bmm.data().join("jobs").exists(), "nothing was begun");
}

#[test]
fn a_budget_over_the_wallet_and_a_wallet_that_is_not_there_are_told() {
    let bmm = Bmm::new();
    let job_file = job(&bmm, &worker(1_000), 4, "");
    let job_file = job_file.to_str().expect("UTF-8");
    let told = bmm.fails(1, &["run", job_file, "--budget", "900000000 BMM"]);
    assert!(
        told.contains("budget.max is 900000000 BMM")
            && told.contains("but the wallet 0x")
            && told.contains("hint: lower budget.max"),
        "{told}"
    );
    // A little more than genesis gave and than blocks bring while the test runs.
    let told = bmm.fails(1, &["run", job_file, "--budget", "27810000 BMM"]);
    assert!(told.contains("hint:"), "{told}");
    let told = bmm.fails(1, &["run", job_file, "--wallet", "nobody"]);
    assert!(told.contains("there is no wallet nobody") && told.contains("hint: `bmm wallet list`"), "{told}");
    assert_eq!(bmm.json(&["job", "list"])["jobs"], serde_json::json!([]), "nothing was begun");
}

#[test]
fn a_port_or_a_data_folder_in_use_is_told() {
    let bmm = Bmm::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let told = bmm.fails(2, &["up", "--listen", &address]);
    assert!(
        told.contains(&format!("cannot listen on {address}"))
            && told.contains("hint: choose another port with --listen"),
        "{told}"
    );

    let chain = Chain::up(&bmm);
    let told = bmm.fails(2, &["up", "--listen", "127.0.0.1:0"]);
    assert!(told.contains("is in use by the node with process id") && told.contains("--data"), "{told}");
    // The node that runs is not disturbed, and is the one that a job uses.
    let job_file = job(&bmm, &worker(1_000), 4, "");
    let receipt = bmm.json(&["run", job_file.to_str().expect("UTF-8")]);
    assert!(chain.rpc.receipt(crate::chain::read(&receipt, "transaction")).expect("an answer").is_some());
}

#[test]
fn a_data_folder_that_cannot_be_read_is_told() {
    let bmm = Bmm::new();
    let job_file = job(&bmm, &worker(1_000), 4, "");
    let job_file = job_file.to_str().expect("UTF-8");
    let chain = bmm.data().join("chains/dev");
    std::fs::create_dir_all(chain.join("db")).expect("made");
    std::fs::write(chain.join("genesis.toml"), "name = 3").expect("written");
    let told = bmm.fails(2, &["run", job_file]);
    assert!(told.contains("genesis.toml") && told.contains("hint:"), "{told}");
    std::fs::remove_file(chain.join("genesis.toml")).expect("removed");
    std::fs::write(chain.join("db/chain.redb"), "not a database at all").expect("written");
    let told = bmm.fails(2, &["run", job_file]);
    assert!(told.contains("chain") && !told.contains("panicked"), "{told}");
    let file = bmm.file("no-folder", "");
    let told = bmm.fails(70, &["job", "list", "--data", file.to_str().expect("UTF-8")]);
    assert!(told.contains("no-folder"), "{told}");
}

#[test]
fn a_chain_of_other_rules_is_told() {
    let bmm = Bmm::new();
    drop(Chain::up(&bmm));
    let genesis = bmm.data().join("chains/dev/genesis.toml");
    let text = std::fs::read_to_string(&genesis).expect("parameters");
    std::fs::write(&genesis, text.replace("chain_id = 20191", "chain_id = 20192")).expect("written");
    let told = bmm.fails(2, &["up", "--listen", "127.0.0.1:0"]);
    assert!(told.contains("holds the chain with parameters 0x") && told.contains("choose another folder"), "{told}");
}
