//! `kelly token`: makes a token with the secret of the Kelly of this configuration.

use anyhow::Context;
use chrono::Utc;
use kelly_auth::{Accounts, Grant, Roles, SigningSecret, mint};
use kelly_cli::{Usage, output};

use super::secret::{existing, user};
use crate::cli::Token;
use crate::config::Config;

/// Prints a token. It is the only output, so that a script can take it.
pub fn run(config: &Config, arguments: &Token) -> anyhow::Result<()> {
    let secret = secret(config)?;
    let subject = arguments.sub.clone().unwrap_or_else(user);
    let accounts = match arguments.account.as_slice() {
        [] => Accounts::All,
        accounts => {
            Accounts::only(accounts.iter().cloned()).map_err(|error| Usage(format!("--account: {error}")))?
        }
    };
    let token_id = uuid::Uuid::new_v4().to_string();
    let grant = Grant {
        issuer: &config.auth.issuer,
        audience: &config.auth.audience,
        subject: &subject,
        roles: arguments.role.iter().copied().collect::<Roles>(),
        accounts,
        token_id: &token_id,
        lifetime_seconds: i64::try_from(arguments.ttl.as_secs()).context("counting the seconds of --ttl")?,
    };
    output::line(mint(&secret, &grant, Utc::now().timestamp()))
}

fn secret(config: &Config) -> anyhow::Result<SigningSecret> {
    existing(config)?.ok_or_else(|| {
        Usage(format!(
            "there is no secret that this user may read to sign a token with: start `kelly up` once on {} or say --data, or \
             set KELLY_AUTH_SECRET_FILE to the secret of the Kelly that the token is for",
            config.general.data.display()
        ))
        .into()
    })
}
