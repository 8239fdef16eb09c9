//! Why there is no page.

use crate::{Frame, Visit};
use askama::Template;
use axum::{
    http::StatusCode,
    response::{Html, IntoResponse, Response},
};
use bmm_chain::ChainError;
use bmm_index::IndexError;
use thiserror::Error;

/// Why there is no page.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum PageError {
    /// There is nothing of that name.
    #[error("there is no such {0}")]
    Missing(&'static str),
    /// What was sent cannot be used.
    #[error("{0}")]
    Bad(String),
    /// The page is for the owner.
    #[error("this page is for the owner of this machine")]
    NotOwner(Visit),
    /// It is not allowed.
    #[error("{0}")]
    Forbidden(&'static str),
    /// Something is wrong with the server.
    #[error("the page cannot be made at this moment; the node's log says why")]
    Internal,
}

impl From<ChainError> for PageError {
    fn from(error: ChainError) -> Self {
        tracing::warn!(%error, "a page cannot read the chain");
        Self::Internal
    }
}

impl From<bmm_ledger::store::StoreError> for PageError {
    fn from(error: bmm_ledger::store::StoreError) -> Self {
        tracing::warn!(%error, "a page cannot read the state");
        Self::Internal
    }
}

impl From<IndexError> for PageError {
    fn from(error: IndexError) -> Self {
        tracing::warn!(%error, "a page cannot read the index");
        Self::Internal
    }
}

impl From<askama::Error> for PageError {
    fn from(error: askama::Error) -> Self {
        tracing::error!(%error, "a page cannot be written");
        Self::Internal
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    f: Frame<'a>,
    title: &'a str,
    message: String,
    hint: &'a str,
}

impl PageError {
    /// Returns the answer's status.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Missing(_) => StatusCode::NOT_FOUND,
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::NotOwner(_) | Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Returns the page that says so; for programs, a line of JSON.
    pub(crate) fn page(&self, visit: &Visit) -> Response {
        if visit.path.starts_with("/api/") {
            let body = serde_json::json!({ "error": self.to_string() });
            return (self.status(), axum::Json(body)).into_response();
        }
        let t = visit.texts;
        let (title, hint) = match self {
            Self::Missing(_) => (t.s("error.missing"), t.s("error.missing_hint")),
            Self::Bad(_) => (t.s("error.bad"), t.s("error.bad_hint")),
            Self::NotOwner(_) => (t.s("error.owner"), t.s("error.owner_hint")),
            Self::Forbidden(_) => (t.s("error.forbidden"), ""),
            Self::Internal => (t.s("error.internal"), t.s("error.internal_hint")),
        };
        let page = ErrorPage { f: Frame::new(visit, title), title, message: self.to_string(), hint };
        let body = page.render().unwrap_or_else(|_| self.to_string());
        (self.status(), Html(body)).into_response()
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        // The gate makes the page, in the visitor's language.
        let mut answer = (self.status(), self.to_string()).into_response();
        answer.extensions_mut().insert(self);
        answer
    }
}

/// Answers paths that lead nowhere.
pub(crate) async fn missing() -> PageError {
    PageError::Missing("page")
}
