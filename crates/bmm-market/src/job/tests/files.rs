//! Whole job files.

use bmm_types::Amount;
use bmm_types::market::{AxisKind, Collect, JobSpec, Merge, Verify, Wire};
use proptest::prelude::*;

use super::super::{AxisSource, JobFile};
use super::{build, folder};

const RENDER: &str = r#"
name = "cornell-box"
app  = "./app.wasm"
args = ["--scene", "/in/scene.txt", "--rows", "{rows.start}..{rows.end}", "--out", "/out/tile.ppm"]

[inputs]
"scene.txt" = "scenes/cornell.txt"

[split]
rows = { range = "0..1080", chunk = 16 }

[output]
collect = "/out/tile.ppm"
merge = "concat"

[verify]
mode = "replicate"
n = 3

[limits]
memory = "256 MiB"
time   = "60 s"
output = "64 MiB"
fuel = 10_000_000_000

[budget]
max      = "5 BMM"
deadline = "10 min"
price    = "0.01 BMM"
"#;

#[test]
fn a_folder_gives_every_file_in_it_and_absolute_paths_stay() {
    let folder = folder();
    let text = "app = \"app.wasm\"\nentry = \"run\"\nenv = { HOME = \"/out\", A = \"\" }\n[inputs]\n\
                data = \"scenes\"\n\"/usr/lib/x\" = \"data.txt\"\n";
    let spec = build(text, folder.path()).unwrap().spec;
    let paths: Vec<&str> = spec.inputs.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["data/cornell.txt", "/usr/lib/x"]);
    let env = [("HOME", "/out"), ("A", "")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!((spec.entry.as_str(), spec.env.as_slice()), ("run", &env[..]));
    assert_eq!(JobSpec::decode(&spec.encode()).as_ref(), Ok(&spec));
    let plain = JobSpec { env: Vec::new(), entry: String::new(), ..spec.clone() };
    assert_ne!(plain.work_hash(), spec.work_hash());
    for path in ["/in/x", "/out/x", "/", "/usr/../x", "//x"] {
        let text = format!("app = \"app.wasm\"\n[inputs]\n\"{path}\" = \"data.txt\"\n");
        assert!(build(&text, folder.path()).is_err(), "{path}");
    }
}

#[test]
fn the_documented_job_file_is_read() {
    let folder = folder();
    let job = build(RENDER, folder.path()).unwrap();
    let spec = &job.spec;
    assert_eq!((spec.name.as_str(), spec.tasks()), ("cornell-box", Ok(68)));
    assert_eq!((spec.verify, spec.limits.fuel), (Verify::Replicate(3), Some(10_000_000_000)));
    assert_eq!((spec.budget.max, spec.budget.deadline_seconds), (Amount::from_bmm(5), 600));
    assert_eq!((&spec.output.merge, spec.output.file.as_str()), (&Merge::Concat, "cornell-box.ppm"));
    assert_eq!(spec.inputs[0].path, "scene.txt");
    assert!(spec.contents().iter().all(|content| job.contents.contains_key(&content.hash)));
    assert_eq!(JobSpec::decode(&spec.encode()).as_ref(), Ok(spec));

    let tasks = job.tasks().unwrap();
    let last = tasks.task(67).unwrap();
    assert_eq!(last.args[3], "1072..1080");
    assert_eq!((last.collect.as_deref(), tasks.file_name(67).unwrap().as_str()), (Some("tile.ppm"), "00000067.ppm"));
    assert!(tasks.task(68).is_none());
}

#[test]
fn a_job_without_a_file_is_checked_like_one_with() {
    let folder = folder();
    let mut job = JobFile::new("app.wasm");
    job.split.push(("line".into(), AxisSource::Lines { path: "data.txt".into(), chunk: 2 }));
    let built = job.build(folder.path()).unwrap();
    assert_eq!((built.spec.name.as_str(), built.spec.tasks()), ("app", Ok(3)));
    assert_eq!((&built.spec.output.collect, built.spec.output.file.as_str()), (&Collect::Stdout, "app.txt"));
    let tasks = built.tasks().unwrap();
    assert_eq!(&*tasks.task(2).unwrap().stdin, b"five");
    job.args.push("{lines.start}".into());
    assert!(job.build(folder.path()).unwrap_err().to_string().contains("`line.start`"));
}

#[test]
fn the_same_work_has_the_same_seeds_whatever_it_costs() {
    let folder = folder();
    let one = build(RENDER, folder.path()).unwrap();
    let other = build(&RENDER.replace("5 BMM", "6 BMM").replace("cornell-box", "box"), folder.path()).unwrap();
    let changed = build(&RENDER.replace("0..1080", "0..1081"), folder.path()).unwrap();
    let seed = |job: &super::super::Job, index| job.tasks().unwrap().task(index).unwrap().seed;
    assert_ne!(one.spec.hash(), other.spec.hash());
    assert_eq!(seed(&one, 5), seed(&other, 5));
    assert_ne!(seed(&one, 5), seed(&one, 6));
    assert_ne!(seed(&one, 5), seed(&changed, 5));
}

#[test]
fn files_of_an_axis_are_mounted_for_their_task_only() {
    let folder = folder();
    let text = "app = \"app.wasm\"\nargs = [\"{frame}\", \"{frame.name}\"]\n[split]\nframe = { files = \"frames/*.png\" }\n\
                [output]\ncollect = \"/out/{frame.stem}.jpg\"\nmerge = \"folder\"";
    let job = build(text, folder.path()).unwrap();
    let tasks = job.tasks().unwrap();
    let second = tasks.task(1).unwrap();
    assert_eq!((tasks.count(), second.args), (2, vec!["/in/frame/b.png".to_owned(), "b.png".to_owned()]));
    assert_eq!((second.mounts[0].path.as_str(), tasks.file_name(1).unwrap().as_str()), ("frame/b.png", "b.jpg"));
    let deep = build(&text.replace("*.png", "**/*.png"), folder.path()).unwrap();
    assert_eq!(deep.spec.tasks(), Ok(3));
    let AxisKind::Files(files) = &deep.spec.axes[0].kind else { panic!("not files") };
    assert_eq!(files[2].path, "frame/deep/d.png");
}

#[test]
fn records_are_stdin_or_placeholders() {
    let folder = folder();
    let head = "app = \"app.wasm\"\n";
    let stdin = build(&format!("{head}[split]\nr = {{ csv = \"data.csv\", chunk = 2 }}"), folder.path()).unwrap();
    let tasks = stdin.tasks().unwrap();
    assert_eq!(&*tasks.task(0).unwrap().stdin, b"id,name\n1,ann\n2,\"bob, jr\"\n");
    assert_eq!(&*tasks.task(1).unwrap().stdin, b"id,name\n3,eve\n");
    let text = format!("{head}args = [\"{{r.name}}\", \"{{{{{{r.id}}}}}}\"]\n[split]\nr = {{ csv = \"data.csv\" }}");
    let fields = build(&text, folder.path()).unwrap();
    let tasks = fields.tasks().unwrap();
    let second = tasks.task(1).unwrap();
    assert_eq!((second.args, second.stdin.len()), (vec!["bob, jr".to_owned(), "{2}".to_owned()], 0));
}

#[test]
fn a_program_may_merge() {
    let folder = folder();
    let text =
        "app = \"app.wasm\"\n[output]\nmerge = \"./merge.wasm\"\nmerge_args = [\"--width\", \"8\"]\nfile = \"a.png\"";
    let job = build(text, folder.path()).unwrap();
    let Merge::App { app, args } = &job.spec.output.merge else { panic!("not a program") };
    assert_eq!((args.len(), job.contents.contains_key(&app.hash)), (2, true));
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "(app|name|\\[split\\]|rows|=|\\{|\\}|\"|range|0\\.\\.9|chunk|\\[|\\]|\n|,|1| |\\.|é){0,40}") {
        if let Err(error) = JobFile::parse(&text) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn building_never_panics(arg in "(\\{|\\}|rows|\\.|start|end|task|x){0,8}", start: i64, end: i64, chunk: u64) {
        let folder = folder();
        let mut job = JobFile::new("app.wasm");
        job.args.push(arg);
        job.split.push(("rows".into(), AxisSource::Range { start, end, chunk }));
        if let Ok(job) = job.build(folder.path()) {
            let tasks = job.tasks().unwrap();
            prop_assert!(tasks.task(tasks.count() - 1).is_some());
        }
    }

    #[test]
    fn decoding_descriptions_never_panics(mut at in prop::collection::vec((0usize..400, any::<u8>()), 1..6)) {
        let folder = folder();
        let mut bytes = build(RENDER, folder.path()).unwrap().spec.encode();
        for (place, byte) in at.drain(..) {
            let place = place % bytes.len();
            bytes[place] = byte;
        }
        if let Ok(spec) = JobSpec::decode(&bytes)
            && let Ok(tasks) = super::super::Tasks::new(&spec, |_| None)
        {
            prop_assert!(tasks.task(tasks.count() - 1).is_some());
        }
    }
}
