//! What the owner does about a job: going on with it, ending it, taking back the rest of its escrow.
//!
//! A process that works on the job is asked to end it, by a file in the job's folder. Where none does, one is started, as `bmm job
//! resume` and `bmm job cancel` would be; it needs the wallet's password, which comes with the form and is forgotten.

use super::{
    desk::{Desk, bad},
    jobs::find,
    process,
};
use crate::jobs::{CANCELLED, JobFolder};
use axum::{
    Form,
    extract::{Path, State},
    response::Redirect,
};
use bmm_web::{Owner, PageError};
use serde::Deserialize;
use std::time::{Duration, Instant, SystemTime};

/// How long the page waits for what was asked for.
const WITHIN: Duration = Duration::from_secs(30);

/// What a person wants done.
#[derive(Deserialize)]
pub(super) struct Act {
    csrf: String,
    #[serde(default)]
    password: String,
}

/// `POST /jobs/{id}/resume`
pub(super) async fn resume(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    owner: Owner,
    Form(form): Form<Act>,
) -> Result<Redirect, PageError> {
    owner.check(&form.csrf)?;
    desk.blocking(move |desk| {
        let folder = find(desk, &id)?;
        if folder.is_locked() {
            return Err(PageError::Bad("a process works on this job already".to_owned()));
        }
        work(desk, &folder, &id, "resume", &form.password)
    })
    .await
}

/// `POST /jobs/{id}/cancel`
pub(super) async fn cancel(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    owner: Owner,
    Form(form): Form<Act>,
) -> Result<Redirect, PageError> {
    owner.check(&form.csrf)?;
    desk.blocking(move |desk| {
        let folder = find(desk, &id)?;
        if is_over(&folder) {
            return Err(PageError::Bad("the job is over already".to_owned()));
        }
        if !folder.is_locked() {
            return work(desk, &folder, &id, "cancel", &form.password);
        }
        folder.ask_to_cancel(CANCELLED).map_err(|failure| bad(&failure))?;
        let since = Instant::now();
        while since.elapsed() < WITHIN && !is_over(&folder) {
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(Redirect::to(&format!("/jobs/{id}")))
    })
    .await
}

fn is_over(folder: &JobFolder) -> bool {
    folder.record().is_ok_and(|record| record.status.is_over())
}

/// Starts a process that works on the job, and waits until it tells of its work or is done.
fn work(desk: &Desk, folder: &JobFolder, id: &str, what: &str, password: &str) -> Result<Redirect, PageError> {
    let mut command = process::command(desk, folder.path())?;
    command.args(["job", what, id]);
    process::unlock(&mut command, password);
    let since = SystemTime::now();
    let was_over = is_over(folder);
    let told = || {
        let written = std::fs::metadata(folder.path().join("live.json")).and_then(|file| file.modified());
        let works = written.is_ok_and(|written| written > since);
        // Of a job that was over, the rest of the escrow comes back: that is done when the process has ended.
        (!was_over && (works || is_over(folder))).then_some(())
    };
    process::begin(command, &folder.path().join("run.log"), WITHIN, told)?;
    Ok(Redirect::to(&format!("/jobs/{id}")))
}
