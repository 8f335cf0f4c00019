//! Small JSON bodies of routes that take one object.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;

use crate::problem::{Code, Problem};

/// Longest body of such a route. A longer one is refused.
const MAX_BYTES: usize = 16 * 1_024;

/// Reads the body. What is wrong with it is said without repeating any of it: it may hold a secret.
pub(crate) async fn read<T: DeserializeOwned>(request: Request, within: Duration) -> Result<T, Problem> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(
            Code::UnsupportedMediaType,
            "Send one JSON object with `Content-Type: application/json`.",
        ));
    }
    let body = read_bytes(request.into_body(), within).await?;
    serde_json::from_slice(&body).map_err(|error| {
        // Its own text would repeat names and values of the body.
        let place = format!("line {}, column {}", error.line(), error.column());
        let detail = match error.classify() {
            serde_json::error::Category::Data => {
                format!("The object has a member that is missing, unknown, or of the wrong type ({place}).")
            }
            _ => format!("The body is not JSON ({place})."),
        };
        Problem::new(Code::MalformedBody, detail)
    })
}

async fn read_bytes(body: Body, within: Duration) -> Result<bytes::Bytes, Problem> {
    match tokio::time::timeout(within, to_bytes(body, MAX_BYTES)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(Problem::new(
            Code::BodyTooLarge,
            format!("The body broke off, or is longer than {MAX_BYTES} bytes."),
        )),
        Err(_) => Err(Problem::new(Code::BodyTimeout, "The body took too long to arrive.")),
    }
}
