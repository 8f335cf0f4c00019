//! What can be typed after `kelly token`.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "the doc comments here are the help texts, brackets and all"
)]

use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use kelly_auth::Role;

/// `kelly token`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kelly token                                    everything, for an hour, in your name
  kelly token --sub recorder --role producer --ttl 90d
  kelly token --sub dashboard --role viewer --account acme --account globex
  curl -H \"authorization: Bearer $(kelly token)\" http://127.0.0.1:8000/api/v1/kelly/monitoring/metrics

It is signed with the secret in the data directory, or KELLY_AUTH_SECRET_FILE: whoever may read that may make
any token. Whoever has a token is whom it names, until it ends or is denied: keep it out of URLs and logs.")]
pub struct Token {
    /// Whom it names [default: your user name]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub sub: Option<String>,
    /// What they are: viewer, analyst, operator, supervisor, admin, producer or worker; may be given several times
    #[arg(long, value_name = "ROLE", default_value = "admin")]
    pub role: Vec<Role>,
    /// An account it is limited to; may be given several times [default: all accounts]
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub account: Vec<String>,
    /// How long it is good: a number with s, m, h or d, at most 366d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = lifetime)]
    pub ttl: Duration,
}

/// `kelly sign-in`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  kelly sign-in                     then open the link in a browser

The link works once, within 15 minutes. Whoever opens it is signed in as you.")]
pub struct SignIn {}

/// Longest life of a token that is made here.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

fn lifetime(text: &str) -> Result<Duration, String> {
    const WANTED: &str = "write a number with s, m, h or d, e.g. 90d; at most 366d";
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        _ => return Err(WANTED.to_owned()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| WANTED.to_owned())?;
    let lifetime = number.checked_mul(unit).map(Duration::from_secs);
    lifetime.filter(|time| !time.is_zero() && *time <= LONGEST).ok_or_else(|| WANTED.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_a_number_with_its_unit() {
        for (text, seconds) in [("90s", 90), ("5m", 300), ("1h", 3_600), ("366d", 366 * 86_400)] {
            assert_eq!(lifetime(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "1", "h", "0s", "-1h", "1.5h", "1y", "367d", "99999999999999999d", "1 h", "1\u{df}"]
        {
            assert!(lifetime(wrong).is_err(), "{wrong}");
        }
    }
}
