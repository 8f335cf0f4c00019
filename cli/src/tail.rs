//! `kelly tail`: what becomes visible in the store, as it does.

use std::time::Duration;

use anyhow::Context;
use chrono::Utc;
use kelly_schemas::error_chain;
use kelly_sql::queries::{
    AccountFilter, ActivityTailFilter, MetricTailFilter, TailCursor, TailPage, Tailed, TailedEvent,
    TailedMetric,
};
use kelly_sql::{Store, StoreError};
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::arguments::{self, TailWhat};
use crate::output::{self, Paint, Tone, printable};
use crate::{Settings, Usage};

/// Time between two looks: under the second in which a row becomes visible.
const EVERY: Duration = Duration::from_millis(500);

/// Rows of one look at most; when there are more, the next look follows at once.
const ROWS_A_LOOK: u32 = 2_000;

/// Since ever.
const BEGINNING_MS: i64 = 0;

/// Follows until stopped, until the count is reached, or until nobody reads.
pub async fn run(
    arguments: &arguments::Tail,
    settings: &Settings,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let filter = filter(arguments)?;
    let store = settings.store.client()?;
    let mut tail = Tail {
        form: Form { json: arguments.json, paint: Paint::stdout() },
        store,
        filter,
        cursor: TailCursor::default(),
        since_ms: BEGINNING_MS,
        left: arguments.count.unwrap_or(u64::MAX),
        is_away: false,
        has_looked_for_names: false,
    };
    match arguments.since {
        Some(since) => tail.since_ms = since.ms(Utc::now()),
        None => {
            tail.store
                .skip_to_end(tail.filter.tailed(), &mut tail.cursor)
                .await
                .with_context(|| format!("beginning to follow the store ({})", settings.store.shown))?;
        }
    }
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            goes_on = tail.catch_up() => if !goes_on? { return Ok(()) },
        }
        // Only the beginning is bounded in time: what is late is news too.
        if !tail.is_away {
            tail.since_ms = BEGINNING_MS;
        }
    }
}

/// Which rows, of what.
#[derive(Debug, Clone, PartialEq)]
enum Filter {
    Metrics(MetricTailFilter),
    Activity(ActivityTailFilter),
}

impl Filter {
    fn tailed(&self) -> Tailed {
        match self {
            Self::Metrics(_) => Tailed::Metrics,
            Self::Activity(_) => Tailed::Activity,
        }
    }
}

/// The filter of the command line; one that does not belong to what is followed is wrong usage.
fn filter(arguments: &arguments::Tail) -> Result<Filter, Usage> {
    let given_of = |names: &[(&'static str, bool)]| -> Vec<&'static str> {
        names.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect()
    };
    let refuse = |flags: Vec<&str>, other: &str| match flags.is_empty() {
        true => Ok(()),
        false => Err(Usage(format!("{} belongs to `kelly tail {other}`", flags.join(", ")))),
    };
    let (account, conversation) = (arguments.account.clone(), arguments.conversation.clone());
    match arguments.what {
        TailWhat::Metrics => {
            let given = [
                ("--event-type", !arguments.event_types.is_empty()),
                ("--severity", !arguments.severities.is_empty()),
            ];
            refuse(given_of(&given), "activity")?;
            let (least, most) =
                (arguments.min.unwrap_or(f64::NEG_INFINITY), arguments.max.unwrap_or(f64::INFINITY));
            if least > most {
                return Err(Usage(format!("--min {least} is above --max {most}: nothing would match")));
            }
            let metrics = arguments.metrics.clone();
            Ok(Filter::Metrics(MetricTailFilter { metrics, account, conversation, least, most }))
        }
        TailWhat::Activity => {
            let given = [
                ("--metric", !arguments.metrics.is_empty()),
                ("--min", arguments.min.is_some()),
                ("--max", arguments.max.is_some()),
            ];
            refuse(given_of(&given), "metrics")?;
            let (event_types, severities) = (arguments.event_types.clone(), arguments.severities.clone());
            Ok(Filter::Activity(ActivityTailFilter { event_types, severities, account, conversation }))
        }
    }
}

struct Tail {
    form: Form,
    store: Store,
    filter: Filter,
    cursor: TailCursor,
    since_ms: i64,
    /// Rows still wanted.
    left: u64,
    /// Whether the store did not answer when it was last asked.
    is_away: bool,
    /// Whether it was looked whether the metrics that are wanted exist.
    has_looked_for_names: bool,
}

impl Tail {
    /// Shows everything new. False when there is nothing more to do.
    async fn catch_up(&mut self) -> anyhow::Result<bool> {
        loop {
            let looked = self.look().await;
            let page = match looked {
                Ok(page) => page,
                Err(error) if error.is_retryable() => {
                    if !self.is_away {
                        tracing::warn!(error = error_chain(&error), "waiting for the store to answer");
                    }
                    self.is_away = true;
                    return Ok(true);
                }
                Err(error) => return Err(error).context("following the store"),
            };
            if self.is_away {
                tracing::info!("the store answers");
            }
            self.is_away = false;
            if !page.made_anew.is_empty() {
                tracing::warn!(
                    partitions = ?page.made_anew,
                    "new rows carry offsets below those seen: the topic was made anew, or rows the store had lost were written again; \
                     going on with its rows since then"
                );
            }
            self.look_for_names().await;
            for line in page.rows {
                if !output::try_line(line)? {
                    return Ok(false);
                }
                self.left -= 1;
                if self.left == 0 {
                    return Ok(false);
                }
            }
            if !page.has_more {
                return Ok(true);
            }
        }
    }

    /// Says once of which wanted metrics nothing was recorded. Where the store does not answer that, the next page's turn is soon.
    async fn look_for_names(&mut self) {
        let Filter::Metrics(filter) = &self.filter else { return };
        if self.has_looked_for_names {
            return;
        }
        let wanted: Vec<&str> = filter.metrics.iter().map(String::as_str).collect();
        let Ok(seen) = self.store.metrics_seen(&wanted, AccountFilter::Any).await else { return };
        self.has_looked_for_names = true;
        for metric in wanted.into_iter().filter(|metric| !seen.contains(*metric)) {
            tracing::warn!(
                "no metric named {metric:?} was ever recorded, in what the store keeps: waiting for its first sample"
            );
        }
    }

    /// A page of lines, in order of time.
    async fn look(&mut self) -> Result<TailPage<String>, StoreError> {
        let (store, cursor, since_ms) = (&self.store, &mut self.cursor, self.since_ms);
        match &self.filter {
            Filter::Metrics(filter) => {
                let mut page = store.follow_metrics(filter, since_ms, cursor, ROWS_A_LOOK).await?;
                page.rows.sort_by_key(|row| (row.at_ms, row.place));
                let rows = page.rows.iter().map(|row| self.form.metric(row)).collect();
                Ok(TailPage { rows, has_more: page.has_more, made_anew: page.made_anew })
            }
            Filter::Activity(filter) => {
                let mut page = store.follow_activity(filter, since_ms, cursor, ROWS_A_LOOK).await?;
                page.rows.sort_by_key(|row| (row.at_ms, row.place));
                let rows = page.rows.iter().map(|row| self.form.event(row)).collect();
                Ok(TailPage { rows, has_more: page.has_more, made_anew: page.made_anew })
            }
        }
    }
}

/// How a row is shown.
#[derive(Debug, Clone, Copy)]
struct Form {
    json: bool,
    paint: Paint,
}

/// Widths of the columns; what is longer pushes the rest aside.
const NAME_WIDTH: usize = 28;
const VALUE_WIDTH: usize = 12;
const ACCOUNT_WIDTH: usize = 14;

impl Form {
    fn metric(self, row: &TailedMetric) -> String {
        let (partition, offset, number) = row.place;
        if self.json {
            return json!({
                "metric_name": row.metric_name,
                "value": row.value,
                "timestamp": output::time(row.at_ms),
                "account_id": absent(&row.account_id),
                "conversation_id": absent(&row.conversation_id),
                "user_id": absent(&row.user_id),
                "metadata": object(&row.metadata),
                "log": {"partition": partition, "offset": offset, "row": number},
            })
            .to_string();
        }
        let text = format!(
            "{} {:<NAME_WIDTH$} {:>VALUE_WIDTH$} {:<ACCOUNT_WIDTH$} {}",
            self.paint.tint(Tone::Faint, output::time(row.at_ms)),
            printable(&row.metric_name),
            row.value,
            dash(&row.account_id),
            dash(&row.conversation_id),
        );
        text.trim_end().to_owned()
    }

    fn event(self, row: &TailedEvent) -> String {
        let (partition, offset, number) = row.place;
        if self.json {
            return json!({
                "id": row.id,
                "event_type": row.event_type,
                "title": row.title,
                "severity": row.severity,
                "category": row.category,
                "is_vip": row.is_vip,
                "created_at": output::time(row.at_ms),
                "account_id": absent(&row.account_id),
                "conversation_id": absent(&row.conversation_id),
                "user_id": absent(&row.user_id),
                "metadata": object(&row.metadata),
                "log": {"partition": partition, "offset": offset, "row": number},
            })
            .to_string();
        }
        let severity = format!("{:<8}", printable(&row.severity));
        let severity = match row.severity.as_str() {
            "critical" => self.paint.tint(Tone::Bad, severity),
            "high" => self.paint.tint(Tone::Warning, severity),
            _ => severity,
        };
        format!(
            "{} {severity} {:<NAME_WIDTH$} {:<ACCOUNT_WIDTH$} {}",
            self.paint.tint(Tone::Faint, output::time(row.at_ms)),
            printable(&row.event_type),
            dash(&row.account_id),
            printable(&row.title),
        )
    }
}

fn dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { printable(text) }
}

fn absent(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { text.into() }
}

/// Metadata as the object it is.
fn object(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::tests::parsed;

    fn tail(line: &str) -> arguments::Tail {
        parsed(&line.split_whitespace().collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn filters_of_the_command_line() {
        let filter_of = |line: &str| filter(&tail(line));
        let every = MetricTailFilter::default();
        assert_eq!(filter_of("").unwrap(), Filter::Metrics(every.clone()));
        assert_eq!(
            filter_of("--metric a --metric b --min -1 --max 2 --account x").unwrap(),
            Filter::Metrics(MetricTailFilter {
                metrics: vec!["a".into(), "b".into()],
                account: Some("x".into()),
                least: -1.0,
                most: 2.0,
                ..every
            })
        );
        assert_eq!(
            filter_of("activity --severity high --event-type e --conversation c").unwrap(),
            Filter::Activity(ActivityTailFilter {
                event_types: vec!["e".into()],
                severities: vec!["high".into()],
                account: None,
                conversation: Some("c".into()),
            })
        );
        for wrong in [
            "--severity high",
            "--event-type x",
            "activity --metric a",
            "activity --min 1",
            "--min 2 --max 1",
        ] {
            assert!(filter_of(wrong).is_err(), "{wrong}");
        }
    }

    fn metric() -> TailedMetric {
        TailedMetric {
            metric_name: "ai_confidence".into(),
            value: 0.85,
            at_ms: 1_790_000_000_123,
            account_id: "acme".into(),
            conversation_id: String::new(),
            user_id: String::new(),
            metadata: r#"{"model":"x"}"#.into(),
            place: (3, 1_042, 7),
        }
    }

    #[test]
    fn a_metric_is_a_line() {
        let plain = Form { json: false, paint: Paint::Plain };
        assert_eq!(
            plain.metric(&metric()),
            "2026-09-21T14:13:20.123Z ai_confidence                        0.85 acme           -"
        );
        let odd = TailedMetric { metric_name: "a\u{1b}[2J".into(), ..metric() };
        assert!(!plain.metric(&odd).contains('\u{1b}'));
        let shown: Value =
            serde_json::from_str(&Form { json: true, paint: Paint::Plain }.metric(&metric())).unwrap();
        assert_eq!(
            shown,
            json!({
                "metric_name": "ai_confidence", "value": 0.85, "timestamp": "2026-09-21T14:13:20.123Z",
                "account_id": "acme", "conversation_id": null, "user_id": null, "metadata": {"model": "x"},
                "log": {"partition": 3, "offset": 1_042, "row": 7},
            })
        );
    }

    #[test]
    fn an_event_is_a_line() {
        let event = TailedEvent {
            id: uuid::Uuid::nil(),
            at_ms: 1_790_000_000_123,
            event_type: "escalation".into(),
            title: "Asked for a person".into(),
            account_id: "acme".into(),
            conversation_id: "c".into(),
            user_id: String::new(),
            severity: "high".into(),
            category: "general".into(),
            is_vip: true,
            metadata: "{}".into(),
            place: (0, 1, 0),
        };
        let plain = Form { json: false, paint: Paint::Plain };
        assert_eq!(
            plain.event(&event),
            "2026-09-21T14:13:20.123Z high     escalation                   acme           Asked for a person"
        );
        let shown: Value =
            serde_json::from_str(&Form { json: true, paint: Paint::Plain }.event(&event)).unwrap();
        assert_eq!((&shown["severity"], &shown["conversation_id"]), (&json!("high"), &json!("c")));
    }
}
