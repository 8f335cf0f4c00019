//! Messages as each provider takes them, and what its answers mean. Pure.

mod email;
mod facts;
mod pagerduty;
mod slack;
#[cfg(test)]
mod tests;
mod webhook;

use serde_json::Value;

use crate::notifier::Answer;
use crate::notifier::{Act, Job, Place};
use crate::secret::Secret;
use crate::settings::{Destination, Kind};

pub(crate) use email::{mail, smtp_answer};
pub(crate) use slack::{already_there, look_for};
pub use webhook::{webhook_signature, webhook_signature_key};

/// A request over HTTP.
#[derive(Clone, PartialEq)]
pub(crate) struct Request {
    /// Where, below what the provider or the settings say.
    pub(crate) url: String,
    /// Headers beside `content-type`; some are secret.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The body, JSON.
    pub(crate) body: String,
}

/// What came back.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// `Retry-After` in ms.
    pub(crate) after_ms: Option<u64>,
    /// The body as far as it was read.
    pub(crate) body: String,
}

/// What a destination is asked with.
pub(crate) struct Means<'a> {
    pub(crate) destination: &'a Destination,
    pub(crate) secret: Option<&'a Secret>,
    /// The address, where the settings name one.
    pub(crate) url: Option<&'a str>,
    /// Seconds since the epoch.
    pub(crate) now_s: i64,
}

/// The request that sends a message over HTTP. The error is what is wrong with the secret.
pub(crate) fn request(means: &Means<'_>, job: &Job) -> Result<Request, String> {
    let secret = means.secret.map_or("", Secret::reveal);
    match means.destination.kind {
        Kind::Pagerduty => Ok(pagerduty::request(means.url, secret, job)),
        Kind::Slack => {
            let channel = means.destination.channel.as_deref().unwrap_or_default();
            Ok(slack::request(means.url, secret, channel, job))
        }
        Kind::Webhook | Kind::Email => webhook::request(means, job),
    }
}

/// What an answer over HTTP means.
pub(crate) fn answer(kind: Kind, act: Act, response: &Response) -> Answer {
    match kind {
        Kind::Pagerduty => pagerduty::answer(response),
        Kind::Slack => slack::answer(act, response),
        Kind::Webhook | Kind::Email => by_status(response, ""),
    }
}

/// What a status means that has nothing to add.
fn by_status(response: &Response, said: &str) -> Answer {
    let problem = match said {
        "" => format!("it answered {}", response.status),
        said => format!("it answered {}: {said}", response.status),
    };
    match response.status {
        200..=299 => Answer::Accepted(None),
        429 => Answer::Busy { after_ms: response.after_ms },
        401 | 403 | 407 => Answer::Ill(problem),
        410 => Answer::Gone(problem),
        // A redirect is not followed: what is sent would go where nobody allowed.
        408 | 425 | 500..=599 => Answer::Retry { after_ms: response.after_ms, problem, is_unsure: true },
        _ => Answer::Refused(problem),
    }
}

fn json_of(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_default()
}

fn place_of(job: &Job) -> Option<&Place> {
    job.place.as_ref()
}
