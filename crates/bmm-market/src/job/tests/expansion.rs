//! Numbers to tasks: each combination once, in the order of writing.

use proptest::prelude::*;

use super::super::{AxisSource, JobFile};
use super::folder;

fn source(kind: u8, len: u8) -> (AxisSource, Vec<String>) {
    let len = i64::from(len);
    if kind == 0 {
        (AxisSource::Range { start: -2, end: len - 2, chunk: 1 }, (-2..len - 2).map(|i| i.to_string()).collect())
    } else {
        let values: Vec<String> = (0..len).map(|i| format!("v{i}")).collect();
        (AxisSource::Values(values.clone()), values)
    }
}

proptest! {
    #[test]
    fn tasks_are_the_product_row_by_row(shape in prop::collection::vec((0u8..2, 1u8..5), 1..5)) {
        let folder = folder();
        let mut job = JobFile::new("app.wasm");
        let mut expected: Vec<Vec<String>> = vec![vec![]];
        for (number, (kind, len)) in shape.into_iter().enumerate() {
            let (source, values) = source(kind, len);
            job.split.push((format!("a{number}"), source));
            job.args.push(format!("{{a{number}}}"));
            expected = expected
                .into_iter()
                .flat_map(|row| values.iter().map(move |value| [row.clone(), vec![value.clone()]].concat()))
                .collect();
        }
        let tasks = job.build(folder.path()).unwrap().tasks().unwrap();
        let all: Vec<Vec<String>> = (0..tasks.count()).map(|index| tasks.task(index).unwrap().args).collect();
        prop_assert_eq!(all, expected);
    }

    #[test]
    fn chunks_cover_a_range_without_overlap(start in -1000i64..1000, len in 1i64..500, chunk in 1u64..70) {
        let folder = folder();
        let mut job = JobFile::new("app.wasm");
        job.split.push(("i".into(), AxisSource::Range { start, end: start + len, chunk }));
        job.args = vec!["{i.start}".into(), "{i.end}".into()];
        let tasks = job.build(folder.path()).unwrap().tasks().unwrap();
        let mut at = start;
        for index in 0..tasks.count() {
            let args = tasks.task(index).unwrap().args;
            prop_assert_eq!(args[0].parse::<i64>().unwrap(), at);
            at = args[1].parse().unwrap();
        }
        prop_assert_eq!(at, start + len);
    }
}

#[test]
fn a_thousand_million_tasks_cost_nothing_until_asked_for() {
    let folder = folder();
    let mut job = JobFile::new("app.wasm");
    job.split.push(("x".into(), AxisSource::Range { start: 0, end: 1_000_000, chunk: 1 }));
    job.split.push(("y".into(), AxisSource::Range { start: 0, end: 1_000, chunk: 1 }));
    job.args = vec!["{x}".into(), "{y}".into(), "{task}".into()];
    let tasks = job.build(folder.path()).unwrap().tasks().unwrap();
    assert_eq!(tasks.task(999_999_999).unwrap().args, ["999999", "999", "999999999"]);
    job.split[1].1 = AxisSource::Range { start: 0, end: 1_001, chunk: 1 };
    assert!(job.build(folder.path()).unwrap_err().to_string().contains("larger chunks"));
}

#[test]
fn arguments_do_not_grow_beyond_what_any_sandbox_takes() {
    let folder = folder();
    let mut job = JobFile::new("app.wasm");
    job.split.push(("v".into(), AxisSource::Values(vec!["x".repeat(60_000)])));
    job.args = vec!["{v}".repeat(20_000); 100];
    let tasks = job.build(folder.path()).unwrap().tasks().unwrap();
    let bytes: usize = tasks.task(0).unwrap().args.iter().map(String::len).sum();
    assert!((2 << 20..3 << 20).contains(&bytes), "{bytes} bytes");
}

#[test]
fn values_name_files_only_if_they_are_all_different_and_usable() {
    let folder = folder();
    let mut job = JobFile::new("app.wasm");
    job.collect = "/out/{v}.txt".into();
    job.merge = "folder".into();
    let mut names = |values: [&str; 2]| {
        job.split = vec![("v".into(), AxisSource::Values(values.map(str::to_owned).to_vec()))];
        let tasks = job.build(folder.path()).unwrap().tasks().unwrap();
        [0, 1].map(|index| tasks.file_name(index).unwrap())
    };
    let numbered = ["00000000.txt", "00000001.txt"];
    assert_eq!(names(["a", "b"]), ["a.txt", "b.txt"]);
    assert_eq!(names(["a", "../b"]), numbered);
    assert_eq!(names(["a", "a.txt/b"]), numbered);
    assert_eq!(names(["00000001", "\\"]), numbered);
}

#[test]
fn more_results_than_a_merging_program_can_be_given_are_refused_before_they_are_paid() {
    let folder = folder();
    let mut job = JobFile::new("app.wasm");
    job.merge = "./merge.wasm".into();
    job.split.push(("i".into(), AxisSource::Range { start: 0, end: 65_536, chunk: 1 }));
    assert!(job.build(folder.path()).is_ok());
    job.inputs.push(("scene.txt".into(), "scenes/cornell.txt".into()));
    assert!(job.build(folder.path()).unwrap_err().to_string().contains("output.merge"));
    job.merge = "concat".into();
    assert!(job.build(folder.path()).is_ok());
}
