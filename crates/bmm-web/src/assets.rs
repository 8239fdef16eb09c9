//! Style sheet, script and icon, out of the binary.

use crate::PageError;
use axum::{
    extract::Path,
    http::header,
    response::{IntoResponse as _, Response},
};

/// `GET /assets/…`
pub(crate) async fn asset(Path(name): Path<String>) -> Result<Response, PageError> {
    let (kind, body) = match name.as_str() {
        "style.css" => ("text/css; charset=utf-8", include_str!("../assets/style.css")),
        "script.js" => ("text/javascript; charset=utf-8", include_str!("../assets/script.js")),
        "icon.svg" => ("image/svg+xml", include_str!("../assets/icon.svg")),
        _ => return Err(PageError::Missing("file")),
    };
    Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], body).into_response())
}
