//! `kelly alerts`: what is wrong, and what is done about it.

use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand, ValueEnum};
use uuid::Uuid;

use super::parse::{length, name_and_value};

/// `kelly alerts`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kelly alerts list                                what is open, the worst first
  kelly alerts list --severity critical --mine
  kelly alerts follow                              as they are raised and change
  kelly alerts ack 0198f3c2-a4b7-7e21-b0c3-d9a1f2e4c6d8 --note 'on it'
  kelly alerts silence --rule high_response_time --for 2h --reason 'the provider is being moved'

It asks a running Kelly, as the user of this machine or of KELLY_TOKEN.

Exit codes: 0 done, 1 Kelly could not be asked or could not decide, 2 wrong usage, 3 somebody else was first, or it cannot be done
(of several alerts: of one at least)")]
pub struct Alerts {
    /// What to do.
    #[command(subcommand)]
    pub what: AlertsWhat,
}

/// What to do about alerts.
#[derive(Debug, Subcommand)]
pub enum AlertsWhat {
    /// List alerts, the worst first
    List(ListAlerts),
    /// Show one alert with everything that happened to it
    Show(ShowAlert),
    /// Follow alerts as they are raised and change
    Follow(FollowAlerts),
    /// Acknowledge alerts: you take care of them
    #[command(visible_alias = "acknowledge")]
    Ack(Act),
    /// Take an acknowledgement back
    #[command(visible_alias = "unacknowledge")]
    Unack(Act),
    /// Resolve alerts: they are over
    Resolve(Act),
    /// Open resolved alerts again
    Reopen(Act),
    /// Escalate alerts to the next level, or to one
    Escalate(SetLevel),
    /// De-escalate alerts to the level below, or to one
    Deescalate(SetLevel),
    /// Give alerts an owner, or take it from them
    Assign(Assign),
    /// Write a note about an alert
    Note(Note),
    /// Silence alerts like these for a while
    Silence(Silence),
    /// End a silence before its time
    Unsilence(Unsilence),
    /// List silences
    Silences(Silences),
    /// List the rules that were made over the API
    Rules(ListRules),
}

/// How bad an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AlertSeverity {
    /// To be known
    Info,
    /// To be looked at
    Warning,
    /// To be acted upon now
    Critical,
}

impl AlertSeverity {
    /// As Kelly calls it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Where an alert is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AlertStatus {
    /// Nobody takes care yet
    Active,
    /// Somebody does
    Acknowledged,
    /// Over
    Resolved,
}

impl AlertStatus {
    /// As Kelly calls it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }
}

/// `kelly alerts list`.
#[derive(Debug, Args)]
pub struct ListAlerts {
    /// Only of this severity
    #[arg(long, value_enum)]
    pub severity: Option<AlertSeverity>,
    /// Only in this state [default: those that are not resolved]
    #[arg(long, value_enum)]
    pub status: Option<AlertStatus>,
    /// Account
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub account: Option<String>,
    /// Conversation
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub conversation: Option<String>,
    /// Metric
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub metric: Option<String>,
    /// Rule
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub rule: Option<String>,
    /// Only alerts that you own or take care of
    #[arg(long)]
    pub mine: bool,
    /// Alerts at most
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub limit: u32,
    /// Print what was answered as JSON
    #[arg(long)]
    pub json: bool,
}

/// `kelly alerts show`.
#[derive(Debug, Args)]
pub struct ShowAlert {
    /// The alert
    pub id: Uuid,
    /// Print what was answered as JSON
    #[arg(long)]
    pub json: bool,
}

/// `kelly alerts follow`.
#[derive(Debug, Args)]
#[command(after_help = "\
First what is open, then what changes. It ends with Ctrl-C, with exit code 0; where the connection breaks it goes on where it was.")]
pub struct FollowAlerts {
    /// End after so many changes
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Print each message as one line of JSON
    #[arg(long)]
    pub json: bool,
}

/// Alerts to act on.
#[derive(Debug, Args)]
pub struct Act {
    /// The alerts, 100 at most
    #[arg(required = true, num_args = 1..=100, value_name = "ID")]
    pub ids: Vec<Uuid>,
    /// Why, or what else there is to say
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub note: Option<String>,
    /// The alert's version that you saw: where it has another one by now, nothing is done
    #[arg(long, value_name = "VERSION")]
    pub expected: Option<u64>,
    /// Print what was answered as JSON
    #[arg(long)]
    pub json: bool,
}

/// `kelly alerts escalate`, `kelly alerts deescalate`.
#[derive(Debug, Args)]
pub struct SetLevel {
    /// Which alerts.
    #[command(flatten)]
    pub act: Act,
    /// The level [default: the next one]
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=16))]
    pub level: Option<u8>,
}

/// `kelly alerts assign`.
#[derive(Debug, Args)]
pub struct Assign {
    /// Which alerts.
    #[command(flatten)]
    pub act: Act,
    /// The owner
    #[arg(long, value_name = "NAME", required_unless_present = "nobody", value_parser = NonEmptyStringValueParser::new())]
    pub to: Option<String>,
    /// Take them from who has them
    #[arg(long, conflicts_with = "to")]
    pub nobody: bool,
}

/// `kelly alerts note`.
#[derive(Debug, Args)]
pub struct Note {
    /// The alert
    pub id: Uuid,
    /// The words; no conversation text
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub text: String,
    /// Print what was answered as JSON
    #[arg(long)]
    pub json: bool,
}

/// `kelly alerts silence`.
#[derive(Debug, Args)]
pub struct Silence {
    /// Which alerts.
    #[command(flatten)]
    pub matcher: Matcher,
    /// How long, e.g. 30m, 2h, 7d
    #[arg(long = "for", value_name = "TIME", value_parser = length)]
    pub lasts: Duration,
    /// Why
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub reason: String,
    /// Print what was answered as JSON
    #[arg(long)]
    pub json: bool,
}

/// Which alerts a silence means: all that is named must be equal.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct Matcher {
    /// Rule
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub rule: Option<String>,
    /// Metric
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub metric: Option<String>,
    /// Account
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub account: Option<String>,
    /// Conversation
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub conversation: Option<String>,
    /// Severity
    #[arg(long, value_enum)]
    pub severity: Option<AlertSeverity>,
    /// Label; may be given several times
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub labels: Vec<(String, String)>,
}

/// `kelly alerts unsilence`.
#[derive(Debug, Args)]
pub struct Unsilence {
    /// The silence
    pub id: Uuid,
    /// Print what was answered as JSON
    #[arg(long)]
    pub json: bool,
}

/// `kelly alerts silences`.
#[derive(Debug, Args)]
pub struct Silences {
    /// Those that have ended
    #[arg(long)]
    pub ended: bool,
    /// Print what was answered as JSON
    #[arg(long)]
    pub json: bool,
}

/// `kelly alerts rules`.
#[derive(Debug, Args)]
pub struct ListRules {
    /// Print what was answered as JSON
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::super::tests::parsed;
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        let id = "0198f3c2-a4b7-7e21-b0c3-d9a1f2e4c6d8";
        for wrong in [
            &["ack"][..],
            &["ack", "7"],
            &["assign", id],
            &["assign", id, "--to", "ada", "--nobody"],
            &["note", id],
            &["silence", "--for", "2h", "--reason", "x"],
            &["silence", "--rule", "r", "--for", "soon", "--reason", "x"],
            &["silence", "--rule", "r", "--for", "2h"],
            &["list", "--severity", "high"],
            &["escalate", id, "--level", "17"],
        ] {
            assert!(parsed::<Alerts>(wrong).is_err(), "{wrong:?}");
        }
        let words = ["silence", "--rule", "r", "--label", "team=a", "--for", "2h", "--reason", "x"];
        let alerts = parsed::<Alerts>(&words).unwrap();
        let AlertsWhat::Silence(silence) = alerts.what else { panic!("another command") };
        assert_eq!((silence.lasts, silence.matcher.labels.len()), (Duration::from_secs(7_200), 1));
    }
}
