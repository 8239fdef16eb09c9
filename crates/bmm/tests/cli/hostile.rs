//! Programs that mean harm, run as a user runs them: each ends with its own reason, and the data folder is as good as before.

use crate::{
    chain::{Chain, read, units},
    programs::{harmful_at_zero, job, program, worker},
    run::{Bmm, Ran},
};
use serde_json::Value;
use std::{fmt::Write as _, path::Path};

struct Hostile {
    /// Definitions beside `_start`.
    definitions: &'static str,
    /// What it does.
    harm: &'static str,
    /// Lines of the job file.
    limits: &'static str,
    /// The reason that it ends with, and words of the message.
    ends: (&'static str, &'static str),
}

const HOSTILE: [Hostile; 8] = [
    Hostile {
        definitions: "",
        harm: "(loop $forever (br $forever))",
        limits: "[limits]\ntime = \"300 ms\"",
        ends: ("limit:time", "longer than its time limit"),
    },
    Hostile {
        definitions: "",
        harm: "(loop $forever (br $forever))",
        limits: "[limits]\nfuel = 1_000_000",
        ends: ("limit:fuel", "more fuel than its limit"),
    },
    Hostile {
        definitions: "",
        harm: "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable",
        limits: "[limits]\nmemory = \"16 MiB\"",
        ends: ("limit:memory", "more memory than its limit"),
    },
    Hostile {
        definitions: "",
        harm: "(loop $more (call $put (i32.const 1) (i32.const 64) (i32.const 60000)) (br $more))",
        limits: "[limits]\noutput = \"1 MiB\"",
        ends: ("limit:output", "more output than its limit"),
    },
    Hostile {
        definitions: "(func $deep (call $deep) (call $deep))",
        harm: "(call $deep)",
        limits: "",
        ends: ("limit:stack_overflow", "calls went too deep"),
    },
    Hostile { definitions: "", harm: "unreachable", limits: "", ends: ("trap:unreachable", "the program aborted") },
    Hostile {
        definitions: "",
        harm: "(drop (i32.load (i32.const -4)))",
        limits: "",
        ends: ("trap:memory_out_of_bounds", "outside its memory"),
    },
    Hostile {
        definitions: "(data (i32.const 64) \"scene.txt:3: no such colour\\n\")",
        harm: "(call $put (i32.const 2) (i32.const 64) (i32.const 28)) (call $exit (i32.const 1))",
        limits: "",
        ends: ("exit_code:1", "scene.txt:3: no such colour"),
    },
];

fn run(bmm: &Bmm, job: &Path) -> Ran {
    bmm.run(&["--json", "run", job.to_str().expect("UTF-8"), "--out", "out"])
}

fn error(ran: &Ran) -> Value {
    let object: Value =
        serde_json::from_str(&ran.stderr).unwrap_or_else(|error| panic!("no JSON on stderr ({error}): {ran:?}"));
    object["error"].clone()
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_else(|| panic!("no {field} in {object}"))
}

/// After all that, an honest job of the same folder is done and paid.
fn a_good_job_still_runs(bmm: &Bmm) {
    let ran = run(bmm, &job(bmm, &worker(1_000), 4, ""));
    assert_eq!((ran.code, &ran.json()["status"]), (0, &"settled".into()), "{ran:?}");
}

#[test]
fn a_program_that_fails_at_once_costs_nothing() {
    let bmm = Bmm::new();
    for Hostile { definitions, harm, limits, ends: (reason, words) } in HOSTILE {
        let ran = run(&bmm, &job(&bmm, &program(definitions, harm), 4, limits));
        let error = error(&ran);
        assert_eq!((ran.code, ran.stdout.as_str(), text(&error, "kind")), (3, "", "job"), "{ran:?}");
        let message = text(&error, "message");
        assert!(message.contains(&format!("({reason})")) && message.contains(words), "{message}");
        assert!(error["hints"][0].is_string(), "{error}");
    }
    assert_eq!(bmm.json(&["job", "list"])["jobs"], Value::Array(Vec::new()), "nothing was opened");
    a_good_job_still_runs(&bmm);
}

/// A program that does its harm in the first task alone gets past the quote: the market itself ends the job.
fn fails_in_the_market(hostile: &Hostile) {
    let bmm = Bmm::new();
    let app = harmful_at_zero(hostile.definitions, hostile.harm);
    let ran = run(&bmm, &job(&bmm, &app, 6, hostile.limits));
    let (reason, words) = hostile.ends;
    let receipt = ran.json();
    assert_eq!((ran.code, text(&receipt, "status")), (3, "failed"), "{ran:?}");
    let error = error(&ran);
    for told in [text(&error, "message"), text(&receipt, "ending")] {
        assert!(told.contains(reason) && told.contains(words) && told.contains("task 0"), "{told}");
    }
    let (done, failed): (u64, u64) = (read(&receipt, "done"), read(&receipt, "failed"));
    assert!(done < 6 && failed == 6 - done && receipt["outputs"] == Value::Array(Vec::new()), "{receipt}");
    let again = bmm.run(&["--json", "job", "resume", text(&receipt, "job")]);
    assert_eq!((again.code, again.json()), (3, receipt.clone()), "it stays failed");
    a_good_job_still_runs(&bmm);
    let money = Chain::up(&bmm).settled_once(read(&receipt, "job"));
    assert_eq!(money.paid, units(&receipt, "price_bmm"));
    assert_eq!(money.refunded, units(&receipt, "refunded_bmm"));
}

#[test]
fn a_program_that_fails_in_one_task_ends_the_job() {
    let some = [&HOSTILE[0], &HOSTILE[2], &HOSTILE[7]];
    std::thread::scope(|scope| some.iter().for_each(|hostile| drop(scope.spawn(|| fails_in_the_market(hostile)))));
}

#[test]
fn nothing_outside_the_mounts_can_be_opened() {
    const PATHS: [&str; 5] =
        ["/etc/passwd", "../etc/passwd", "../../../../../../etc/passwd", "./../../etc/passwd", "link/passwd"];
    let bmm = Bmm::new();
    let mut definitions = String::from(
        "(data (i32.const 64) \"refused\\n\") (data (i32.const 80) \"/etc\") (data (i32.const 96) \"../../../etc\") (data (i32.const 112) \"link\")
         (func $try (param $dir i32) (param $at i32) (param $len i32)
           (if (call $path_open (local.get $dir) (i32.const 1) (local.get $at) (local.get $len) (i32.const 0)
                 (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 12))
             (then (call $put (i32.const 1) (i32.const 64) (i32.const 8)))
             (else
               (i32.store (i32.const 0) (i32.const 40000)) (i32.store (i32.const 4) (i32.const 4096))
               (drop (call $fd_read (i32.load (i32.const 12)) (i32.const 0) (i32.const 1) (i32.const 8)))
               (call $put (i32.const 1) (i32.const 40000) (i32.load (i32.const 8))))))",
    );
    let mut start = String::from(
        "(drop (call $symlink (i32.const 80) (i32.const 4) (i32.const 4) (i32.const 112) (i32.const 4)))
         (drop (call $symlink (i32.const 96) (i32.const 12) (i32.const 4) (i32.const 112) (i32.const 4)))",
    );
    for (number, path) in PATHS.iter().enumerate() {
        let at = 256 + 64 * number;
        let _ = write!(definitions, "(data (i32.const {at}) \"{path}\")");
        for dir in [3, 4] {
            let _ = write!(start, "(call $try (i32.const {dir}) (i32.const {at}) (i32.const {}))", path.len());
        }
    }
    let ran = run(&bmm, &job(&bmm, &program(&definitions, &start), 1, ""));
    assert_eq!(ran.code, 0, "{ran:?}");
    let written = std::fs::read_to_string(bmm.dir.path().join("out/out.bin")).expect("the output");
    assert_eq!(written, "refused\n".repeat(2 * PATHS.len()));
}

#[test]
fn modules_that_are_none_are_refused_before_anything_is_paid() {
    let bmm = Bmm::new();
    let good = worker(1_000);
    let mut huge = good.clone();
    // A custom section of 140 MB: its id, its length (LEB128), its name's length.
    huge.extend([0, 0x80, 0xf8, 0xe0, 0x42]);
    huge.resize(huge.len() + 140_000_256, 0);
    let component = [&b"\0asm\x0d\0\x01\0"[..], &[0; 8]].concat();
    let imports =
        wat::parse_str("(module (import \"env\" \"system\" (func)) (func (export \"_start\")))").expect("well formed");
    let idle = wat::parse_str("(module)").expect("well formed");
    let cases = [
        (good[..good.len() / 2].to_vec(), "unexpected end"),
        (huge, "more than the 134217728 allowed"),
        (component, "component"),
        (imports, "system"),
        (idle, "_start"),
        (b"\x7fELF\x02\x01\x01\0\0\0".to_vec(), "native program"),
        (b"#!/bin/sh\n".to_vec(), "script"),
        (Vec::new(), "empty"),
    ];
    for (app, words) in cases {
        let ran = run(&bmm, &job(&bmm, &app, 4, ""));
        let error = error(&ran);
        assert_eq!((ran.code, ran.stdout.as_str(), text(&error, "kind")), (1, "", "user"), "{words}: {ran:?}");
        assert!(text(&error, "message").contains(words), "{words}: {error}");
        let remedy = text(&error, "message").contains("; ") || error["hints"][0].is_string();
        assert!(remedy, "{error}");
    }
    assert_eq!(bmm.json(&["job", "list"])["jobs"], Value::Array(Vec::new()), "nothing was opened");
}

#[test]
fn a_merging_program_that_fails_is_told_from_the_job_s_own() {
    let bmm = Bmm::new();
    let stderr = "(data (i32.const 64) \"part 3 is odd\\n\")";
    bmm.bytes(
        "merge.wasm",
        &program(stderr, "(call $put (i32.const 2) (i32.const 64) (i32.const 14)) (call $exit (i32.const 4))"),
    );
    let file = job(&bmm, &worker(1_000), 4, "merge = \"./merge.wasm\"");
    let ran = run(&bmm, &file);
    let receipt = ran.json();
    assert_eq!((ran.code, text(&receipt, "status")), (3, "failed"), "{ran:?}");
    let message = text(&error(&ran), "message").to_owned();
    assert!(
        message.contains("merging program") && message.contains("exit_code") && message.contains("part 3 is odd"),
        "{message}"
    );
    assert_eq!((&receipt["done"], &receipt["failed"]), (&4.into(), &0.into()), "the work itself is done and paid");
    assert!(!units(&receipt, "price_bmm").is_zero());
}
