//! The jobs of the data folder as JSON, for the owner's programs.

use super::{
    desk::{Desk, bad},
    jobs::{find, row},
};
use crate::jobs::{JobFolder, read_live};
use axum::{
    Json,
    extract::{Path, State},
};
use bmm_web::{Owner, PageError, view::JobRow};
use serde_json::{Value, json};

/// Jobs that are listed.
const JOBS: usize = 200;

fn listed(row: &JobRow) -> Value {
    json!({
        "id": row.id, "name": row.name, "state": row.state, "done": row.done, "tasks": row.tasks,
        "price": row.price.to_string(), "created": row.created,
    })
}

/// `GET /api/v1/jobs`
pub(super) async fn jobs(State(desk): State<Desk>, _: Owner) -> Result<Json<Value>, PageError> {
    let jobs = desk.blocking(|desk| {
        let folders = JobFolder::all(&desk.data).map_err(|failure| bad(&failure))?;
        let rows = folders.iter().take(JOBS).filter_map(|folder| Some(listed(&row(folder, &folder.record().ok()?))));
        Ok(rows.collect::<Vec<_>>())
    });
    Ok(Json(json!({ "jobs": jobs.await? })))
}

/// `GET /api/v1/jobs/{id}`
pub(super) async fn job(State(desk): State<Desk>, Path(id): Path<String>, _: Owner) -> Result<Json<Value>, PageError> {
    let read = desk.blocking(move |desk| {
        let folder = find(desk, &id)?;
        let record = folder.record().map_err(|failure| bad(&failure))?;
        let (live, receipt) = (read_live(&folder), folder.receipt().map_err(|failure| bad(&failure))?);
        let mut job = listed(&row(&folder, &record));
        let names =
            record.outputs.iter().map(|path| path.strip_prefix(&record.out).unwrap_or(path).display().to_string());
        job["requester"] = json!(record.requester);
        job["escrow"] = json!(record.budget.units().to_string());
        job["deadline"] = json!(record.deadline);
        job["ending"] = json!(record.ending);
        job["files"] = names.collect();
        // As the process that works on it last told.
        job["live"] = json!(live);
        job["receipt"] = json!(receipt);
        Ok(job)
    });
    read.await.map(Json)
}
