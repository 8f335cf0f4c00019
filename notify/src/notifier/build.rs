//! What a message says of a thread as it is.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use kelly_control::alert::Alert;

use super::Book;
use super::thread::Thread;
use crate::notice::{AlertFacts, MAX_ALSO, MAX_LISTED, MAX_RULES, Notice, Reason};

/// What a message is made from, beside the thread.
pub(super) struct Around<'a> {
    pub(super) book: &'a dyn Book,
    pub(super) public_url: Option<&'a str>,
}

pub(super) fn notice(thread: &Thread, reason: Reason, around: &Around<'_>, now_ms: i64) -> Notice {
    let summary = thread.summary();
    let mut alerts: Vec<&Alert> = thread.members.keys().filter_map(|id| around.book.alert(id)).collect();
    alerts.sort_by_key(|alert| worst_first(alert));
    let also = match alerts.first() {
        Some(first) if !thread.is_digest => also(thread, first, around),
        _ => Vec::new(),
    };
    let facts = |alert: &&Alert| AlertFacts::of(alert, around.public_url);
    Notice {
        key: thread.id.clone(),
        reason,
        status: summary.status,
        severity: summary.severity,
        group: thread.group.clone(),
        is_digest: thread.is_digest,
        at_ms: now_ms,
        open: summary.open,
        all: summary.all,
        rules: if thread.is_digest { rules(&alerts) } else { Vec::new() },
        alerts: alerts.iter().take(MAX_LISTED).map(facts).collect(),
        also,
    }
}

/// Open ones first, then by severity, then by age.
fn worst_first(alert: &Alert) -> (bool, Reverse<kelly_control::alert::Severity>, i64, uuid::Uuid) {
    (!alert.is_open(), Reverse(alert.severity), alert.since_ms, alert.id)
}

fn also(thread: &Thread, first: &Alert, around: &Around<'_>) -> Vec<AlertFacts> {
    let same = |one: &Option<String>, other: &Option<String>| one.is_some() && one == other;
    let is_near = |alert: &&Alert| {
        !thread.members.contains_key(&alert.id)
            && (same(&alert.conversation_id, &first.conversation_id)
                || same(&alert.account_id, &first.account_id)
                || alert.incident == first.incident)
    };
    let mut near: Vec<&Alert> = around.book.open().filter(is_near).collect();
    near.sort_by_key(|alert| worst_first(alert));
    near.into_iter().take(MAX_ALSO).map(|alert| AlertFacts::of(alert, around.public_url)).collect()
}

fn rules(alerts: &[&Alert]) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for alert in alerts {
        *counts.entry(&alert.rule).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().map(|(rule, count)| (rule.to_owned(), count)).collect();
    counts.sort_by_key(|(rule, count)| (Reverse(*count), rule.clone()));
    counts.truncate(MAX_RULES);
    counts
}
