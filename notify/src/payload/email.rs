//! Email: a text that a person reads, in a thread of its own.

use std::time::{Duration, UNIX_EPOCH};

use lettre::Message;
use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};

use super::facts;
use crate::notice::{Notice, Reason, severity_word, shortened, time};
use crate::notifier::Answer;
use crate::notifier::Job;
use crate::settings::Destination;

/// Longest subject, in characters.
const MAX_SUBJECT: usize = 150;

/// A message ready to be sent.
pub(super) type Mail = Message;

/// Writes a message. The error says what of the settings is wrong.
pub(crate) fn mail(destination: &Destination, job: &Job) -> Result<Mail, String> {
    let notice = &job.delivery.notice;
    let from: Mailbox = destination
        .from
        .as_deref()
        .unwrap_or_default()
        .parse()
        .map_err(|error| format!("from is no address: {error}"))?;
    let domain = from.email.domain().to_owned();
    let first_id = format!("<{}@{domain}>", notice.key);
    let is_first = matches!(notice.reason, Reason::Firing | Reason::Test);
    // The same at every try, so that a mail system can tell that it has it.
    let id = if is_first { first_id.clone() } else { format!("<{}@{domain}>", job.delivery.id) };
    let seconds = u64::try_from(job.delivery.made_ms / 1_000).unwrap_or(0);
    let mut builder = Message::builder()
        .from(from)
        .date(UNIX_EPOCH + Duration::from_secs(seconds))
        .message_id(Some(id))
        .subject(subject(notice))
        .header(ContentType::TEXT_PLAIN)
        // Nobody's holiday is to answer it.
        .raw_header(raw("Auto-Submitted", "auto-generated"))
        .raw_header(raw("X-Kelly-Key", &notice.key));
    if !is_first {
        builder = builder.in_reply_to(first_id.clone()).references(first_id);
    }
    for to in &destination.to {
        builder =
            builder.to(to.parse().map_err(|error| format!("to has {to:?}, which is no address: {error}"))?);
    }
    builder.body(text(notice)).map_err(|error| format!("the email cannot be written: {error}"))
}

fn raw(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

/// The subject. The same words first in a whole thread, so that it is shown as one; nothing in it can begin another header.
fn subject(notice: &Notice) -> String {
    let line = notice.title().replace(|letter: char| letter.is_control(), " ");
    shortened(&format!("[Kelly] {line}"), MAX_SUBJECT)
}

pub(super) fn text(notice: &Notice) -> String {
    let mut lines = vec![notice.title(), facts::why(notice), String::new()];
    if notice.is_digest {
        lines.push("Alerts by rule:".to_owned());
        lines.extend(notice.rules.iter().map(|(rule, count)| format!("  {count} x {rule}")));
        lines.push(String::new());
    }
    for alert in &notice.alerts {
        let mut own = facts::lines(alert).into_iter();
        lines.extend(own.next());
        lines.extend(own.map(|line| format!("  {line}")));
        lines.extend(facts::links(alert).into_iter().map(|(name, url)| format!("  {name}: {url}")));
        lines.push(String::new());
    }
    let unlisted = facts::unlisted(notice);
    if unlisted > 0 {
        lines.extend([format!("… and {unlisted} more"), String::new()]);
    }
    if !notice.also.is_empty() {
        lines.push("Also firing:".to_owned());
        lines.extend(
            notice.also.iter().map(|alert| {
                format!("  {} {} for {}", severity_word(alert.severity), alert.rule, alert.entity)
            }),
        );
        lines.push(String::new());
    }
    lines.push(format!("Group: {}", notice.group));
    lines.push(format!("Made: {}", time(notice.at_ms)));
    lines.join("\n") + "\n"
}

/// What the answer of an SMTP server means, by its code; without one the connection failed.
pub(crate) fn smtp_answer(code: Option<u16>, problem: String) -> Answer {
    match code {
        Some(530 | 534 | 535 | 538) => Answer::Ill(problem),
        Some(500..=599) => Answer::Refused(problem),
        Some(_) => Answer::Retry { after_ms: None, problem, is_unsure: false },
        None => Answer::Retry { after_ms: None, problem, is_unsure: true },
    }
}
