//! Sends messages: over HTTP and SMTP, to allowed addresses only, with bounds on time and on what is read.

mod egress;
mod smtp;

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use kelly_schemas::error_chain;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};

use crate::notifier::Answer;
use crate::notifier::{Act, Job};
use crate::payload::{self, Means, Request, Response};
use crate::secret::Secret;
use crate::settings::{Destination, Kind, Settings};

pub use egress::{Allowed, BadAllowed};
use egress::{Guard, Internal};

/// How long a provider may take for an answer, usually.
const ANSWER_TIME: Duration = Duration::from_secs(20);

/// How long a connection may take.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read: what lies behind them is not needed by anybody.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Bytes of Slack's answer to a look for a message.
const MAX_LOOK_BYTES: usize = 4 * 1024 * 1024;

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub enum SenderFault {
    /// The client cannot be made.
    #[error("could not prepare the HTTP client of notifications")]
    Client(#[source] reqwest::Error),
    /// Secrets are not there.
    #[error("{}", .0.join("; "))]
    Secrets(Vec<String>),
}

/// How messages are sent.
#[derive(Debug, Clone)]
pub struct SenderConfig {
    /// Internal addresses that may be sent to.
    pub allowed: Allowed,
    /// How long a provider may take for an answer.
    pub answer_time: Duration,
    /// Ms since the epoch.
    pub clock: fn() -> i64,
}

impl SenderConfig {
    /// With the usual patience.
    #[must_use]
    pub fn new(allowed: Allowed, clock: fn() -> i64) -> Self {
        Self { allowed, answer_time: ANSWER_TIME, clock }
    }
}

/// Sends messages.
pub struct Sender {
    settings: Arc<Settings>,
    client: reqwest::Client,
    allowed: Arc<Allowed>,
    clock: fn() -> i64,
}

impl Sender {
    /// To these destinations.
    ///
    /// # Errors
    /// When a secret is not there, or the client cannot be made.
    pub fn new(settings: Arc<Settings>, config: SenderConfig) -> Result<Self, SenderFault> {
        let SenderConfig { allowed, answer_time, clock } = config;
        let allowed = Arc::new(allowed);
        let client = reqwest::Client::builder()
            // A proxy would be told where to connect, past the guard.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(Guard(allowed.clone())))
            .connect_timeout(CONNECT_TIME)
            .timeout(answer_time)
            .user_agent(concat!("kelly/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(SenderFault::Client)?;
        let sender = Self { settings, client, allowed, clock };
        let problems = sender.secret_problems();
        if problems.is_empty() { Ok(sender) } else { Err(SenderFault::Secrets(problems)) }
    }

    /// What is wrong with the secrets of each destination.
    fn secret_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for destination in &self.settings.destinations {
            let mut note =
                |problem: String| problems.push(format!("destination {:?}: {problem}", destination.id));
            match destination.secret().map(|source| source.read()) {
                Some(Err(fault)) => note(fault.to_string()),
                Some(Ok(secret)) if destination.kind == Kind::Webhook => {
                    if let Err(fault) = payload::webhook_signature_key(&secret) {
                        note(fault);
                    }
                }
                _ => {}
            }
            if let Err(fault) = url_of(destination) {
                note(fault);
            }
        }
        problems
    }

    /// Does what is to be done now about a message, and says what became of it.
    pub async fn send(&self, job: &Job) -> Answer {
        let Some(destination) = self.settings.destination(&job.destination) else {
            return Answer::Refused("the destination is not in the settings any more".into());
        };
        let secret = match destination.secret().map(|source| source.read()).transpose() {
            Ok(secret) => secret,
            Err(fault) => return Answer::Ill(fault.to_string()),
        };
        if destination.kind == Kind::Email {
            return smtp::send(&self.allowed, destination, secret.as_ref(), job).await;
        }
        let url = match url_of(destination) {
            Ok(url) => url,
            Err(fault) => return Answer::Ill(fault),
        };
        let act = job.delivery.acts.front().copied().unwrap_or(Act::Send);
        if destination.kind == Kind::Slack
            && job.delivery.is_unsure
            && act != Act::Edit
            && let Some(secret) = &secret
        {
            let channel = destination.channel.as_deref().unwrap_or_default();
            let question = payload::look_for(url.as_deref(), secret.reveal(), channel, job);
            // Where the bot may not read, the message is rather there twice than never.
            if let Ok(response) = self.ask(question, MAX_LOOK_BYTES).await
                && let Some(place) = payload::already_there(channel, &response, job)
            {
                return Answer::Accepted(Some(place).filter(|_| act == Act::Send));
            }
        }
        let means = Means {
            destination,
            secret: secret.as_ref(),
            url: url.as_deref(),
            now_s: (self.clock)() / 1_000,
        };
        let request = match payload::request(&means, job) {
            Ok(request) => request,
            Err(problem) => return Answer::Ill(problem),
        };
        match self.ask(request, MAX_ANSWER_BYTES).await {
            Ok(response) => payload::answer(destination.kind, act, &response),
            Err(answer) => answer,
        }
    }

    /// Gives the sign of life. Whether it was taken, else why not.
    pub(crate) async fn ping(&self) -> Result<(), String> {
        let Some(heartbeat) = &self.settings.heartbeat else { return Ok(()) };
        let url = match (heartbeat.secret_url(), &heartbeat.url) {
            (Some(source), _) => source.read().map_err(|fault| fault.to_string())?.reveal().to_owned(),
            (None, url) => url.clone().unwrap_or_default(),
        };
        let request = Request { url, headers: Vec::new(), body: "{}".into() };
        match self.ask(request, MAX_ANSWER_BYTES).await {
            Ok(Response { status: 200..=299, .. }) => Ok(()),
            Ok(response) => Err(format!("it answered {}", response.status)),
            Err(Answer::Retry { problem, .. } | Answer::Ill(problem)) => Err(problem),
            Err(_) => Err("it could not be asked".into()),
        }
    }

    /// One request and its answer; the error is what it means that there is none.
    async fn ask(&self, request: Request, most: usize) -> Result<Response, Answer> {
        let wrong = || Answer::Ill("its address is none".into());
        let url = reqwest::Url::parse(&request.url).map_err(|_| wrong())?;
        // A literal address is not looked up, so the guard would not see it.
        let host = url.host_str().ok_or_else(wrong)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if bare.parse::<IpAddr>().is_ok_and(|address| !self.allowed.takes(address)) {
            return Err(Answer::Ill(Internal { host: bare.to_owned() }.to_string()));
        }
        let mut asking = match request.body.is_empty() {
            true => self.client.get(url),
            false => self
                .client
                .post(url)
                .header(CONTENT_TYPE, "application/json; charset=utf-8")
                .body(request.body),
        };
        for (name, value) in request.headers {
            asking = asking.header(name, value);
        }
        let mut answer = asking.send().await.map_err(no_answer)?;
        let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let after_ms = after.and_then(|text| retry_after_ms(text, (self.clock)()));
        let mut response = Response { status: answer.status().as_u16(), after_ms, body: String::new() };
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(no_answer)? {
            body.extend_from_slice(&chunk[..chunk.len().min(most - body.len())]);
            if body.len() >= most {
                break;
            }
        }
        response.body = String::from_utf8_lossy(&body).into_owned();
        Ok(response)
    }
}

/// The address that the settings name, where they do.
fn url_of(destination: &Destination) -> Result<Option<String>, String> {
    let Some(source) = destination.secret_url() else { return Ok(destination.url.clone()) };
    let url = source.read().map_err(|fault| fault.to_string())?;
    if crate::check::is_url(url.reveal()) {
        Ok(Some(url.reveal().to_owned()))
    } else {
        Err("the secret address is none: it must be http://host/… or https://host/…".into())
    }
}

/// What it means that there is no answer. The address is not repeated: it may be a secret.
fn no_answer(error: reqwest::Error) -> Answer {
    let error = error.without_url();
    let mut cause: Option<&dyn Error> = Some(&error);
    while let Some(next) = cause {
        if next.is::<Internal>() {
            return Answer::Ill(next.to_string());
        }
        cause = next.source();
    }
    // Before there was a connection nothing was sent.
    Answer::Retry { after_ms: None, problem: error_chain(&error), is_unsure: !error.is_connect() }
}

/// Seconds, or a date.
fn retry_after_ms(text: &str, now_ms: i64) -> Option<u64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let at = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    u64::try_from(at.timestamp_millis().saturating_sub(now_ms)).ok()
}

/// Reveals a password to what signs in.
fn password(secret: &Secret) -> String {
    secret.reveal().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_seconds_or_a_date() {
        let now_ms = 1_445_412_480_000;
        assert_eq!(retry_after_ms("7", now_ms), Some(7_000));
        assert_eq!(retry_after_ms("Wed, 21 Oct 2015 07:28:30 GMT", now_ms), Some(30_000));
        assert_eq!(retry_after_ms("Wed, 21 Oct 2015 07:27:30 GMT", now_ms), None);
        assert_eq!(retry_after_ms("soon", now_ms), None);
        assert_eq!(retry_after_ms("99999999999999999999", now_ms), None);
    }
}
