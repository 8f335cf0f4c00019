//! Small JSON bodies of routes that take one object.

use std::time::Duration;

use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;

use crate::bodies::{self, BodyBounds};
use crate::limits::Gates;
use crate::problem::{Code, Problem};

/// Longest body of most such routes. A longer one is refused.
const MAX_BYTES: usize = 16 * 1_024;

/// Reads the body. What is wrong with it is said without repeating any of it: it may hold a secret.
pub(crate) async fn read<T: DeserializeOwned>(
    request: Request,
    gates: &Gates,
    within: Duration,
) -> Result<T, Problem> {
    read_within(request, gates, BodyBounds { bytes: MAX_BYTES, time: within }).await
}

/// The same where nothing needs to be said: `None` where the body is empty.
pub(crate) async fn read_optional<T: DeserializeOwned>(
    request: Request,
    gates: &Gates,
    within: Duration,
) -> Result<Option<T>, Problem> {
    let kind = check_kind(&request);
    let body = bodies::read(request, gates, BodyBounds { bytes: MAX_BYTES, time: within }).await?;
    if body.bytes.is_empty() {
        return Ok(None);
    }
    kind?;
    // Also where it says null.
    parse(&body.bytes)
}

/// The same where whoever sends it is not known yet.
pub(crate) async fn read_of_stranger<T: DeserializeOwned>(
    request: Request,
    gates: &Gates,
    within: Duration,
) -> Result<T, Problem> {
    check_kind(&request)?;
    let bounds = BodyBounds { bytes: MAX_BYTES, time: within };
    parse(&bodies::read_of_stranger(request, gates, bounds).await?.bytes)
}

/// The same for a route with bounds of its own.
pub(crate) async fn read_within<T: DeserializeOwned>(
    request: Request,
    gates: &Gates,
    bounds: BodyBounds,
) -> Result<T, Problem> {
    check_kind(&request)?;
    parse(&bodies::read(request, gates, bounds).await?.bytes)
}

fn check_kind(request: &Request) -> Result<(), Problem> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::new(
        Code::UnsupportedMediaType,
        "Send one JSON object with `Content-Type: application/json`.",
    ))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
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
