//! `bmm job …` and `bmm run` without a job file.

use crate::{
    programs::{copier, job, worker},
    run::Bmm,
};
use serde_json::{Value, json};

const BOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/text/moby-dick.txt");

#[test]
fn a_dry_run_quotes_and_opens_nothing() {
    let bmm = Bmm::new();
    let job_file = job(&bmm, &worker(1_000_000), 10, "");
    let quote = bmm.json(&["run", job_file.to_str().expect("UTF-8"), "--dry-run", "--replicate", "2"]);
    assert_eq!((&quote["name"], &quote["tasks"], &quote["budget_bmm"]), (&json!("app"), &json!(10), &json!("1")));
    let fuel = quote["fuel_per_task"].as_u64().expect("a task was tried");
    assert!(fuel > 1_000_000);
    let price: bmm_types::Amount = crate::chain::read(&quote, "price_bmm");
    // 0.001 BMM for 10^9 fuel are 10^6 units for each.
    assert_eq!(price.units().to::<u128>(), u128::from(fuel) * 10 * 2 * 1_000_000);
    let told = bmm.run(&["run", job_file.to_str().expect("UTF-8"), "--dry-run"]);
    assert!(
        told.code == 0 && told.stdout.contains("app: 10 tasks") && told.stdout.contains("at most 1 BMM"),
        "{told:?}"
    );
    assert!(
        !bmm.data().join("chains").exists()
            && !bmm.data().join("jobs").exists()
            && !bmm.dir.path().join("bmm-out").exists()
    );
    let listed = bmm.run(&["job", "list"]);
    assert!(listed.code == 0 && listed.stdout.contains("no jobs yet"), "{listed:?}");
}

#[test]
fn a_job_can_be_listed_shown_explained_watched_and_fetched() {
    let bmm = Bmm::new();
    bmm.bytes("copy.wasm", &copier());
    let receipt =
        bmm.json(&["run", "--app", "./copy.wasm", "--lines", BOOK, "--chunk", "800", "--", "{lines.start}", "--fast"]);
    let id = receipt["job"].as_str().expect("an id");
    assert_eq!(
        (&receipt["status"], &receipt["name"], receipt["tasks"].as_u64()),
        (&json!("settled"), &json!("copy"), Some(7))
    );
    let output = bmm.dir.path().join("bmm-out/copy/copy.txt");
    assert_eq!(receipt["outputs"], json!([output]));
    // Every task copied its lines, so that the results in their order are the book again.
    assert!(std::fs::read(&output).expect("the output") == std::fs::read(BOOK).expect("the book"));

    let listed = bmm.json(&["job", "list"]);
    let row = &listed["jobs"][0];
    assert_eq!((&row["id"], &row["status"], &row["active"]), (&receipt["job"], &json!("settled"), &json!(false)));
    let short = &id[2..10];
    let text = bmm.run(&["job", "list"]).stdout;
    assert!(text.lines().nth(1).is_some_and(|line| line.starts_with(short) && line.contains("settled")), "{text}");

    let shown = bmm.json(&["job", "show", short]);
    assert_eq!((&shown["receipt"], &shown["status"]), (&receipt, &json!("settled")));
    assert!(shown["open_transaction"].is_string() && shown["refund_transaction"].is_string(), "{shown}");
    let text = bmm.run(&["job", "show", id]).stdout;
    for words in ["copy: settled", "opened by", "refunded by", "copy.txt", "7 done, 0 failed, of 7"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(bmm.json(&["job", "watch", id])["receipt"], receipt);
    assert_eq!(bmm.json(&["job", "resume", id]), receipt);
    assert_eq!(bmm.json(&["job", "cancel", id]), receipt, "what is over cannot be cancelled, and is not paid again");

    let got = bmm.json(&["job", "get", short, "--out", "copy"]);
    assert_eq!(got["job"], receipt["job"]);
    let copy = bmm.dir.path().join("copy/copy.txt");
    assert_eq!(std::fs::read(copy).expect("a copy"), std::fs::read(&output).expect("the output"));

    let explained = bmm.json(&["job", "explain", id]);
    assert_eq!(explained["providers"], explained["matching"]);
    for condition in explained["conditions"].as_array().expect("a list") {
        assert_eq!(condition["others"], Value::Array(Vec::new()), "all match: {condition}");
    }
    let text = bmm.run(&["job", "explain", id]).stdout;
    assert!(text.contains("providers match; the job needs 1") && text.contains("price"), "{text}");
    let dear = bmm.file("dear.toml", "[provide]\nprice_per_gfuel = \"7\"\nproviders = 1\n");
    let explained = bmm.json(&["job", "explain", id, "--config", dear.to_str().expect("UTF-8")]);
    assert_eq!(explained["conditions"].as_array().map(Vec::is_empty), Some(false), "{explained}");
}

#[test]
fn ids_that_name_no_job_or_several_are_told() {
    let bmm = Bmm::new();
    for command in ["show", "watch", "get", "cancel", "resume", "explain"] {
        let told = bmm.fails(1, &["job", command, "abc"]);
        assert!(told.contains("no job has the id \"abc\"") && told.contains("hint: `bmm job list`"), "{told}");
    }
}
