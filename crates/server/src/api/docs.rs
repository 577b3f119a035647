//! `GET /docs`: the API's page, served whole by the binary.

use axum::{
    extract::Path,
    http::header,
    response::{IntoResponse as _, Response},
};

use super::error::{ApiError, ErrorCode};

const PAGE: &str = include_str!("docs/page.html");
const STYLE: &str = include_str!("docs/page.css");
const SCRIPT: &str = include_str!("docs/page.js");

/// Nothing from elsewhere, nothing inline.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) async fn page() -> Response {
    served("text/html; charset=utf-8", PAGE)
}

pub(crate) async fn file(Path(file): Path<String>) -> Result<Response, ApiError> {
    match file.as_str() {
        "page.css" => Ok(served("text/css; charset=utf-8", STYLE)),
        "page.js" => Ok(served("text/javascript; charset=utf-8", SCRIPT)),
        _ => Err(ApiError::new(ErrorCode::NotFound, "There is nothing at this address; /docs lists what there is.")),
    }
}

fn served(content_type: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, content_type), (header::CONTENT_SECURITY_POLICY, POLICY)], text).into_response()
}
