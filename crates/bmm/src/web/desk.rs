//! What the pages of this machine share.

use crate::{failure::Failure, paths::DataDir, wallet::WalletStore};
use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRef},
    routing::{get, post},
};
use bmm_web::{PageError, Site};
use std::{path::PathBuf, sync::Arc};

/// Most bytes of a submitted job: program and inputs.
const MAX_UPLOAD: usize = 256 << 20;

/// The data folder behind the pages.
#[derive(Clone)]
pub(super) struct Desk {
    pub site: Arc<Site>,
    pub data: Arc<DataDir>,
    /// The configuration's file, as it was chosen.
    pub config_file: Arc<PathBuf>,
}

impl FromRef<Desk> for Arc<Site> {
    fn from_ref(desk: &Desk) -> Self {
        desk.site.clone()
    }
}

impl Desk {
    /// Returns the wallets.
    pub fn wallets(&self) -> WalletStore {
        WalletStore::new(self.data.wallets()).with_dev_key(self.data.dev_key())
    }

    /// Runs what waits for files or programs on a thread that may wait.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, PageError> + Send + 'static,
    ) -> Result<T, PageError> {
        let desk = self.clone();
        tokio::task::spawn_blocking(move || work(&desk)).await.unwrap_or(Err(PageError::Internal))
    }

    /// Returns the pages.
    pub fn router(self) -> Router {
        Router::new()
            .route("/jobs", get(super::jobs::list))
            .route("/jobs/new", get(super::submit::form))
            .route("/jobs/draft", post(super::submit::draft))
            .route("/jobs/check", post(super::submit::check))
            .route("/jobs/start", post(super::submit::start))
            .route("/jobs/{id}", get(super::jobs::job))
            .route("/jobs/{id}/live", get(super::jobs::live))
            .route("/jobs/{id}/resume", post(super::act::resume))
            .route("/jobs/{id}/cancel", post(super::act::cancel))
            .route("/jobs/{id}/files/{number}", get(super::jobs::file))
            .route("/jobs/{id}/tasks/{number}", get(super::jobs::task))
            .route("/wallet", get(super::wallet::page))
            .route("/wallet/preview", post(super::wallet::preview))
            .route("/wallet/send", post(super::wallet::send))
            .route("/provider", get(super::provider::page).post(super::provider::save))
            .route("/pool", get(super::pool::page))
            .route("/api/v1/jobs", get(super::api::jobs))
            .route("/api/v1/jobs/{id}", get(super::api::job))
            .layer(DefaultBodyLimit::max(MAX_UPLOAD))
            .with_state(self)
    }
}

/// Tells a person what failed and what helps.
pub(super) fn told(failure: &Failure) -> String {
    let mut text = failure.message.clone();
    for hint in &failure.hints {
        text.push_str(" – ");
        text.push_str(hint);
    }
    text
}

/// Turns a failure into an answer.
pub(super) fn bad(failure: &Failure) -> PageError {
    PageError::Bad(told(failure))
}
