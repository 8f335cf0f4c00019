//! Sends email. The server's name is looked up here, and what was looked up is what is connected to.

use std::time::Duration;

use kelly_schemas::error_chain;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use super::egress::{self, Allowed, Internal};
use crate::check::host_and_port;
use crate::notifier::Answer;
use crate::notifier::Job;
use crate::payload::{self, smtp_answer};
use crate::secret::Secret;
use crate::settings::{Destination, Encryption};

/// How long a step of the protocol may take.
const STEP_TIME: Duration = Duration::from_secs(15);

/// How long all of it may take.
const WHOLE_TIME: Duration = Duration::from_secs(60);

pub(super) async fn send(
    allowed: &Allowed,
    destination: &Destination,
    password: Option<&Secret>,
    job: &Job,
) -> Answer {
    let mail = match payload::mail(destination, job) {
        Ok(mail) => mail,
        Err(problem) => return Answer::Refused(problem),
    };
    let Some((host, port)) = destination.server.as_deref().and_then(host_and_port) else {
        return Answer::Ill("server is not host:port".into());
    };
    let retry = |problem: String| Answer::Retry { after_ms: None, problem, is_unsure: false };
    let address = match egress::addresses(allowed, host, port).await {
        Ok(addresses) => addresses.into_iter().next(),
        Err(error) if error.is::<Internal>() => return Answer::Ill(error.to_string()),
        Err(error) => return retry(format!("{host} could not be looked up: {error}")),
    };
    let Some(address) = address else { return retry(format!("{host} has no address")) };
    let tls = || TlsParameters::new(host.to_owned());
    let tls = match destination.encryption {
        Encryption::Starttls => tls().map(Tls::Required),
        Encryption::Tls => tls().map(Tls::Wrapper),
        Encryption::None => Ok(Tls::None),
    };
    let tls = match tls {
        Ok(tls) => tls,
        Err(error) => return Answer::Ill(error_chain(&error)),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address.ip().to_string())
        .port(port)
        .tls(tls)
        .timeout(Some(STEP_TIME));
    if let (Some(user), Some(secret)) = (&destination.user, password) {
        builder = builder.credentials(Credentials::new(user.clone(), super::password(secret)));
    }
    let transport: AsyncSmtpTransport<Tokio1Executor> = builder.build();
    match tokio::time::timeout(WHOLE_TIME, transport.send(mail)).await {
        Ok(Ok(_)) => Answer::Accepted(None),
        Ok(Err(error)) => {
            let code = error.status().and_then(|code| code.to_string().parse().ok());
            smtp_answer(code, error_chain(&error))
        }
        Err(_) => smtp_answer(None, "the mail server did not answer in time".into()),
    }
}
