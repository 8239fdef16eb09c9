//! The owner goes on with jobs and ends them, from the pages.

use super::{Served, serve};
use crate::{
    crash::{expected, slow_job, start, wait_for, working},
    run::Bmm,
};
use std::time::{Duration, Instant};

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or_default()
}

fn state(pages: &Served, id: &str) -> String {
    pages.json(&format!("/api/v1/jobs/{id}"))["state"].as_str().expect("a state").to_owned()
}

fn wait_until(pages: &Served, id: &str, wanted: &str) {
    let begun = Instant::now();
    while state(pages, id) != wanted {
        assert!(begun.elapsed() < Duration::from_mins(3), "{id} is {}", state(pages, id));
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_job_is_gone_on_with_and_another_is_ended() {
    let bmm = Bmm::new();
    let pages = serve(&bmm);
    let mut running = start(&bmm);
    let id = wait_for(&mut running, &bmm, &[], working);
    running.signal("INT");
    running.end();
    assert_eq!(state(&pages, &id), "interrupted");
    let (page, path) = (format!("/jobs/{id}"), format!("/jobs/{id}/resume"));
    let shown = pages.get(&page, &pages.session());
    assert!(shown.contains("class=\"done\" x=") && !shown.contains("class=\"run\" x="), "done and waiting: {shown}");
    assert_eq!(status(&pages.post(&path, &pages.session(), "csrf=00")), "403", "no token, no origin");
    assert_eq!(status(&pages.send(&page, &path, "")), "303");
    wait_until(&pages, &id, "settled");
    assert_eq!(std::fs::read(bmm.dir.path().join("out/out.bin")).expect("the output"), expected());
    assert_eq!(status(&pages.send(&page, &format!("/jobs/{id}/cancel"), "")), "400", "it is over");

    let old = [bmm.data().join("jobs").join(&id)];
    let mut running = start(&bmm);
    let id = wait_for(&mut running, &bmm, &old, working);
    let (page, path) = (format!("/jobs/{id}"), format!("/jobs/{id}/cancel"));
    assert_eq!(status(&pages.send(&page, &format!("/jobs/{id}/resume"), "")), "400", "a process works on it");
    assert_eq!(status(&pages.post(&path, &pages.session(), "csrf=00")), "403");
    assert_eq!(status(&pages.send(&page, &path, "")), "303");
    assert_eq!(running.end(), Some(0), "its process ends by itself");
    let job = pages.json(&format!("/api/v1/jobs/{id}"));
    assert_eq!((&job["state"], &job["receipt"]["status"]), (&"cancelled".into(), &"cancelled".into()), "{job}");
    assert!(
        job["live"]["states"].as_str().is_some_and(|states| states.contains('2') && !states.contains('1')),
        "{job}"
    );
    assert_eq!(pages.json("/api/v1/jobs")["jobs"].as_array().map(Vec::len), Some(2));
    let refused = pages.get("/api/v1/jobs", "");
    assert_eq!(status(&refused), "403", "{refused}");
}

#[test]
fn a_locked_wallet_needs_its_password_for_that() {
    // The node itself knows the password, from its environment: it is not the person's act.
    let bmm = Bmm::new().env("BMM_PASSWORD", "a long password");
    let pages = serve(&bmm);
    let wallet = bmm.json(&["wallet", "new", "savings"]);
    let address = wallet["address"].as_str().expect("an address").to_owned();
    bmm.json(&["wallet", "send", "--from", "dev", &address, "20", "--yes"]);
    let file = slow_job(&bmm);
    let mut running = bmm.spawn(&[
        "--json",
        "run",
        file.to_str().expect("UTF-8"),
        "--providers",
        "2",
        "--out",
        "out",
        "--wallet",
        "savings",
    ]);
    let id = wait_for(&mut running, &bmm, &[], working);
    running.signal("INT");
    running.end();
    let (page, path) = (format!("/jobs/{id}"), format!("/jobs/{id}/resume"));
    assert!(pages.get(&page, &pages.session()).contains("id=\"resume-password\""));
    for password in ["", "&password=another"] {
        let answer = pages.send(&page, &path, password);
        assert_eq!(status(&answer), "400", "{answer}");
        assert_eq!(state(&pages, &id), "interrupted");
    }
    assert_eq!(status(&pages.send(&page, &path, "&password=a+long+password")), "303");
    wait_until(&pages, &id, "settled");
}
