//! The examples and tables of docs/jobs.md are what they say.

use bmm_market::job::{JobFault, JobFile};
use std::path::Path;

const PAGE: &str = include_str!("../../../../docs/jobs.md");

/// The blocks of TOML, each as a whole job file: pieces of one show their own keys alone.
fn examples() -> Vec<String> {
    let blocks = PAGE.split("```toml\n").skip(1).map(|rest| rest.split("```").next().expect("a block that ends"));
    let whole = |block: &str| {
        if block.contains("app = ") { block.to_owned() } else { format!("app = \"./app.wasm\"\n{block}") }
    };
    blocks.map(whole).collect()
}

/// Makes the files that the examples name.
fn make_files(dir: &Path) {
    let module = b"\0asm\x01\0\0\0";
    let mut image = [0; 512];
    image[257..262].copy_from_slice(b"ustar");
    let files: [(&str, &[u8]); 14] = [
        ("job/images/build/povray.tar", &image),
        ("job/app.wasm", module),
        ("job/words.wasm", module),
        ("job/pathtrace.wasm", module),
        ("job/merge.wasm", module),
        ("job/interpreter.wasm", module),
        ("job/library.zip", b"PK"),
        ("job/src/measure.script", b"print"),
        ("job/book.txt", b"Call me Ishmael.\n"),
        ("job/scenes/still-life.txt", b"sphere"),
        ("job/stations.csv", b"name,height\nZugspitze,2962\nBrocken,1141\n"),
        ("job/frames/a.png", b"a"),
        ("job/frames/b.png", b"b"),
        ("textures/oak.png", b"oak"),
    ];
    for (name, bytes) in files {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, bytes).expect("written");
    }
}

#[test]
fn every_example_is_a_job() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    make_files(dir.path());
    let examples = examples();
    assert!(examples.len() >= 10, "the page has its examples");
    for example in examples {
        let file = JobFile::parse(&example).unwrap_or_else(|error| panic!("{error}\n{example}"));
        let job = file.build(&dir.path().join("job")).unwrap_or_else(|error| panic!("{error}\n{example}"));
        let tasks = job.tasks().unwrap_or_else(|error| panic!("{error}\n{example}"));
        let last = tasks.task(tasks.count() - 1).expect("the last task");
        assert!(last.args.iter().all(|arg| !arg.contains("{row") && !arg.contains("{task")), "{:?}", last.args);
    }
}

#[test]
fn every_key_has_its_row() {
    for section in ["", "output", "verify", "limits", "needs", "cluster", "budget"] {
        let header = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
        let error = JobFile::parse(&format!("app = \"./app.wasm\"\n{header}zzzzzzzz = 1")).expect_err("no such key");
        let JobFault::UnknownKey { known, .. } = error.fault.as_ref() else { panic!("{error}") };
        for key in known {
            let named = [format!("| `{key}` |"), format!("## `[{key}]`"), format!("| `{key}` (")];
            let in_verify = section == "verify" && PAGE.contains(&format!("`{key}`"));
            assert!(in_verify || named.iter().any(|named| PAGE.contains(named)), "{key} of [{section}] has no row");
        }
    }
}

#[test]
fn the_defaults_are_as_written() {
    let file = JobFile::new("./app.wasm");
    for (key, value) in [
        ("memory", "\"256 MiB\""),
        ("time", "\"60 s\""),
        ("output", "\"64 MiB\""),
        ("files", "1024"),
        ("collect", "\"stdout\""),
        ("merge", "\"concat\""),
        ("max", "\"1 BMM\""),
        ("deadline", "\"1 h\""),
    ] {
        let section = match key {
            "collect" | "merge" => "output",
            "max" | "deadline" => "budget",
            _ => "limits",
        };
        let (_, part) = PAGE.split_once(&format!("## `[{section}]`")).expect("a part of the page");
        let row = part.lines().find(|line| line.starts_with(&format!("| `{key}` |"))).expect("a row");
        assert!(row.contains(&format!("| `{value}` |")), "{row}");
        let written = JobFile::parse(&format!("app = \"./app.wasm\"\n[{section}]\n{key} = {value}\n")).expect("valid");
        let what = |file: &JobFile| (file.limits, file.budget, file.collect.clone(), file.merge.clone());
        assert_eq!(what(&written), what(&file), "{key}");
    }
}
