//! Texts and descriptions from outside: read or refused, and never a panic.

use bmm_types::market::{JobSpec, Wire};
use proptest::prelude::*;

use super::super::{JobFile, Tasks};
use super::{build, folder};

const WHOLE: &str = r#"
name = "job"
app = "app.wasm"
args = ["{rows.start}", "{l}", "{task}"]
canonical_nans = true
[inputs]
"scene.txt" = "scenes/cornell.txt"
[split]
rows = { range = "-5..10", chunk = 4 }
l = { lines = "data.txt" }
v = { values = ["a", "b"] }
f = { files = "frames/*.png" }
[output]
collect = "/out/{rows.index}.txt"
merge = "merge.wasm"
merge_args = ["x"]
[verify]
mode = "replicate"
n = 3
[limits]
memory = "64 MiB"
time = "10 s"
[budget]
max = "5 BMM"
deadline = "10 min"
"#;

/// Pieces that job files are made of, among them absurd ones.
fn piece() -> impl Strategy<Value = String> {
    let known = [
        "0",
        "-1",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551616",
        "1e400",
        "nan",
        "..",
        "\"\"",
        "{",
        "}",
        "{}",
        "{task}",
        "{rows.start.end}",
        "\"..\"",
        "\"/out/\"",
        "chunk = 0",
        "chunk = 18446744073709551615",
        "range = \"-9223372036854775808..9223372036854775807\"",
        "[[split]]",
        "[split.a.b]",
        "\n",
        "=",
        "\u{0}",
        "\u{feff}",
    ];
    prop_oneof![prop::sample::select(known.to_vec()).prop_map(str::to_owned), "[ -~\n]{0,6}", "\\PC{0,3}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn damaged_job_files_are_refused_or_built(edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, piece()), 1..4)) {
        let folder = folder();
        let mut text = WHOLE.to_owned();
        for (at, len, piece) in edits {
            let from = at.index(text.len());
            let from = (0..=from).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            let to = (from + len..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
            text.replace_range(from..to, &piece);
        }
        if let Ok(job) = build(&text, folder.path()) {
            let tasks = job.tasks().unwrap();
            for index in [0, tasks.count() / 2, tasks.count() - 1] {
                prop_assert!(tasks.task(index).is_some() && tasks.file_name(index).is_some());
            }
            prop_assert!(tasks.task(tasks.count()).is_none());
        }
    }

    #[test]
    fn any_text_is_refused_or_read(text in "\\PC{0,200}") {
        let _ = JobFile::parse(&text);
    }

    #[test]
    fn damaged_descriptions_are_refused_or_expanded(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let folder = folder();
        let job = build(WHOLE, folder.path()).unwrap();
        let mut bytes = job.spec.encode();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let Ok(spec) = JobSpec::decode(&bytes) else { return Ok(()) };
        if let Ok(tasks) = Tasks::new(&spec, |hash| job.contents.get(&hash).cloned()) {
            for index in [0, tasks.count() - 1] {
                prop_assert!(tasks.task(index).is_some() && tasks.file_name(index).is_some());
            }
        }
    }
}

#[test]
fn a_pattern_that_is_too_complicated_is_refused() {
    let pattern = format!("{}*{}", "{".repeat(3_000), "}".repeat(3_000));
    let text = format!("app = \"app.wasm\"\n[split]\nf = {{ files = \"{pattern}\" }}");
    assert!(build(&text, folder().path()).unwrap_err().to_string().contains("split.f.files"));
}

#[test]
fn places_are_right_however_many_keys_come_before() {
    let place = |text: &str| JobFile::parse(text).unwrap_err().at.map(|at| (at.line, at.column));
    let keys: String = (0..50_000).map(|number| number.to_string() + " = \"ä\"\n").collect::<Vec<_>>().concat();
    assert_eq!(place(&format!("app = \"a\"\n[inputs]\n{keys}\"ü\" = 5")), Some((50_003, 7)));
    assert_eq!(place("app = \"a\"\ninputs = { k = \"ä\", \"ü\" = 5 }"), Some((2, 27)));
    // An unknown key of the root is found after keys behind it were read.
    assert_eq!(place("app = \"a\"\nnam = 1\n[inputs]\nk = \"b\""), Some((2, 1)));
}

#[test]
fn deep_nesting_is_refused() {
    for (open, close) in [("[", "]"), ("{a=", "}")] {
        let text = format!("app = \"app.wasm\"\nargs = {}{}", open.repeat(100_000), close.repeat(100_000));
        assert!(JobFile::parse(&text).is_err());
    }
    assert!(JobFile::parse(&format!("app = \"x\"\n[{}]", vec!["a"; 100_000].join("."))).is_err());
}
