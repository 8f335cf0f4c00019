//! `kelly sign-in`: a link that signs a browser in.

use std::time::Duration;

use anyhow::Context;

use crate::Settings;
use crate::output;

/// Prints a link, which works once. The session it opens lasts as long as is said here, or as the token of KELLY_TOKEN.
pub async fn run(settings: &Settings, session: Duration) -> anyhow::Result<()> {
    let seconds = i64::try_from(session.as_secs()).context("counting the seconds of a session")?;
    let server = settings.server_url();
    let client = settings.client_with(settings.credentials.lasting(seconds))?;
    let link = client.post("api/v1/kelly/sign-in/links").await?;
    let code = link["code"].as_str().context("the answer names no code: is it a Kelly of this version?")?;
    output::line(format!("{}/#sign-in={code}", server.trim_end_matches('/')))
}
